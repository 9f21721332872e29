"""What happens to jobs, told to who waits: progress, ends, and that there is something to do."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_SLICE_SECONDS = 1.0
_MOST_WAITING = 16


class JobNews:
    """The news of all jobs.

    Threads: any. `_lock` guards the progress and who waits; whoever waits has an event of its own,
    so that the end of one job wakes only those who asked for it.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._progress: dict[str, tuple[float, str]] = {}
        self._waiting: dict[str, list[threading.Event]] = {}
        self._unwanted: set[str] = set()
        self._seats = threading.BoundedSemaphore(_MOST_WAITING)
        #: Set by the dispatcher at its start: there may be something to do.
        self.wake: Callable[[], None] = lambda: None

    def tell_progress(self, job_id: str, progress: float, message: str) -> None:
        """Given how far a running job is, keep that for who looks."""
        with self._lock:
            self._progress[job_id] = (progress, message)

    def progress(self, job_id: str) -> tuple[float, str] | None:
        """Given a running job, return how far it is, or None when nothing was told."""
        return self._progress.get(job_id)

    def ask_for_end(self, job_id: str) -> None:
        """Given a running job that somebody cancelled, have the dispatcher end it."""
        with self._lock:
            self._unwanted.add(job_id)
        self.wake()

    def unwanted(self) -> set[str]:
        """Return the jobs whose end was asked for since the last call; the dispatcher's."""
        with self._lock:
            unwanted, self._unwanted = self._unwanted, set()
        return unwanted

    def tell_end(self, job_id: str) -> None:
        """Given a job whose attempt has ended, forget how far it was and wake who waits."""
        with self._lock:
            self._progress.pop(job_id, None)
            events = list(self._waiting.get(job_id, ()))
        for event in events:
            event.set()

    def wait(
        self,
        job_id: str,
        has_ended: Callable[[], bool],
        *,
        seconds: float,
        is_gone: Callable[[], bool] = lambda: False,
    ) -> None:
        """Given a job, return once it has ended, the time is up or the asker has gone.

        At once, too, when so many wait already that no further one may.
        """
        if not self._seats.acquire(blocking=False):
            return
        try:
            with self._listening(job_id) as event:
                left = seconds
                while left > 0 and not has_ended() and not is_gone():
                    slice_seconds = min(left, _SLICE_SECONDS)
                    left -= slice_seconds
                    if event.wait(slice_seconds):
                        event.clear()
        finally:
            self._seats.release()

    @contextmanager
    def _listening(self, job_id: str) -> Iterator[threading.Event]:
        event = threading.Event()
        with self._lock:
            self._waiting.setdefault(job_id, []).append(event)
        try:
            yield event
        finally:
            with self._lock:
                self._waiting[job_id].remove(event)
                if not self._waiting[job_id]:
                    del self._waiting[job_id]
