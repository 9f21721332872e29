"""What the writer's thread does between transactions: watch the disk, probe, tidy."""

import logging
import shutil
from pathlib import Path

from appliance.clock import Clock
from appliance.store import settings
from appliance.store.connection import BUSY_SECONDS, MEBIBYTE, PAGE_BYTES, Connection
from appliance.store.disk import NEEDED_TO_OPEN_BYTES, DiskWatch
from appliance.store.files import size_of
from appliance.store.wall_clock import WallClock

log = logging.getLogger("appliance.store")

#: How often the wall time is noted in the database, in seconds: the reference for a wrong clock
#: after a restart, and a real write that finds a read-only disk.
NOTE_TIME_SECONDS = 60.0
#: A write-ahead log longer than this is emptied as soon as nobody reads from it.
LONG_WAL_BYTES = 8 * MEBIBYTE
#: History rows given up at once when the quota stops a write.
ROWS_GIVEN_UP = 1000
NEAR_QUOTA_SHARE = 0.75

LAST_SEEN_SETTING = "last_seen_seconds"
PROBE_SETTING = "last_write_seconds"


class Upkeep:
    """The writer's chores.

    Threads: `run` and `make_room` are called by the writer's thread only.
    """

    def __init__(
        self,
        path: Path,
        clock: Clock,
        quota_bytes: int,
        *,
        disk: DiskWatch | None,
        last_seen_seconds: float | None = None,
    ) -> None:
        self._wal = path.with_name(path.name + "-wal")
        self._clock = clock
        self.quota_bytes = quota_bytes
        self.disk = disk
        self.wall_clock = WallClock(clock, last_seen_seconds=last_seen_seconds)
        self._next_note = clock.monotonic()

    def run(self, connection: Connection | None, *, has_failed: bool) -> None:
        """Given the writer's connection, or None on a damaged database, do what is due.

        After a fault (`has_failed`) that includes a real write, to find out whether it is over.
        Raise the apsw error of the first chore that fails.
        """
        if self.disk is not None:
            self.disk.check()
        seen = self.wall_clock.observe()
        if connection is None:
            return
        now = self._clock.monotonic()
        if now >= self._next_note or has_failed:
            self._next_note = now + NOTE_TIME_SECONDS
            self._note_time(connection, seen)
        if size_of(self._wal) > LONG_WAL_BYTES:
            _shorten_log(connection)

    def make_room(self, connection: Connection | None) -> bool:
        """A write met a full disk or quota: give something up; return whether to try again."""
        has_disk_room = shutil.disk_usage(self._wal.parent).free >= NEEDED_TO_OPEN_BYTES
        if has_disk_room and connection is not None and self._is_near_quota(connection):
            return give_up_history(connection, ROWS_GIVEN_UP) > 0
        if has_disk_room or self.disk is None:
            return False
        has_freed = self.disk.release()
        self.disk.note_full()
        return has_freed

    def _is_near_quota(self, connection: Connection) -> bool:
        """A full disk that was freed a moment ago is no reason to delete anything."""
        pages = int(connection.value("PRAGMA page_count"))
        free = int(connection.value("PRAGMA freelist_count"))
        return (pages - free) * PAGE_BYTES >= NEAR_QUOTA_SHARE * self.quota_bytes

    def _note_time(self, connection: Connection, seen_seconds: float | None) -> None:
        settings.put(connection, PROBE_SETTING, self._clock.wall_seconds())
        if seen_seconds is not None:
            settings.put(connection, LAST_SEEN_SETTING, seen_seconds)


def _shorten_log(connection: Connection) -> None:
    """Empty the log if nobody reads from it; waiting for a reader here would stop every writer."""
    connection.sql("PRAGMA busy_timeout = 0")
    try:
        connection.sql("PRAGMA wal_checkpoint(TRUNCATE)")
    finally:
        connection.sql(f"PRAGMA busy_timeout = {int(BUSY_SECONDS * 1000)}")


def give_up_history(connection: Connection, rows: int) -> int:
    """Given the writer's connection outside a transaction, delete the oldest predictions.

    Return how many were deleted.
    """
    connection.sql("BEGIN IMMEDIATE")
    try:
        connection.sql(
            "DELETE FROM predictions WHERE sequence IN"
            " (SELECT sequence FROM predictions ORDER BY received_seconds, sequence LIMIT ?)",
            (rows,),
        )
        deleted = connection.changes()
        connection.sql("COMMIT")
    except BaseException:
        if connection.is_in_transaction:
            connection.sql("ROLLBACK")
        raise
    log.warning("history given up at the quota", extra={"rows": deleted})
    return deleted
