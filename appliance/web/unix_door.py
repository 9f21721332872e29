"""Doors on Unix sockets: the same routes for the command line and for the WebSocket gateway.

Whoever may open the admin's socket is admin: its file mode is the key. Who comes through the
gateway's shows a key like everybody else; the gateway is believed only where its client sits.
"""

import contextlib
import ipaddress
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import waitress

from appliance.errors import StateUnusable

#: A Unix socket's address holds this many bytes (unix(7), sun_path less its final zero).
_MOST_PATH_BYTES = 107
_ADDRESS = "HTTP_X_GATEWAY_ADDRESS"

Application = Callable[..., Any]


class UnixDoor:
    """Serves an application on a Unix socket.

    Threads: `start` begins one of its own; requests have as many more as it was given.
    """

    def __init__(
        self, application: Application, path: Path, *, name: str, mode: int, threads: int
    ) -> None:
        """Given an application and a path, listen there; raise StateUnusable where that cannot be.

        `mode` is the socket's file mode; `threads` is also the most requests at once.
        """
        if len(os.fsencode(path)) > _MOST_PATH_BYTES:
            raise StateUnusable(
                f"The path {path} is too long for a Unix socket ({_MOST_PATH_BYTES} bytes);"
                " set state.runtime_dir to a shorter one."
            )
        with contextlib.suppress(FileNotFoundError):
            path.unlink()
        self._path = path
        self._server = waitress.create_server(
            application,
            map={},
            unix_socket=str(path),
            unix_socket_perms=f"{mode:o}",
            threads=threads,
            ident=None,
            # Nothing of ours believes what proxies say, and clearing it costs a middleware.
            clear_untrusted_proxy_headers=False,
            asyncore_use_poll=True,
        )
        self._thread = threading.Thread(target=self._server.run, name=name, daemon=True)

    def start(self) -> None:
        """Begin to serve."""
        self._thread.start()

    def stop(self) -> None:
        """End; a request that runs is let go on until the process ends."""
        self._server.close()
        with contextlib.suppress(FileNotFoundError):
            self._path.unlink()


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
        address = _plain_address(environ.pop(_ADDRESS, ""))
        environ["REMOTE_ADDR"] = environ["REMOTE_HOST"] = address
        return application(environ, start_response)

    return placed


def _plain_address(text: str) -> str:
    try:
        return str(ipaddress.ip_address(text.strip()))
    except ValueError:
        return "unknown"
