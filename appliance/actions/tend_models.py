"""Tend the models: end hosts that nobody calls, and send back versions that do worse."""

import logging
import threading
from collections.abc import Callable, Sequence

_log = logging.getLogger(__name__)
_INTERVAL_SECONDS = 1.0


class ModelTending:
    """Does small chores of the models at an interval.

    Threads: its own; `run_round` may be called from any when that is not started.
    """

    def __init__(
        self,
        chores: Sequence[Callable[[], None]],
        *,
        interval_seconds: float = _INTERVAL_SECONDS,
    ) -> None:
        self._chores = tuple(chores)
        self._interval_seconds = interval_seconds
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, name="tend-models", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End after the chore that is being done."""
        self._end.set()

    def run_round(self) -> None:
        """Do every chore once; one that fails does not keep the others from being done."""
        for chore in self._chores:
            if self._end.is_set():
                return
            try:
                chore()
            except Exception:
                _log.exception("a chore of the models failed")

    def _run(self) -> None:
        while not self._end.wait(self._interval_seconds):
            self.run_round()
