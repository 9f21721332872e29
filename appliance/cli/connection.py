"""The command line's way into a running appliance: HTTP over its admin Unix socket.

The command line never opens the database itself: two processes writing one SQLite file is how
databases get lost.
"""

import contextlib
import http.client
import os
import socket
from collections.abc import Iterable
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlencode

import click
import msgspec

from appliance.config import Config

SOCKET_NAME = "admin.sock"
_TIMEOUT_SECONDS = 60.0
_PIECE_BYTES = 256 * 1024
_MOST_ANSWER_BYTES = 64 * 1024 * 1024
#: `sun_path` of unix(7) has 108 bytes; longer paths are reached through their open directory.
_MOST_PATH_BYTES = 107


class Refused(click.ClickException):
    """The appliance answered with a problem; its own sentence is the message."""

    def __init__(self, document: dict[str, Any], status: int) -> None:
        super().__init__(str(document.get("detail") or document.get("title") or status))
        self.status = status
        self.document = document

    def format_message(self) -> str:
        """Return the problem's sentence and, one to a line, what it says of single fields."""
        lines = [self.message]
        for fault in self.document.get("errors") or ():
            if fault.get("detail") != self.message:
                lines.append(f"  {fault.get('pointer', '')}: {fault.get('detail', '')}")
        return "\n".join(lines)


class NotRunning(click.ClickException):
    """Nobody answers on the admin socket; exit status 69 is EX_UNAVAILABLE of sysexits.h."""

    exit_code = 69


class Connection:
    """Calls to one appliance, each on a connection of its own."""

    def __init__(self, socket_path: Path, *, timeout_seconds: float = _TIMEOUT_SECONDS) -> None:
        self.socket_path = socket_path
        self._timeout_seconds = timeout_seconds

    def get(self, path: str, **query: str | int | None) -> Any:
        """Given a path and query values, of which None are left out, return the JSON answer."""
        given = {name: value for name, value in query.items() if value is not None}
        return self.call("GET", f"{path}?{urlencode(given)}" if given else path)

    def post(self, path: str, body: Any) -> Any:
        """Given a path and a value to send as JSON, return the JSON answer."""
        return self.call("POST", path, body=msgspec.json.encode(body))

    def delete(self, path: str) -> Any:
        """Given a path, delete what is there and return the JSON answer, if there is one."""
        return self.call("DELETE", path)

    def call(
        self,
        method: str,
        path: str,
        *,
        body: bytes | Iterable[bytes] | None = None,
        content_type: str = "application/json",
        body_bytes: int | None = None,
    ) -> Any:
        """Given a request, return its JSON answer, or None for an empty one.

        A body that comes in pieces, as of files, is never whole in memory; `body_bytes` then says
        how long it is. Raise Refused for a problem, NotRunning when nobody answers.
        """
        connection = _UnixConnection(self.socket_path, self._timeout_seconds)
        headers = {"Host": "localhost", "Accept": "application/json"}
        if body is not None:
            headers["Content-Type"] = content_type
        if body_bytes is not None:
            headers["Content-Length"] = str(body_bytes)
        try:
            with contextlib.suppress(BrokenPipeError):  # refused by its head: the answer is there
                connection.request(method, path, body=body, headers=headers)
            answer = connection.getresponse()
            content = answer.read(_MOST_ANSWER_BYTES)
        except (OSError, http.client.HTTPException) as fault:
            raise self._not_running(fault) from None
        finally:
            connection.close()
        return self._value(answer, content)

    def fetch(self, path: str, target: IO[bytes]) -> int:
        """Given a path and an open file, write what is there into the file; return its bytes.

        Raise what `call` raises.
        """
        connection = _UnixConnection(self.socket_path, self._timeout_seconds)
        written = 0
        try:
            connection.request("GET", path, headers={"Host": "localhost"})
            answer = connection.getresponse()
            if answer.status >= 400:
                self._value(answer, answer.read(_MOST_ANSWER_BYTES))
            while piece := answer.read(_PIECE_BYTES):
                written += target.write(piece)
        except (OSError, http.client.HTTPException) as fault:
            raise self._not_running(fault) from None
        finally:
            connection.close()
        return written

    @staticmethod
    def _value(answer: http.client.HTTPResponse, content: bytes) -> Any:
        value = _decoded(content)
        if answer.status >= 400:
            raise Refused(value if isinstance(value, dict) else {}, answer.status)
        return value

    def _not_running(self, fault: Exception) -> NotRunning:
        if isinstance(fault, PermissionError):
            return NotRunning(
                f"The admin socket {self.socket_path} may not be opened by this user. Run the"
                " command as root, or as a member of the appliance's group."
            )
        if isinstance(fault, FileNotFoundError | ConnectionRefusedError):
            return NotRunning(
                f"The appliance is not running: nobody answers on {self.socket_path}. Start it"
                " with 'systemctl start inference-appliance' or 'appliance serve', or name its"
                " configuration with --config."
            )
        if isinstance(fault, TimeoutError):
            return NotRunning(
                f"The appliance did not answer on {self.socket_path} within"
                f" {self._timeout_seconds:g} s. See its log for what it is busy with."
            )
        return NotRunning(
            f"The connection to the appliance on {self.socket_path} broke: {fault or 'no answer'}."
            " See its log, then try again."
        )


def admin_socket_path(config: Config) -> Path:
    """Given the configuration, return where the running appliance has its admin socket."""
    directory = config.state.runtime_dir or str(Path(config.state.dir) / "run")
    return Path(directory).absolute() / SOCKET_NAME


def connection_of(context: click.Context) -> Connection:
    """Given click's context, whose object is the Config, return the way to that appliance."""
    config = context.find_object(Config)
    return Connection(admin_socket_path(config if config is not None else Config()))


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path, timeout_seconds: float) -> None:
        super().__init__("localhost", timeout=timeout_seconds)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        if len(os.fsencode(self._path)) <= _MOST_PATH_BYTES:
            self.sock.connect(str(self._path))
            return
        directory = os.open(self._path.parent, os.O_PATH | os.O_DIRECTORY)
        try:
            self.sock.connect(f"/proc/self/fd/{directory}/{self._path.name}")
        finally:
            os.close(directory)


def _decoded(content: bytes) -> Any:
    try:
        return msgspec.json.decode(content) if content else None
    except msgspec.DecodeError:
        return None
