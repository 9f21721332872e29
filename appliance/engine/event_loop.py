"""One thread that waits for sockets, commands and timers, and outlives any fault in its work."""

import contextlib
import logging
import queue
import selectors
import socket
import threading
import time
from collections.abc import Callable

_log = logging.getLogger(__name__)
_END_SECONDS = 12.0


class EventLoop:
    """The thread and what wakes it; who inherits says what is done.

    Threads: `start`, `stop`, `heartbeat_age_seconds` and `_post` are for any; all else runs in the
    thread itself.
    """

    def __init__(self, name: str) -> None:
        self._commands: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._selector = selectors.DefaultSelector()
        self._wakeup, self._waker = socket.socketpair()
        self._waker.setblocking(False)
        self._timers: list[tuple[float, Callable[[], None]]] = []
        self._is_stopping = False
        self._beat = time.monotonic()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """End everything and wait for that."""
        self._is_stopping = True
        if self._thread.ident is None:
            self._close()
            return
        self._post(lambda: None)
        self._thread.join(_END_SECONDS)

    def heartbeat_age_seconds(self) -> float:
        """Return the seconds since the thread last went round its loop: about one, at most."""
        return time.monotonic() - self._beat

    def _begin(self) -> None:
        """Do what comes first in the thread."""

    def _finish(self) -> None:
        """Do what comes last in the thread."""

    def _post(self, command: Callable[[], None]) -> None:
        self._commands.put(command)
        with contextlib.suppress(OSError):  # full: it will wake anyway; closed: it has ended
            self._waker.send(b"x")

    def _run(self) -> None:
        self._selector.register(self._wakeup, selectors.EVENT_READ, self._run_commands)
        self._guarded(self._begin)
        while not self._is_stopping:
            self._go_round(1.0)
        self._guarded(self._finish)
        self._close()

    def _go_round(self, longest_pause: float) -> None:
        now = time.monotonic()
        pause = min([longest_pause, *(at - now for at, _ in self._timers)])
        for key, _ in self._selector.select(max(0.0, pause)):
            self._guarded(key.data)
        self._run_timers()
        self._beat = time.monotonic()

    def _guarded(self, work: Callable[[], None]) -> None:
        try:
            work()
        except Exception:  # the thread must outlive any fault of its own
            _log.exception("a step of the %s failed", self._thread.name)

    def _run_commands(self) -> None:
        self._wakeup.recv(4096)
        while not self._commands.empty():
            self._guarded(self._commands.get())

    def _run_timers(self) -> None:
        now = time.monotonic()
        due = [work for at, work in self._timers if at <= now]
        self._timers = [timer for timer in self._timers if timer[0] > now]
        for work in due:
            self._guarded(work)

    def _after(self, seconds: float, work: Callable[[], None]) -> None:
        self._timers.append((time.monotonic() + seconds, work))

    def _close(self) -> None:
        self._selector.close()
        self._wakeup.close()
        self._waker.close()
