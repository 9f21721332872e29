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
    def enter(self, *, waited_seconds: float = 0.0) -> Iterator[None]:
        """Given how long the caller has waited elsewhere, hold one place inside.

        Raise Overloaded when the line is full or the whole wait too long. Who has waited too long
        already is sent away even from an open door: the answer would come too late, and those
        behind would become late as well.
        """
        if waited_seconds >= self._waiting_seconds:
            raise self._too_long(waited_seconds)
        if not self._free.acquire(blocking=False):
            self._wait(waited_seconds)
        try:
            yield
        finally:
            self._free.release()

    def _wait(self, waited_seconds: float) -> None:
        with self._lock:
            if self._waiting >= self._most_waiting:
                raise Overloaded(
                    "This model is busy and its waiting line is full. Try again in a moment.",
                    retry_after_seconds=1.0,
                )
            self._waiting += 1
        started = time.monotonic()
        try:
            entered = self._free.acquire(timeout=self._waiting_seconds - waited_seconds)
        finally:
            with self._lock:
                self._waiting -= 1
        if not entered:
            raise self._too_long(waited_seconds + time.monotonic() - started)

    def _too_long(self, waited_seconds: float) -> Overloaded:
        return Overloaded(
            f"This model stayed busy for {waited_seconds:.1f} s (limits.waiting_seconds). Try"
            " again later.",
            retry_after_seconds=2.0,
        )
