"""The front's side of the nursery: ask for hosts, hear of births and deaths."""

import contextlib
import os
import signal
import socket
import subprocess
import sys

import msgspec

from appliance.host.specification import HostSpecification, NurseryEvent, Spawn

_MESSAGE_BYTES = 65536


def nursery_command(descriptor: int) -> list[str]:
    """Given the descriptor of its socket, return the command line that starts a nursery.

    The packaged program is one executable, so it starts itself with a hidden verb.
    """
    if getattr(sys, "frozen", False):
        return [sys.executable, "host-nursery", str(descriptor)]
    return [sys.executable, "-m", "appliance.host", str(descriptor)]


class Nursery:
    """One nursery process and the connection to it.

    Threads: the supervisor's only, because the kernel ties the nursery's life to the thread that started it.
    """

    def __init__(self) -> None:
        self.socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = subprocess.Popen(
                nursery_command(theirs.fileno()),
                pass_fds=(theirs.fileno(),),
                stdin=subprocess.DEVNULL,
                env=_child_environment(),
            )
        self.process_id = self._process.pid

    def spawn(self, token: int, specification: HostSpecification) -> socket.socket:
        """Given a token that comes back in `born`, ask for a host and return our end of its control socket."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        with theirs:
            message = msgspec.msgpack.encode(Spawn(token=token, specification=specification))
            socket.send_fds(self.socket, [message], [theirs.fileno()])
        return ours

    def event(self) -> NurseryEvent | None:
        """Read one event; None when the nursery has ended."""
        try:
            message = self.socket.recv(_MESSAGE_BYTES)
        except ConnectionError:
            return None
        return msgspec.msgpack.decode(message, type=NurseryEvent) if message else None

    def end(self) -> None:
        """End the nursery and with it every host."""
        self.socket.close()
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(signal.SIGKILL)
        self._process.wait()


def _child_environment() -> dict[str, str]:
    """Return our environment without what must not reach a child: the service manager's sockets, and library
    paths a packaged program set for itself."""
    environment = {
        name: value
        for name, value in os.environ.items()
        if name not in ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "LISTEN_FDS", "LISTEN_PID")
    }
    environment["OPENBLAS_NUM_THREADS"] = "1"  # numpy must not start a pool beside OpenVINO's
    return environment
