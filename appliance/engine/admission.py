"""The bounded door of one model: so many inside, so many waiting, so long."""

import contextlib
import threading
import time
from collections.abc import Iterator

from appliance.errors import Overloaded


class Admission:
    """A counted door.

    Threads: any. Bounds: `most` callers inside, `most_waiting` at the door, each for
    `waiting_seconds`.
    """

    def __init__(self, *, most: int, most_waiting: int, waiting_seconds: float) -> None:
        self._free = threading.Semaphore(most)
        self._most_waiting = most_waiting
        self._waiting_seconds = waiting_seconds
        self._lock = threading.Lock()
        self._waiting = 0  # guarded by _lock

    @property
    def waiting(self) -> int:
        """How many callers stand at the door now."""
        return self._waiting

    @contextlib.contextmanager
    def enter(self) -> Iterator[None]:
        """Hold one place inside; raise Overloaded when the line is full or the wait too long."""
        if not self._free.acquire(blocking=False):
            self._wait()
        try:
            yield
        finally:
            self._free.release()

    def _wait(self) -> None:
        with self._lock:
            if self._waiting >= self._most_waiting:
                raise Overloaded(
                    "This model is busy and its waiting line is full. Try again in a moment.",
                    retry_after_seconds=1.0,
                )
            self._waiting += 1
        started = time.monotonic()
        try:
            entered = self._free.acquire(timeout=self._waiting_seconds)
        finally:
            with self._lock:
                self._waiting -= 1
        if not entered:
            waited = time.monotonic() - started
            raise Overloaded(
                f"This model stayed busy for {waited:.1f} s (limits.waiting_seconds). Try again"
                " later.",
                retry_after_seconds=2.0,
            )
