"""Maintain: what has to be done now and then so that the appliance runs for years unattended."""

import logging
import threading
from collections.abc import Callable

from appliance.clock import Clock
from appliance.config import History
from appliance.errors import Problem
from appliance.store import retention
from appliance.store.database import Database
from appliance.store.disk import DiskWatch, Level

_log = logging.getLogger(__name__)
_DISK_SECONDS = 5.0
_RETENTION_SECONDS = 600.0
#: On a full disk retention runs again so soon, since everything it frees counts.
_URGENT_SECONDS = 60.0
_EXPIRY_SECONDS = 30.0


class Maintenance:
    """Looks at the disk every few seconds, ends idle streams, and now and then deletes history
    beyond its bounds, and kept inputs with it.

    Threads: its own, so that a slow disk never holds up the serving loop; `round` also by tests.
    """

    def __init__(
        self,
        history: History,
        clock: Clock,
        *,
        database: Database,
        disk: DiskWatch,
        expire_streams: Callable[[], int] = lambda: 0,
        sweep_inputs: Callable[[], int] = lambda: 0,
    ) -> None:
        self._sweep_inputs = sweep_inputs
        self._expire_streams = expire_streams
        self._history = history
        self._clock = clock
        self._database = database
        self._disk = disk
        self._next_retention = clock.monotonic()
        self._was_urgent = False
        self._next_expiry = clock.monotonic() + _EXPIRY_SECONDS
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, name="maintenance", daemon=True)

    def use_history(self, history: History) -> None:
        """Given the section [history], keep as much as it says from the next round on."""
        self._history = history

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End after the round that runs, and wait for it: it must not outlive the database."""
        self._end.set()
        if self._thread.is_alive():
            self._thread.join(10.0)

    def round(self) -> None:
        """Look at the disk; let old history go when it is time, or at once when space is short."""
        level = self._disk.check()
        is_urgent = level >= Level.CRITICAL
        now = self._clock.monotonic()
        if is_urgent and not self._was_urgent:
            self._next_retention = now
        self._was_urgent = is_urgent
        if now >= self._next_retention:
            self._next_retention = now + (_URGENT_SECONDS if is_urgent else _RETENTION_SECONDS)
            self._prune(is_urgent=is_urgent)
            self._sweep_inputs()
        if now >= self._next_expiry:
            self._next_expiry = now + _EXPIRY_SECONDS
            self._expire_streams()

    def _prune(self, *, is_urgent: bool) -> None:
        history = self._history
        keep_days = history.keep_days
        if is_urgent:
            keep_days = min(keep_days, history.full_disk_keep_days)
        try:
            pruned = retention.prune(
                self._database,
                keep_days=keep_days,
                keep_rows=history.keep_rows,
                now=self._clock.wall_seconds(),
                is_urgent=is_urgent,
            )
        except Problem as problem:
            _log.warning("retention put off", extra={"reason": problem.detail})
        else:
            _log.debug("retention done", extra={"pruned": repr(pruned)})

    def _run(self) -> None:
        while not self._end.wait(_DISK_SECONDS):
            try:
                self.round()
            except Exception:  # the last resort: maintenance must go on
                _log.exception("maintenance failed")
