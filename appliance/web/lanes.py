"""Two lanes of worker threads, so that waiting predictions never delay health or administration.

Each lane has its own threads and its own bounded line; a full line is told to the caller at once,
because the loop that asks must never block.
"""

import logging
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from enum import StrEnum
from queue import SimpleQueue

_log = logging.getLogger(__name__)
#: Replacement threads per lane while others wait for slow readers of long answers.
_MOST_SPARES = 16


class Lane(StrEnum):
    """Which threads answer a request: predictions, or everything else."""

    INFERENCE = "inference"
    CONTROL = "control"


class SparesExhausted(Exception):
    """So many threads of a lane wait for slow readers that no further one may."""


class _Pool:
    """The threads of one lane.

    Threads: `submit` belongs to the serving loop, `stalled` to the workers; `_lock` guards the
    counts. Requests are counted until they are done, not while they are in the queue: a burst that
    finds idle threads must not be refused because these have not woken up yet.
    """

    def __init__(self, lane: Lane, threads: int, most_waiting: int) -> None:
        self._lane = lane
        self._threads = threads
        self._most_waiting = most_waiting
        self._line: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._lock = threading.Lock()
        self._inside = 0
        self._spares = 0
        self._started = 0

    def start(self) -> None:
        for _ in range(self._threads):
            self._start_one()

    def _start_one(self) -> None:
        self._started += 1
        name = f"{self._lane}-{self._started}"
        threading.Thread(target=self._work, name=name, daemon=True).start()

    def _work(self) -> None:
        while (work := self._line.get()) is not None:
            try:
                work()
            except BaseException:  # not even SystemExit may shrink the lane
                _log.exception("a worker thread met an error nobody caught")
            del work  # an idle worker must not keep the last request's body alive
            with self._lock:
                self._inside -= 1

    @property
    def waiting(self) -> int:
        return max(0, self._inside - self._threads - self._spares)

    @property
    def is_full(self) -> bool:
        return self._inside >= self._threads + self._spares + self._most_waiting

    def submit(self, work: Callable[[], None]) -> bool:
        with self._lock:
            if self.is_full:
                return False
            self._inside += 1
        self._line.put(work)
        return True

    @contextmanager
    def stalled(self) -> Iterator[None]:
        with self._lock:
            if self._spares >= _MOST_SPARES:
                raise SparesExhausted
            self._spares += 1
            self._start_one()
        try:
            yield
        finally:
            with self._lock:
                self._spares -= 1
            self._line.put(None)  # whichever thread takes this leaves: the spare is paid back

    def stop(self) -> None:
        for _ in range(self._threads):
            self._line.put(None)


class Lanes:
    """Every lane by name; built and stopped once."""

    def __init__(self, *, threads: Mapping[Lane, int], most_waiting: Mapping[Lane, int]) -> None:
        self._pools = {lane: _Pool(lane, threads[lane], most_waiting[lane]) for lane in Lane}

    def start(self) -> None:
        """Start every thread."""
        for pool in self._pools.values():
            pool.start()

    def is_full(self, lane: Lane) -> bool:
        """Return whether `submit` would refuse now."""
        return self._pools[lane].is_full

    def submit(self, lane: Lane, work: Callable[[], None]) -> bool:
        """Given a lane and what to call in a thread of it, return False when its line is full."""
        return self._pools[lane].submit(work)

    def waiting(self, lane: Lane) -> int:
        """Return how many requests wait for a thread of this lane; any thread may ask."""
        return self._pools[lane].waiting

    @contextmanager
    def stalled(self, lane: Lane) -> Iterator[None]:
        """Given the lane of the calling worker, lend the lane a spare thread while inside.

        For a worker that waits for a slow reader: without it a few long downloads would take all
        threads of the lane. Raise SparesExhausted when too many wait already.
        """
        with self._pools[lane].stalled():
            yield

    def stop(self) -> None:
        """Let every thread leave after what it does now; nothing is waited for."""
        for pool in self._pools.values():
            pool.stop()
