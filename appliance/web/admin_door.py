"""The admin door: the same routes on a Unix socket, where file permissions are the key."""

import contextlib
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import waitress

from appliance.errors import StateUnusable

_THREADS = 2
#: A Unix socket's address holds this many bytes (unix(7), sun_path less its final zero).
_MOST_PATH_BYTES = 107


class AdminDoor:
    """Serves the command line. Threads: `run` has its own; requests have two more."""

    def __init__(self, application: Callable[..., Any], path: Path) -> None:
        if len(os.fsencode(path)) > _MOST_PATH_BYTES:
            raise StateUnusable(
                f"The path {path} is too long for a Unix socket ({_MOST_PATH_BYTES} bytes);"
                " set state.runtime_dir to a shorter one."
            )
        with contextlib.suppress(FileNotFoundError):
            path.unlink()
        self._path = path
        self._server = waitress.create_server(
            _as_admin(application),
            map={},
            unix_socket=str(path),
            unix_socket_perms="600",
            threads=_THREADS,
            ident=None,
            clear_untrusted_proxy_headers=True,
            asyncore_use_poll=True,
        )
        self._thread = threading.Thread(target=self._server.run, name="admin-door", daemon=True)

    def start(self) -> None:
        """Begin to serve."""
        self._thread.start()

    def stop(self) -> None:
        """End; a request that runs is let go on until the process ends."""
        self._server.close()
        with contextlib.suppress(FileNotFoundError):
            self._path.unlink()


def _as_admin(application: Callable[..., Any]) -> Callable[..., Any]:
    def marked(environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
        environ["appliance.admin_socket"] = True
        return application(environ, start_response)

    return marked
