"""The front's side of the nursery: ask for hosts, hear of births and deaths."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import msgspec

from appliance.host.specification import HostSpecification, JobProcess, NurseryEvent, Spawn

_MESSAGE_BYTES = 65536
_ANSWER_SECONDS = 1.0
_NOT_FOR_CHILDREN = frozenset(
    {"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"}
    | {"LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES"}
)


def nursery_command(descriptor: int) -> list[str]:
    """Given the descriptor of its socket, return the command line that starts a nursery.

    The packaged program is one executable, so it starts itself with a hidden verb. Otherwise `-P`
    keeps the working directory, where anybody may have put an `openvino.py`, off the import path.
    """
    if getattr(sys, "frozen", False):
        return [sys.executable, "host-nursery", str(descriptor)]
    return [sys.executable, "-P", "-m", "appliance.host", str(descriptor)]


class Nursery:
    """One nursery process and the connection to it.

    Threads: the supervisor's only, because the kernel ties the nursery's life to the thread that
    started it. Raises OSError when no process can be started.
    """

    def __init__(self) -> None:
        self.started = time.monotonic()
        self.socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        # A nursery that hangs must not hang the supervisor with it.
        self.socket.settimeout(_ANSWER_SECONDS)
        with theirs:
            try:
                self._process = subprocess.Popen(
                    nursery_command(theirs.fileno()),
                    pass_fds=(theirs.fileno(),),
                    stdin=subprocess.DEVNULL,
                    env=_child_environment(os.environ),
                )
            except OSError:
                self.socket.close()
                raise
        self.process_id = self._process.pid

    def spawn(self, token: int, specification: HostSpecification) -> socket.socket:
        """Given a token that comes back in `born` or `unborn`, ask for a host.

        Return our end of its control socket; raise OSError when the nursery cannot be asked.
        """
        return self._spawn(Spawn(token=token, specification=specification))

    def spawn_job(self, token: int, job: JobProcess) -> socket.socket:
        """Given a token and what the process may use, ask for the process of a job, as `spawn`."""
        return self._spawn(Spawn(token=token, job=job))

    def _spawn(self, wanted: Spawn) -> socket.socket:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        ours.settimeout(_ANSWER_SECONDS)
        with theirs:
            message = msgspec.msgpack.encode(wanted)
            try:
                socket.send_fds(self.socket, [message], [theirs.fileno()])
            except OSError:
                ours.close()
                raise
        return ours

    def event(self) -> NurseryEvent | None:
        """Read one event; None when the nursery has ended."""
        try:
            message = self.socket.recv(_MESSAGE_BYTES)
        except ConnectionError:
            return None
        return msgspec.msgpack.decode(message, type=NurseryEvent) if message else None

    def end(self) -> str:
        """End the nursery and with it every host; return in words how it ended."""
        self.socket.close()
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(signal.SIGKILL)
        return return_code_words(self._process.wait())


def return_code_words(code: int) -> str:
    """Given a return code (-9 for signal 9), return how the process ended, in words."""
    if code >= 0:
        return f"exit status {code}"
    hint = "; perhaps the kernel was out of memory" if -code == signal.SIGKILL else ""
    return f"signal {-code} ({signal.Signals(-code).name}){hint}"


def _child_environment(ours: Mapping[str, str]) -> dict[str, str]:
    """Return our environment without the service manager's sockets, which must not reach a child.

    The package is found where this process found it, whatever the working directory is.
    """
    environment = {name: value for name, value in ours.items() if name not in _NOT_FOR_CHILDREN}
    environment["OPENBLAS_NUM_THREADS"] = "1"  # numpy must not start a pool beside OpenVINO's
    package = str(Path(__file__).resolve().parents[2])
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, (package, ours.get("PYTHONPATH"))))
    return environment
