"""One running host as the front sees it: its connections, calls in flight and how it ended."""

import contextlib
import os
import signal
import socket
import threading
from typing import Any

from appliance import frames
from appliance.errors import DeadlineExceeded, HostDied, ModelUnavailable, decoded


class Host:
    """A host process that is ready to answer.

    Threads: `call` from any; each borrows one connection, so a call never shares a socket.
    """

    def __init__(self, socket_path: str, process_id: int, *, deadline_seconds: float) -> None:
        self.process_id = process_id
        self.missed_deadlines = 0  # guarded by _lock
        self.ended_because: str | None = None
        self._socket_path = socket_path
        self._deadline_seconds = deadline_seconds
        self._idle: list[socket.socket] = []  # guarded by _lock
        self._in_flight = 0  # guarded by _lock
        self._lock = threading.Lock()
        self._quiet = threading.Condition(self._lock)

    @property
    def in_flight(self) -> int:
        """How many calls are inside the host now."""
        return self._in_flight

    def call(self, header: dict[str, Any], body: bytes | memoryview) -> tuple[dict[str, Any], bytearray]:
        """Given a call, return the host's reply.

        Raise DeadlineExceeded past the deadline, HostDied when the process ended, or the problem the host answered.
        """
        connection = self._borrow()
        try:
            frames.send(connection, header, body)
            reply, answer = frames.receive(connection)
        except BlockingIOError:
            self._discard(connection, missed=True)
            raise DeadlineExceeded(
                f"The model did not answer within {self._deadline_seconds:g} s (models.deadline_seconds)."
            ) from None
        except (OSError, ValueError):
            self._discard(connection)
            raise HostDied(
                f"The model's process ended ({self.ended_because or 'crashed'}) while it worked on this request."
                " It is being started again; send the request again.",
                retry_after_seconds=1.0,
            ) from None
        self._give_back(connection)
        if "problem" in reply:
            raise decoded(reply["problem"])
        return reply, answer

    def close(self) -> None:
        """Drop all idle connections."""
        with self._lock:
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()

    def wait_until_quiet(self, timeout_seconds: float) -> bool:
        """Wait until no call is in flight; return whether that happened in time."""
        with self._quiet:
            return self._quiet.wait_for(lambda: self._in_flight == 0, timeout_seconds)

    def kill(self) -> None:
        """End the process at once."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.process_id, signal.SIGKILL)

    def _borrow(self) -> socket.socket:
        with self._lock:
            self._in_flight += 1
            if self._idle:
                return self._idle.pop()
        try:
            return self._connect()
        except OSError:
            self._leave()
            raise ModelUnavailable(
                "The model's process is not there right now; it is being started again. Try again in a second."
            ) from None

    def _connect(self) -> socket.socket:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        seconds = self._deadline_seconds
        timeval = frames.timeval(seconds)
        # The kernel's own timeouts keep the socket blocking: one system call per read, not two.
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, timeval)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, timeval)
        try:
            connection.connect(self._socket_path)
        except OSError:
            connection.close()
            raise
        return connection

    def _give_back(self, connection: socket.socket) -> None:
        with self._quiet:
            self._idle.append(connection)
            self._in_flight -= 1
            if not self._in_flight:
                self._quiet.notify_all()

    def _discard(self, connection: socket.socket, *, missed: bool = False) -> None:
        connection.close()
        with self._lock:
            self.missed_deadlines += missed
        self._leave()

    def _leave(self) -> None:
        with self._quiet:
            self._in_flight -= 1
            if not self._in_flight:
                self._quiet.notify_all()


def wait_status_words(status: int) -> str:
    """Given a wait status, return how the process ended in words, such as `signal 9 (SIGKILL)`."""
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        hint = "; perhaps the kernel was out of memory" if number == signal.SIGKILL else ""
        return f"signal {number} ({signal.Signals(number).name}){hint}"
    return f"exit status {os.waitstatus_to_exitcode(status)}"
