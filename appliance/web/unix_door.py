"""Doors on Unix sockets: the same routes for the command line and for the WebSocket gateway.

Whoever may open the admin's socket is admin: its file mode is the key. Who comes through the
gateway's shows a key like everybody else; the gateway is believed only where its client sits.
Behind each is a server like the one on the network, so bodies, slow clients and the end of the
service are treated alike; its threads are its own, so that no crowd keeps an admin out.
"""

import contextlib
import ipaddress
import os
import socket
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from appliance.config import Http, Limits
from appliance.errors import StateUnusable
from appliance.web.front import BACKLOG
from appliance.web.server import Server

#: A Unix socket's address holds this many bytes (unix(7), sun_path less its final zero).
_MOST_PATH_BYTES = 107
_ADDRESS = "HTTP_X_GATEWAY_ADDRESS"
#: Threads for what waits for no model, and connections besides one for each thread.
_CONTROL_THREADS = 4
_MORE_CONNECTIONS = 32
#: The gateway keeps its connections; one that is closed just when it is used costs a repetition.
_IDLE_SECONDS = 300.0
_JOIN_SECONDS = 5.0

Application = Callable[..., Any]


class UnixDoor:
    """Serves an application on a Unix socket.

    Threads: `start` begins one of its own, which is the server's loop; `begin_stop` may be called
    by a signal handler.
    """

    def __init__(
        self,
        application: Application,
        path: Path,
        *,
        name: str,
        mode: int,
        http: Http,
        limits: Limits,
        threads: int,
        rules: Mapping[str, Any],
    ) -> None:
        """Given an application and a path, listen there; raise StateUnusable where that cannot be.

        `mode` is the socket's file mode, `threads` how many requests may wait for models at once,
        `rules` what else `Server` wants to know.
        """
        self._path = path
        self._listener = _listening(path, mode)
        settings = msgspec.structs.replace(
            http,
            threads=threads,
            control_threads=_CONTROL_THREADS,
            connections=threads + _CONTROL_THREADS + _MORE_CONNECTIONS,
            idle_seconds=_IDLE_SECONDS,
        )
        self._drain_seconds = http.drain_seconds
        self._server = Server(
            application,
            settings,
            limits,
            listener=self._listener,
            is_local=lambda address: True,
            **rules,
        )
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Begin to serve."""
        self._thread.start()

    def begin_stop(self) -> None:
        """Take nothing new; what runs may go on for http.drain_seconds."""
        self._server.stop(self._drain_seconds)

    def stop(self) -> None:
        """End, when what runs has been answered or its time is over."""
        self.begin_stop()
        if self._thread.is_alive():
            self._thread.join(self._drain_seconds + _JOIN_SECONDS)
        self._listener.close()
        with contextlib.suppress(FileNotFoundError):
            self._path.unlink()

    def _run(self) -> None:
        self._server.run(lambda: None)


def _listening(path: Path, mode: int) -> socket.socket:
    if len(os.fsencode(path)) > _MOST_PATH_BYTES:
        raise StateUnusable(
            f"The path {path} is too long for a Unix socket ({_MOST_PATH_BYTES} bytes);"
            " set state.runtime_dir to a shorter one."
        )
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        path.unlink(missing_ok=True)
        listener.bind(str(path))
        path.chmod(mode)
        listener.listen(BACKLOG)
    except OSError as fault:
        listener.close()
        raise StateUnusable(f"Cannot listen on {path}: {fault.strerror}.") from None
    return listener


def as_admin(application: Application) -> Application:
    """Given an application, return it as the command line sees it: its caller is admin."""

    def marked(environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
        environ["appliance.admin_socket"] = True
        return application(environ, start_response)

    return marked


def for_gateway(application: Application) -> Application:
    """Given an application, return it as the gateway sees it: callers sit where the gateway says.

    Keys, limits and log lines then go by the client's own address; one that is none is 'unknown'.
    """

    def placed(environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
        address = plain_client(environ.pop(_ADDRESS, ""))
        environ["REMOTE_ADDR"] = environ["REMOTE_HOST"] = address
        return application(environ, start_response)

    return placed


def plain_client(text: str) -> str:
    """Given where the gateway says that a client sits, return the address, or 'unknown'."""
    try:
        return str(ipaddress.ip_address(text.strip()))
    except ValueError:
        return "unknown"
