"""Who has our port and our state, seen among real processes, sockets and locks."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from appliance.actions import neighbours
from appliance.actions.findings import FAULT, OK, UNKNOWN, WARNING, Finding, Scene
from appliance.actions.neighbours import Neighbour, holder_of, listener_on, port_fault
from appliance.config import Config, Http, Streams
from appliance.store.integrity import InstanceLock
from tests.actions.test_doctor import scene

_HOLD = """\
import sys
from pathlib import Path
from appliance.store.integrity import InstanceLock
lock = InstanceLock.take(Path(sys.argv[1]))
print("taken", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def state(tmp_path: Path) -> Path:
    made = tmp_path / "state"
    made.mkdir(mode=0o750)
    return made


@pytest.fixture
def holder(state: Path) -> Iterator[int]:
    """The process of somebody else who has the state."""
    with subprocess.Popen(
        [sys.executable, "-c", _HOLD, str(state)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"taken\n"
        yield process.pid
        process.kill()


def real(tmp_path: Path, **changes: object) -> Scene:
    """A scene that looks at this machine's own processes."""
    return scene(tmp_path, proc=Path("/proc"), **changes)


def of_unit(**facts: str) -> dict[str, object]:
    return {"unit": lambda name: facts.get(name, "")}


def one(findings: Iterator[Finding]) -> Finding:
    (found,) = findings
    return found


def test_the_holder_of_the_lock_is_found_without_touching_it(state: Path, holder: int) -> None:
    found = holder_of(state)
    assert found is not None
    assert found.process == holder
    assert "python" in found.command
    assert found.age_seconds < 3600


def test_a_lock_that_nobody_holds_has_no_holder(state: Path, tmp_path: Path) -> None:
    assert holder_of(state) is None
    InstanceLock.take(state).release()
    assert holder_of(state) is None
    assert holder_of(tmp_path / "nowhere") is None


def test_a_waiting_or_foreign_lock_is_not_the_holder_s(state: Path, tmp_path: Path) -> None:
    (state / "lock").touch()
    number = (state / "lock").stat().st_ino
    locks = tmp_path / "locks"
    locks.write_text(
        f"1: POSIX  ADVISORY  WRITE 7 fe:00:{number} 0 EOF\n"
        f"2: FLOCK  ADVISORY  WRITE 0 fe:00:{number} 0 EOF\n"
        f"2: -> FLOCK  ADVISORY  WRITE 9 fe:00:{number} 0 EOF\n"
        f"3: FLOCK  ADVISORY  WRITE 8 fe:00:{number + 1} 0 EOF\n",
        encoding="ascii",
    )
    assert holder_of(state, locks=locks) is None


def test_one_appliance_that_answers_is_fine(tmp_path: Path, holder: int) -> None:
    found = one(neighbours.instance(real(tmp_path, **of_unit(MainPID=str(holder)))))
    assert (found.level, found.advice) == (OK, "")
    assert one(neighbours.instance(real(tmp_path, **of_unit()))).level == OK


def test_one_that_systemd_did_not_start_is_told_with_how_to_end_it(
    tmp_path: Path, holder: int
) -> None:
    found = one(neighbours.instance(real(tmp_path, **of_unit(MainPID="0"))))
    assert found.level == WARNING
    assert f"process {holder}" in found.text
    assert "; systemctl restart inference-appliance" in found.advice


def test_a_young_one_that_does_not_answer_yet_is_waited_for(tmp_path: Path, holder: int) -> None:
    found = one(neighbours.instance(real(tmp_path, health=None)))
    assert found.level == WARNING
    assert "does not answer yet" in found.text


@pytest.mark.parametrize(
    ("unit", "advice"),
    [
        ("inference-appliance.service", "systemctl restart inference-appliance"),
        ("other.service", "systemctl stop other.service; systemctl restart inference-appliance"),
        ("", "kill 12; systemctl restart inference-appliance"),
    ],
)
def test_an_old_one_that_does_not_answer_is_a_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, unit: str, advice: str
) -> None:
    hung = Neighbour(process=12, command="appliance serve", unit=unit, age_seconds=4000)
    monkeypatch.setattr(neighbours, "holder_of", lambda state, locks: hung)
    found = one(neighbours.instance(real(tmp_path, health=None)))
    assert (found.level, found.advice) == (FAULT, advice)


def test_whoever_has_the_port_is_named(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        found = listener_on(port)
        assert found is not None
        assert found.process == os.getpid()
        config = Config(
            http=Http(host="127.0.0.1", port=port),
            streams=Streams(gateway_host="127.0.0.1", gateway_port=0),
        )
        fault = one(neighbours.ports(real(tmp_path, health=None, config=config)))
        assert fault.level == FAULT
        assert f"process {os.getpid()}" in fault.text
        assert "http.port" in fault.advice
        assert list(neighbours.ports(real(tmp_path, config=config))) == []


def test_the_gateway_s_port_is_looked_at_also_while_the_appliance_answers(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        streams = Streams(gateway_host="127.0.0.1", gateway_port=taken.getsockname()[1])
        found = one(neighbours.ports(real(tmp_path, config=Config(streams=streams))))
        assert found.level == FAULT
        assert "streams.gateway_port" in found.advice


def test_our_own_gateway_and_systemd_s_sockets_are_no_strangers() -> None:
    def held(process: int, command: str, unit: str) -> Neighbour:
        return Neighbour(process=process, command=command, unit=unit, age_seconds=1)

    assert neighbours._is_ours(held(1, "systemd", "init.scope"))
    assert neighbours._is_ours(held(5, "x", "inference-appliance-stream.service"))
    assert neighbours._is_ours(held(5, "python -m appliance stream-gateway", ""))
    assert not neighbours._is_ours(held(5, "nginx", "nginx.service"))


def test_a_port_whose_holder_only_root_may_see_is_left_to_root(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(neighbours, "listener_on", lambda port: None)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        streams = Streams(gateway_host="127.0.0.1", gateway_port=taken.getsockname()[1])
        config = Config(streams=streams)
        seen = real(tmp_path, config=config, is_root=False)
        assert one(neighbours.ports(seen)).level == UNKNOWN


def test_an_address_that_is_not_this_machine_s_is_told_as_that() -> None:
    assert "address" in port_fault("192.0.2.1", 8080).lower()
    assert port_fault("no.such.host.invalid", 8080) != ""
    assert port_fault("127.0.0.1", 0) == ""


def listing(policy: str, *rules: str) -> str:
    return "\n".join([f"-P INPUT {policy}", *rules])


@pytest.mark.parametrize(
    ("text", "level"),
    [
        (listing("ACCEPT"), OK),
        (listing("DROP"), WARNING),
        (listing("DROP", "-A INPUT -p tcp --dport 8080 -j ACCEPT"), OK),
        (listing("DROP", "-A INPUT -s 10.0.0.0/8 -j ACCEPT"), UNKNOWN),
    ],
)
def test_a_firewall_before_the_port_is_told_with_how_to_open_it(
    tmp_path: Path, text: str, level: str
) -> None:
    seen = real(tmp_path, ask=lambda command: text if command[0] == "iptables" else None)
    found = one(neighbours.firewalls(seen))
    assert found.level == level
    assert bool(found.advice) == (level != OK)


@pytest.mark.parametrize("name", ["ufw", "firewalld", "iptables", "nftables"])
def test_every_firewall_has_its_own_words(name: str) -> None:
    assert "8080" in neighbours._opened(name, 8080)
    assert neighbours._listed(name).endswith("shows the rules.")


def test_without_root_the_firewall_is_not_looked_at(tmp_path: Path) -> None:
    assert one(neighbours.firewalls(real(tmp_path, is_root=False))).level == UNKNOWN


def test_where_only_this_machine_is_served_no_firewall_matters(tmp_path: Path) -> None:
    alone = real(tmp_path, config=Config(http=Http(host="127.0.0.1")), is_root=False)
    assert list(neighbours.firewalls(alone)) == []


def test_a_neighbour_that_has_gone_is_only_a_number() -> None:
    gone = neighbours.neighbour(2**22 - 1)
    assert (gone.command, gone.unit) == ("", "")
    assert str(gone) == f"a process (process {2**22 - 1})"
    assert msgspec.structs.replace(gone, unit="x.service").end_it == "systemctl stop x.service"
