"""How full the state directory's disk is, and the reserve file that keeps a full one usable."""

import contextlib
import enum
import logging
import os
import threading
from collections.abc import Callable
from pathlib import Path

import msgspec

from appliance import errors
from appliance.clock import Clock

log = logging.getLogger("appliance.store")

GIBIBYTE = 1024**3
MEBIBYTE = 1024**2
RESERVE_NAME = "reserve"

#: Free space SQLite needs to open a WAL database and take a few transactions. The shared-memory
#: file alone needs 32 KiB; without it the database cannot even be read.
NEEDED_TO_OPEN_BYTES = 8 * MEBIBYTE
#: After ENOSPC the level stays critical at least this long, in seconds, so that it does not flap.
FULL_SECONDS = 5.0
#: The reserve never takes more than this share of the disk.
MOST_RESERVE_SHARE = 0.25


class Level(enum.IntEnum):
    """How full the disk is; each level also means what the ones before it mean."""

    OK = 0
    WARN = 1  # told to the admin
    TIGHT = 2  # uploads, jobs and backups are refused, retention is urgent
    CRITICAL = 3  # predictions are answered but not recorded


#: Level, free share below which it holds, and the free bytes above which it never holds: three
#: percent of a large disk is room enough.
_LIMITS: tuple[tuple[Level, float, int], ...] = (
    (Level.CRITICAL, 0.03, 4 * GIBIBYTE),
    (Level.TIGHT, 0.07, 10 * GIBIBYTE),
    (Level.WARN, 0.15, 50 * GIBIBYTE),
)


class DiskStatus(msgspec.Struct, frozen=True):
    """The facts behind a level; bytes and inodes are those an ordinary user may still take."""

    level: str
    free_bytes: int
    total_bytes: int
    free_inodes: int
    total_inodes: int
    reserve_bytes: int
    reason: str


Measure = Callable[[Path], os.statvfs_result]


class DiskWatch:
    """Watches one directory's file system and owns the reserve file in it.

    Threads: any. `level` only reads a number; `check`, `note_full` and the reserve are guarded by
    `_lock`.
    """

    def __init__(
        self,
        directory: Path,
        *,
        reserve_bytes: int,
        clock: Clock,
        measure: Measure = os.statvfs,
    ) -> None:
        self._directory = directory
        self._reserve_path = directory / RESERVE_NAME
        self._reserve_bytes = reserve_bytes
        self._clock = clock
        self._measure = measure
        self._lock = threading.Lock()
        self._level = Level.OK
        self._full_until = float("-inf")
        self._status = DiskStatus("ok", 0, 0, 0, 0, 0, "")

    def level(self) -> Level:
        """Return the level found by the last check, without looking again."""
        return self._level

    def status(self) -> DiskStatus:
        """Return what the last check found."""
        return self._status

    def room_bytes(self) -> int:
        """Return how much may still be written, by the last check, before the disk is tight."""
        facts = self._status
        _, share, enough_bytes = _LIMITS[1]
        return max(0, facts.free_bytes - int(min(share * facts.total_bytes, enough_bytes)))

    def require(self, worst: Level, what: str) -> None:
        """Given the worst level at which `what` is done, raise InsufficientStorage beyond it."""
        if self._level > worst:
            raise errors.InsufficientStorage(
                f"The disk is too full for {what}: {self._status.free_bytes // MEBIBYTE} MiB are"
                f" free under {self._directory}. Free some space and try again."
            )

    def prepare(self) -> Level:
        """Before the database is opened, give up the reserve if need be; return the level."""
        facts = self._measure(self._directory)
        if _free(facts) < NEEDED_TO_OPEN_BYTES:
            self.release()
        return self.check()

    def check(self) -> Level:
        """Look at the disk, give up or rebuild the reserve as needed, and return the level."""
        with self._lock:
            facts = self._measure(self._directory)
            level, reason = self._judge(facts)
            if level is Level.CRITICAL:
                self._release()
            elif self._missing_reserve(facts):
                self._build(self._wanted_reserve(facts))
            self._note(level, reason, facts)
            return level

    def note_full(self) -> None:
        """A write met a full disk: hold the level at critical for a while, come what may."""
        with self._lock:
            self._full_until = self._clock.monotonic() + FULL_SECONDS
            self._level = Level.CRITICAL

    def release(self) -> bool:
        """Give up the reserve; return whether that freed anything."""
        with self._lock:
            return self._release()

    def _judge(self, facts: os.statvfs_result) -> tuple[Level, str]:
        if self._clock.monotonic() < self._full_until:
            return Level.CRITICAL, "a write met a full disk"
        # What the reserve still lacks counts as taken: otherwise giving it up would itself end the
        # emergency, and history would eat it.
        free = max(_free(facts) - self._missing_reserve(facts), 0)
        total = max(_total(facts), 1)
        for level, share, enough_bytes in _LIMITS:
            if free < share * total and free < enough_bytes:
                return level, f"{100 * free / total:.1f} % of the disk is free"
            if facts.f_files and facts.f_favail < share * facts.f_files:
                return level, f"{facts.f_favail} of {facts.f_files} inodes are free"
        return Level.OK, ""

    def _note(self, level: Level, reason: str, facts: os.statvfs_result) -> None:
        if level != self._level:
            log.log(
                logging.WARNING if level > self._level else logging.INFO,
                "disk level changed",
                extra={"disk_level": level.name.lower(), "reason": reason},
            )
        self._level = level
        self._status = DiskStatus(
            level=level.name.lower(),
            free_bytes=_free(facts),
            total_bytes=_total(facts),
            free_inodes=facts.f_favail,
            total_inodes=facts.f_files,
            reserve_bytes=self._reserve_size(),
            reason=reason,
        )

    def _reserve_size(self) -> int:
        try:
            return self._reserve_path.stat().st_size
        except OSError:
            return 0

    def _wanted_reserve(self, facts: os.statvfs_result) -> int:
        return min(self._reserve_bytes, int(MOST_RESERVE_SHARE * _total(facts)))

    def _missing_reserve(self, facts: os.statvfs_result) -> int:
        return max(self._wanted_reserve(facts) - self._reserve_size(), 0)

    def _build(self, size: int) -> None:
        """Allocate the reserve; a disk that cannot give it now is asked at the next check."""
        try:
            descriptor = os.open(self._reserve_path, os.O_RDWR | os.O_CREAT, 0o600)
            try:
                # Real blocks, not a hole: a sparse file would free nothing when it is given up.
                os.posix_fallocate(descriptor, 0, size)
            finally:
                os.close(descriptor)
        except OSError as fault:
            log.warning("reserve file not built", extra={"fault": str(fault)})
            with contextlib.suppress(OSError):
                self._reserve_path.unlink(missing_ok=True)

    def _release(self) -> bool:
        size = self._reserve_size()
        if not size:
            return False
        try:
            # Truncating needs no new block even where removing a name would.
            os.truncate(self._reserve_path, 0)
            self._reserve_path.unlink()
        except OSError as fault:
            log.error("reserve file not released", extra={"fault": str(fault)})
        if self._reserve_size() == size:
            return False
        log.warning("reserve released", extra={"bytes": size})
        return True


def _free(facts: os.statvfs_result) -> int:
    return facts.f_bavail * facts.f_frsize


def _total(facts: os.statvfs_result) -> int:
    return facts.f_blocks * facts.f_frsize
