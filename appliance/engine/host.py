"""One running host as the front sees it: its connections, calls in flight and how it ended."""

import contextlib
import os
import signal
import socket
import threading
import time
from typing import Any

from appliance import frames
from appliance.errors import (
    DeadlineExceeded,
    HostDied,
    ModelUnavailable,
    PayloadTooLarge,
    decoded,
)

#: How long a broken call waits for word of how the process ended, to be able to say so.
_OBITUARY_SECONDS = 1.0
#: A miss counts until a call was answered that was sent so much later.
_FORGIVEN_SECONDS = 30.0
#: What the kernel allows of it (net.core.wmem_max) is used; it costs nothing while it is empty.
_SEND_BUFFER_BYTES = 1024 * 1024


class Host:
    """A host process that is ready to answer.

    A connection is one end of a socket pair whose other end goes to the host over its control
    socket, so there is no path that others could connect to or that could be left behind.
    Threads: any; a call borrows one connection for itself, so calls never share one. Bound:
    as many connections as there were calls at once.
    """

    def __init__(
        self, control: socket.socket, process_id: int, *, deadline_seconds: float
    ) -> None:
        self.process_id = process_id
        self._control = control.dup()
        self._control.setblocking(False)
        self._deadline_seconds = deadline_seconds
        self._lock = threading.Lock()
        self._quiet = threading.Condition(self._lock)
        self._idle: list[socket.socket] = []  # guarded by _lock
        self._in_flight = 0  # guarded by _lock
        self._misses: list[float] = []  # monotonic; guarded by _lock
        self._answered = 0.0  # when the last answered call was sent; set by any thread
        self._is_closed = False  # guarded by _lock
        self._ended = threading.Event()
        self._ended_because = ""  # written before _ended is set

    @property
    def in_flight(self) -> int:
        """How many calls are inside the host now."""
        return self._in_flight

    @property
    def missed_deadlines(self) -> int:
        """How many calls were not answered in time, of late.

        One later answer does not take a miss back: the thread that missed hangs or works in vain.
        But a host that goes on answering calls was only busy, as with one large batch, so a miss
        is forgiven once calls sent so long after it were answered.
        """
        with self._lock:
            self._forgive()
            return len(self._misses)

    def enter(self) -> None:
        """Count a call before it is made, so that a drain started in between waits for it."""
        with self._lock:
            self._in_flight += 1

    def leave(self) -> None:
        """Count the end of a call that `enter` counted."""
        with self._quiet:
            self._in_flight -= 1
            if not self._in_flight:
                self._quiet.notify_all()

    def call(
        self, header: dict[str, Any], body: bytes | memoryview
    ) -> tuple[dict[str, Any], bytearray]:
        """Given a call, return the host's reply.

        Raise DeadlineExceeded past the deadline, HostDied when the process ended, ModelUnavailable
        when it had ended before, or the problem the host answered.
        """
        connection = self._borrow()
        try:
            frames.send(connection, header, body)
            sent = time.monotonic()
            give_up_at = sent + self._deadline_seconds
            reply, answer = frames.receive(connection, give_up_at=give_up_at)
        except frames.FrameTooLarge:
            self._give_back(connection)
            raise PayloadTooLarge(
                "The request is larger than what is passed on to a model. Send a smaller input."
            ) from None
        except (BlockingIOError, TimeoutError):
            connection.close()
            raise self._missed() from None
        except (OSError, ValueError):
            connection.close()
            raise self._died() from None
        except BaseException:
            connection.close()
            raise
        self._answered = sent
        self._give_back(connection)
        if "problem" in reply:
            raise decoded(reply["problem"])
        return reply, answer

    def ended(self, words: str) -> None:
        """Given how the process ended, tell the calls that wait to know it and close."""
        self._ended_because = words
        self._ended.set()
        self.close()

    def close(self) -> None:
        """Drop all connections that no call uses; no new ones are made."""
        with self._lock:
            self._is_closed = True
            idle, self._idle = self._idle, []
            self._control.close()
        for connection in idle:
            connection.close()

    def wait_until_quiet(self, timeout_seconds: float) -> bool:
        """Wait until no call is in flight; return whether that happened in time."""
        with self._quiet:
            return self._quiet.wait_for(lambda: self._in_flight == 0, timeout_seconds)

    def kill(self) -> None:
        """End the process at once."""
        kill_process(self.process_id)

    def _borrow(self) -> socket.socket:
        with self._lock:
            if self._idle:
                return self._idle.pop()
        try:
            return self._connect()
        except OSError:
            raise ModelUnavailable(
                "The model's process is not there right now; it is being started again. Try again"
                " in a second."
            ) from None

    def _connect(self) -> socket.socket:
        connection, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        timeval = frames.timeval(self._deadline_seconds)
        # The kernel's own timeouts keep the socket blocking: one system call per read, not two.
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, timeval)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, timeval)
        # A tensor of 600 kB then takes two turns of both sides instead of three.
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER_BYTES)
        with theirs, self._lock:
            try:
                socket.send_fds(self._control, [b"c"], [theirs.fileno()])
            except OSError:
                connection.close()
                raise
        return connection

    def _give_back(self, connection: socket.socket) -> None:
        with self._lock:
            if not self._is_closed:
                self._idle.append(connection)
                return
        connection.close()

    def _missed(self) -> DeadlineExceeded:
        with self._lock:
            self._forgive()
            self._misses.append(time.monotonic())
        return DeadlineExceeded(
            f"The model did not answer within {self._deadline_seconds:g} s"
            " (models.deadline_seconds)."
        )

    def _forgive(self) -> None:
        """Forget misses long before the last answered call; under the lock."""
        window = max(_FORGIVEN_SECONDS, 2 * self._deadline_seconds)
        self._misses = [at for at in self._misses if self._answered < at + window]

    def _died(self) -> HostDied:
        self._ended.wait(_OBITUARY_SECONDS)
        because = self._ended_because or "it closed the connection"
        return HostDied(
            f"The model's process ended while it worked on this request ({because}). It is being"
            " started again; send the request again.",
            retry_after_seconds=1.0,
        )


def kill_process(process_id: int) -> None:
    """Given a process id, end that process at once; 0 and below would mean whole groups."""
    if process_id > 0:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process_id, signal.SIGKILL)
