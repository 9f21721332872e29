"""Doors on Unix sockets: who comes through which, and as whom."""

import http.client
import socket
import stat
import tempfile
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from appliance.config import Limits
from appliance.errors import StateUnusable
from appliance.web.unix_door import as_admin, for_gateway
from tests.web.doors import door_at
from tests.web.serving import eventually


def tell(environ: dict[str, Any], start: Callable[..., Any]) -> list[bytes]:
    """Answer where the caller sits, and whether they are admin."""
    is_admin = environ.get("appliance.admin_socket") is True
    said = f"{environ['REMOTE_ADDR']} {is_admin} {environ.get('HTTP_X_GATEWAY_ADDRESS')}"
    start("200 OK", [("Content-Length", str(len(said)))])
    return [said.encode()]


@pytest.fixture
def directory() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="ia-") as name:
        yield Path(name)


def ask(path: Path, **headers: str) -> str:
    connection = http.client.HTTPConnection("localhost", timeout=20)
    connection.sock = socket.socket(socket.AF_UNIX)
    connection.sock.connect(str(path))
    shown = {name.replace("_", "-"): value for name, value in headers.items()}
    connection.request("GET", "/", headers=shown)
    answer = connection.getresponse().read().decode()
    connection.close()
    return answer


def is_closed(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as client:
        return client.connect_ex(str(path)) != 0


@pytest.fixture
def through(directory: Path) -> Iterator[Callable[..., Path]]:
    doors = []

    def open_door(application: Any, mode: int, **changes: Any) -> Path:
        path = directory / "door.sock"
        door = door_at(path, application, mode, **changes)
        door.start()
        doors.append(door)
        return path

    yield open_door
    for door in doors:
        door.stop()
        assert not (directory / "door.sock").exists()


def test_the_admins_door_makes_admins_and_is_the_owners_alone(through: Any) -> None:
    path = through(as_admin(tell), 0o600)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert ask(path).split()[1] == "True"


@pytest.mark.parametrize(
    ("said", "address"),
    [("192.0.2.7", "192.0.2.7"), ("2001:DB8::1", "2001:db8::1"), ("10.0.0.1, ::1", "unknown")],
)
def test_the_gateways_door_believes_where_clients_sit_and_makes_nobody_admin(
    through: Any, said: str, address: str
) -> None:
    path = through(for_gateway(tell), 0o660)
    assert stat.S_IMODE(path.stat().st_mode) == 0o660
    assert ask(path, X_Gateway_Address=said) == f"{address} False None"


def test_whom_the_gateway_does_not_place_is_unknown_not_local(through: Any) -> None:
    assert ask(through(for_gateway(tell), 0o660)) == "unknown False None"


def test_a_path_too_long_for_a_socket_is_refused_in_words(directory: Path) -> None:
    with pytest.raises(StateUnusable, match="runtime_dir"):
        door_at(directory / ("x" * 120), tell)


def test_a_path_that_cannot_be_made_is_refused_in_words(directory: Path) -> None:
    with pytest.raises(StateUnusable, match="Cannot listen"):
        door_at(directory / "missing" / "door.sock", tell)


def test_a_request_that_runs_when_the_door_closes_is_answered(directory: Path) -> None:
    entered, go_on = threading.Event(), threading.Event()

    def hold(environ: dict[str, Any], start: Callable[..., Any]) -> list[bytes]:
        entered.set()
        assert go_on.wait(20)
        return tell(environ, start)

    path = directory / "door.sock"
    door = door_at(path, as_admin(hold))
    door.start()
    with ThreadPoolExecutor(2) as pool:
        answer = pool.submit(ask, path)
        assert entered.wait(20)
        door.begin_stop()
        stopped = pool.submit(door.stop)
        eventually(lambda: is_closed(path), "the door closed")
        assert not stopped.done()
        go_on.set()
        assert answer.result(20) == "local True None"
        stopped.result(20)


def test_a_body_over_the_limit_is_refused_before_it_is_read(through: Any) -> None:
    path = through(as_admin(tell), 0o600, limits=Limits(body_bytes=1000))
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(20)
        client.connect(str(path))
        client.sendall(b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1001\r\n\r\n")
        assert client.recv(1000).startswith(b"HTTP/1.1 413 ")


def test_a_large_body_is_taken_from_known_callers_only(through: Any) -> None:
    path = through(for_gateway(tell), 0o660)
    head = b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\n"
    for shown, status in ((b"", b"401"), (b"X-API-Key: known\r\n", b"200")):
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(20)
            client.connect(str(path))
            client.sendall(head + shown + b"\r\n" + b"x" * (100_000 if shown else 0))
            assert client.recv(1000).split(b" ")[1] == status


def test_an_end_without_a_beginning_leaves_no_socket(directory: Path) -> None:
    door_at(directory / "door.sock", tell).stop()
    assert not (directory / "door.sock").exists()
