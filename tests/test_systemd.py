"""The systemd protocols, spoken with a real datagram socket in systemd's place."""

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance import systemd
from appliance.clock import ManualClock


class FakeSystemd:
    """Receives what a service tells."""

    def __init__(self, address: str) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(address)
        self.socket.settimeout(5)

    def next(self) -> str:
        return self.socket.recv(4096).decode()

    def next_with_descriptors(self) -> tuple[str, list[int]]:
        message, descriptors, _, _ = socket.recv_fds(self.socket, 4096, 4)
        return message.decode(), descriptors

    def heard_nothing(self) -> bool:
        self.socket.setblocking(False)
        try:
            self.socket.recv(4096)
        except BlockingIOError:
            return True
        finally:
            self.socket.settimeout(5)
        return False


@pytest.fixture
def fake(tmp_path: Path) -> Iterator[FakeSystemd]:
    fake = FakeSystemd(str(tmp_path / "notify"))
    yield fake
    fake.socket.close()


@pytest.fixture
def notifier(fake: FakeSystemd) -> systemd.Notifier:
    return systemd.Notifier({"NOTIFY_SOCKET": str(fake.socket.getsockname())})


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener


def test_each_state_is_one_datagram(fake: FakeSystemd, notifier: systemd.Notifier) -> None:
    assert notifier.ready("Serving 2 models")
    assert fake.next() == "READY=1\nSTATUS=Serving 2 models"
    assert notifier.stopping()
    assert fake.next() == "STOPPING=1"
    assert notifier.reloading(ManualClock())
    assert fake.next() == "RELOADING=1\nMONOTONIC_USEC=1000000000"
    assert notifier.extend_timeout(30)
    assert fake.next() == "EXTEND_TIMEOUT_USEC=30000000"


def test_a_status_cannot_smuggle_in_another_state(
    fake: FakeSystemd, notifier: systemd.Notifier
) -> None:
    notifier.status("loading\nREADY=1\r\nMAINPID=1")
    assert fake.next() == "STATUS=loading READY=1 MAINPID=1"


def test_an_abstract_socket_is_reached() -> None:
    name = f"appliance-test-{os.getpid()}"
    fake = FakeSystemd("\0" + name)
    assert systemd.Notifier({"NOTIFY_SOCKET": f"@{name}"}).ready()
    assert fake.next() == "READY=1"
    fake.socket.close()


def test_without_systemd_nothing_is_sent_and_nothing_fails(listener: socket.socket) -> None:
    notifier = systemd.Notifier({})
    assert not notifier.is_listening
    assert not notifier.ready("x")
    assert not notifier.store_socket("http", listener)


def test_a_systemd_that_went_away_is_no_fault_of_ours(
    fake: FakeSystemd, notifier: systemd.Notifier
) -> None:
    os.unlink(fake.socket.getsockname())
    assert not notifier.watchdog()


def test_a_stored_listener_comes_back_and_still_has_its_queue(
    fake: FakeSystemd, notifier: systemd.Notifier, listener: socket.socket
) -> None:
    port = listener.getsockname()[1]
    assert notifier.store_socket("http", listener)
    message, [descriptor] = fake.next_with_descriptors()
    assert message == "FDSTORE=1\nFDNAME=http"
    listener.close()

    client = socket.create_connection(("127.0.0.1", port), timeout=5)
    environment = {"LISTEN_PID": "42", "LISTEN_FDS": "1", "LISTEN_FDNAMES": "http"}
    [passed] = systemd.passed_sockets(environment, pid=42, first_fd=descriptor)
    assert passed.name == "http"
    assert not passed.socket.get_inheritable()
    assert systemd.is_listening_on(passed.socket, "127.0.0.1", port)
    accepted, _ = passed.socket.accept()
    for one in (accepted, client, passed.socket):
        one.close()


def test_a_listener_at_another_address_is_told_apart(listener: socket.socket) -> None:
    host, port = listener.getsockname()
    assert systemd.is_listening_on(listener, host, 0)
    assert not systemd.is_listening_on(listener, host, port + 1)
    assert not systemd.is_listening_on(listener, "0.0.0.0", port)
    with socket.socket() as unbound:
        assert not systemd.is_listening_on(unbound, "0.0.0.0", 0)
    assert not systemd.is_listening_on(unbound, "0.0.0.0", 0)


def test_a_socket_that_is_not_wanted_any_more_is_removed(
    fake: FakeSystemd, notifier: systemd.Notifier
) -> None:
    notifier.remove_stored("http")
    assert fake.next() == "FDSTOREREMOVE=1\nFDNAME=http"
    with pytest.raises(ValueError, match="not a name"):
        notifier.remove_stored("a:b")


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"LISTEN_PID": "41", "LISTEN_FDS": "1"},
        {"LISTEN_PID": "42"},
        {"LISTEN_PID": "42", "LISTEN_FDS": "-1"},
        {"LISTEN_PID": "42", "LISTEN_FDS": "99999999999"},
        {"LISTEN_PID": "42", "LISTEN_FDS": "1٣"},
    ],
)
def test_descriptors_meant_for_others_are_left_alone(environment: dict[str, str]) -> None:
    assert systemd.passed_sockets(environment, pid=42, first_fd=9000) == []


def test_descriptors_that_are_no_sockets_are_closed_and_left_out() -> None:
    reader, writer = os.pipe()
    os.close(writer)
    environment = {"LISTEN_PID": "42", "LISTEN_FDS": "1", "LISTEN_FDNAMES": "odd"}
    assert systemd.passed_sockets(environment, pid=42, first_fd=reader) == []
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(reader)


@pytest.mark.parametrize(
    ("environment", "seconds"),
    [
        ({"WATCHDOG_USEC": "30000000"}, 10.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "42"}, 10.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "41"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
        ({"WATCHDOG_USEC": "9" * 5000}, None),
        ({}, None),
    ],
)
def test_the_watchdog_interval_is_a_third_of_what_systemd_allows(
    environment: dict[str, str], seconds: float | None
) -> None:
    assert systemd.watchdog_interval_seconds(environment, pid=42) == seconds


def test_pings_go_out_at_the_interval_while_every_part_beats(
    fake: FakeSystemd, notifier: systemd.Notifier
) -> None:
    watchdog = systemd.Watchdog(notifier, 10.0)
    watchdog.add("writer", lambda: 0.5)
    assert watchdog.tick(100.0) == {}
    assert fake.next() == "WATCHDOG=1"
    watchdog.tick(105.0)
    assert fake.heard_nothing()
    watchdog.tick(110.0)
    assert fake.next() == "WATCHDOG=1"


def test_a_part_that_hangs_ends_the_pings_until_it_beats_again(
    fake: FakeSystemd, notifier: systemd.Notifier
) -> None:
    ages = {"writer": 10.0}
    watchdog = systemd.Watchdog(notifier, 10.0)
    watchdog.add("loop", lambda: 0.0)
    watchdog.add("writer", lambda: ages["writer"])
    assert watchdog.tick(100.0) == {"writer": 10.0}
    assert fake.heard_nothing()
    ages["writer"] = 9.9
    assert watchdog.tick(101.0) == {}
    assert fake.next() == "WATCHDOG=1"


@pytest.mark.parametrize("age", [float("nan"), float("inf")])
def test_an_age_that_is_no_number_counts_as_hanging(
    fake: FakeSystemd, notifier: systemd.Notifier, age: float
) -> None:
    watchdog = systemd.Watchdog(notifier, 10.0)
    watchdog.add("odd", lambda: age)
    watchdog.add("broken", lambda: 1 / 0)
    assert set(watchdog.tick(100.0)) == {"odd", "broken"}
    assert fake.heard_nothing()
    watchdog.remove("odd")
    watchdog.remove("broken")
    assert watchdog.tick(101.0) == {}


def test_a_watchdog_nobody_asked_for_still_tells_who_hangs(notifier: systemd.Notifier) -> None:
    watchdog = systemd.Watchdog(notifier, None)
    watchdog.add("writer", lambda: 60.0)
    assert watchdog.tick(100.0) == {"writer": 60.0}


def test_a_long_step_keeps_systemd_waiting_until_it_ends(tmp_path: Path) -> None:
    address = str(tmp_path / "notify")
    fake = FakeSystemd(address)
    notifier = systemd.Notifier({"NOTIFY_SOCKET": address})
    with notifier.patience("Migrating"):
        assert fake.next() == "STATUS=Migrating"
        assert fake.next().startswith("EXTEND_TIMEOUT_USEC=")
    assert fake.heard_nothing()
    fake.socket.close()


def test_patience_without_systemd_just_runs_the_step() -> None:
    with systemd.Notifier({}).patience("Migrating"):
        pass
