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
_EXPIRY_SECONDS = 30.0


class Maintenance:
    """Looks at the disk every few seconds, ends idle streams, and now and then deletes history
    beyond its bounds.

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
    ) -> None:
        self._expire_streams = expire_streams
        self._history = history
        self._clock = clock
        self._database = database
        self._disk = disk
        self._next_retention = clock.monotonic()
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
        now = self._clock.monotonic()
        if now >= self._next_retention or level >= Level.CRITICAL:
            self._next_retention = now + _RETENTION_SECONDS
            self._prune()
        if now >= self._next_expiry:
            self._next_expiry = now + _EXPIRY_SECONDS
            self._expire_streams()

    def _prune(self) -> None:
        try:
            pruned = retention.prune(
                self._database,
                keep_days=self._history.keep_days,
                keep_rows=self._history.keep_rows,
                now=self._clock.wall_seconds(),
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
