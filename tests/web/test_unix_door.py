"""Doors on Unix sockets: who comes through which, and as whom."""

import http.client
import socket
import stat
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from appliance.errors import StateUnusable
from appliance.web.unix_door import UnixDoor, as_admin, for_gateway


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


@pytest.fixture
def through(directory: Path) -> Iterator[Callable[..., Path]]:
    doors = []

    def open_door(application: Any, mode: int) -> Path:
        path = directory / "door.sock"
        door = UnixDoor(application, path, name="door", mode=mode, threads=2)
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
        UnixDoor(tell, directory / ("x" * 120), name="door", mode=0o600, threads=1)
