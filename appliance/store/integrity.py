"""One instance per state directory, and a usable database at every start."""

import contextlib
import fcntl
import logging
import os
import shutil
import tempfile
import time
from pathlib import Path

import apsw
import msgspec

from appliance import errors
from appliance.clock import Clock, utc_text
from appliance.store import restore, rotation
from appliance.store.archive import DATABASE_MEMBER, unpack
from appliance.store.audit import HEAD_FILE
from appliance.store.connection import APPLICATION_ID, Connection, open_copy
from appliance.store.copies import check_copy
from appliance.store.database import FILE_NAME, check_file
from appliance.store.disk import DiskWatch
from appliance.store.faults import Kind, as_problem, kind_of
from appliance.store.files import (
    CHUNK_BYTES,
    replacing,
    size_of,
    sync_directory,
    sync_file,
    unused,
    utc_stamp,
)
from appliance.store.migrate import PRE_UPGRADE_DIRECTORY
from appliance.store.migrations import LATEST

log = logging.getLogger("appliance.store")

LOCK_NAME = "lock"
#: Files that are one database together.
PARTS = ("", "-wal", "-shm")
#: After a clean stop a file up to this size is checked all the same: 0.25 s at 1 GB/s.
QUICK_BYTES = 256 * 1024 * 1024
QUARANTINES_KEPT = 3


class StartReport(msgspec.Struct, frozen=True, kw_only=True):
    """What was found at the start, for health: empty texts where there is nothing to tell."""

    was_unclean: bool = False
    was_checked: bool = False
    check_seconds: float = 0.0
    damage: str = ""
    quarantined: tuple[str, ...] = ()
    restored_from: str = ""
    #: One sentence for the admin: what is gone, and where the rest is.
    lost: str = ""
    finished_restore: bool = False

    @property
    def has_recovered(self) -> bool:
        """Return whether the database in use is not the one that was left at the last stop."""
        return bool(self.quarantined)


class InstanceLock:
    """The sole right to a state directory; it ends with the process, whatever ends that.

    The file holds the holder's process id, and is emptied by a clean stop: an id found in it by
    the next holder means that the last stop was not clean.

    Threads: taken and released by the thread that starts and stops the appliance.
    """

    def __init__(self, descriptor: int, *, was_unclean: bool) -> None:
        self._descriptor: int | None = descriptor
        self.was_unclean = was_unclean

    @classmethod
    def take(cls, state_dir: Path) -> "InstanceLock":
        """Given the state directory, return the lock; raise StateUnusable naming who holds it."""
        path = state_dir / LOCK_NAME
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as fault:
            raise errors.StateUnusable(f"{path} cannot be opened: {fault.strerror}.") from fault
        holder = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip()
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(descriptor)
            raise errors.StateUnusable(
                f"{state_dir} is in use by another appliance, process {holder or 'unknown'}; stop"
                " that one or choose another state.dir."
            ) from None
        lock = cls(descriptor, was_unclean=bool(holder))
        lock._note(f"{os.getpid()}\n")
        return lock

    def release(self, *, is_clean: bool = True) -> None:
        """Give the right up; `is_clean` says that the database was closed with nothing lost."""
        if self._descriptor is None:
            return
        if is_clean:
            self._note("")
        os.close(self._descriptor)
        self._descriptor = None

    def _note(self, text: str) -> None:
        """Write the holder in place; on a full disk the lock holds without a name."""
        if self._descriptor is None:
            return
        with contextlib.suppress(OSError):
            os.ftruncate(self._descriptor, 0)
            os.pwrite(self._descriptor, text.encode("ascii"), 0)


def prepare(
    state_dir: Path,
    *,
    backups_dir: Path,
    was_unclean: bool,
    clock: Clock,
    disk: DiskWatch | None = None,
) -> StartReport:
    """Given a locked state directory, leave a database that opens, and report how.

    An interrupted restore is finished first. A damaged database is put aside, never deleted, and
    the newest sound backup takes its place, or an empty one. Raise StateUnusable when the file is
    not ours to use.
    """
    if disk is not None:
        disk.prepare()
    finished = restore.finish_interrupted(state_dir)
    path = state_dir / FILE_NAME
    if not path.exists():
        return StartReport(was_unclean=was_unclean, finished_restore=finished)
    check_file(path)
    started = time.monotonic()
    must_check = was_unclean or finished or size_of(path) <= QUICK_BYTES
    damage = find_damage(path, is_thorough=must_check)
    report = StartReport(
        was_unclean=was_unclean,
        was_checked=must_check,
        check_seconds=time.monotonic() - started,
        damage=damage,
        finished_restore=finished,
    )
    if damage:
        report = _replace(report, path, backups_dir, clock)
        log.critical("database replaced", extra={"damage": damage, "lost": report.lost})
    return report


def find_damage(path: Path, *, is_thorough: bool) -> str:
    """Given the database, return what is wrong with it in SQLite's words, or '' when it is sound.

    Raise the problem of anything that is not damage, such as a full disk or a held lock.
    """
    if size_of(path) == 0:
        return ""
    connection: Connection | None = None
    try:
        connection = open_copy(path)
        return _damage_seen_by(connection, is_thorough=is_thorough)
    except apsw.Error as fault:
        if kind_of(fault) is Kind.CORRUPT:
            return str(fault)
        raise as_problem(fault) from fault
    finally:
        if connection is not None:
            with contextlib.suppress(apsw.Error):
                connection.close()


def _damage_seen_by(connection: Connection, *, is_thorough: bool) -> str:
    connection.value("SELECT count(*) FROM sqlite_schema")
    if connection.value("PRAGMA application_id") != APPLICATION_ID:
        return ""  # not damage: opening it says whose it is
    verdict = connection.value("PRAGMA quick_check(1)") if is_thorough else "ok"
    return "" if verdict == "ok" else str(verdict)


def _replace(report: StartReport, path: Path, backups_dir: Path, clock: Clock) -> StartReport:
    """Put the damaged files aside and the newest sound backup in their place, if there is one."""
    quarantined = _quarantine(path, clock)
    source = _restore_newest(path, backups_dir)
    if source is None:
        lost = (
            f"The database was damaged and no sound backup was found in {backups_dir}: keys,"
            f" history and audit start empty. The damaged file is kept as {quarantined[0]}."
        )
    else:
        made = utc_text(source.stat().st_mtime)
        lost = (
            f"The database was damaged and the backup {source.name} took its place: what was"
            f" recorded after {made} is missing. The damaged file is kept as {quarantined[0]}."
        )
    return msgspec.structs.replace(
        report,
        quarantined=quarantined,
        restored_from=str(source or ""),
        lost=lost,
    )


def _quarantine(path: Path, clock: Clock) -> tuple[str, ...]:
    """Rename the damaged database with its log; keep the newest few such files."""
    name = f"{path.name}.corrupt-{utc_stamp(clock.wall_seconds())}"
    target = unused(path.with_name(name))
    moved = []
    for part in PARTS:
        source = path.with_name(path.name + part)
        if source.exists():
            source.rename(target.with_name(target.name + part))
            moved.append(target.name + part)
    # The note of the audit's newest row belongs to the rows that are gone.
    head = path.with_name(HEAD_FILE)
    if head.exists():
        head.rename(target.with_name(f"{target.name}.{HEAD_FILE}"))
    sync_directory(path.parent)
    found = [one for one in path.parent.glob(f"{path.name}.corrupt-*Z*") if _is_main(one)]
    for old in sorted(found, key=lambda one: one.name)[:-QUARANTINES_KEPT]:
        for relative in path.parent.glob(f"{old.name}*"):
            relative.unlink()
    return tuple(moved)


def _is_main(path: Path) -> bool:
    return not path.name.endswith(("-wal", "-shm", HEAD_FILE))


def _restore_newest(path: Path, backups_dir: Path) -> Path | None:
    for one in rotation.listed(backups_dir):
        with tempfile.TemporaryDirectory(prefix=restore.STAGING_PREFIX, dir=path.parent) as place:
            try:
                manifest = unpack(one.path, Path(place), only_database=True)
                restore.refuse_newer(manifest, one.path.name)
            except errors.Problem as fault:
                log.error("backup unsound", extra={"path": str(one.path), "fault": fault.detail})
                continue
            sync_file(Path(place) / DATABASE_MEMBER)
            (Path(place) / DATABASE_MEMBER).rename(path)
            sync_directory(path.parent)
            return one.path
    return _restore_pre_upgrade(path)


def _restore_pre_upgrade(path: Path) -> Path | None:
    """The copies kept before upgrades are the last resort: older, but checked when made."""
    directory = path.parent / PRE_UPGRADE_DIRECTORY
    for copy in sorted(directory.glob("*.db"), key=lambda one: one.stat().st_mtime, reverse=True):
        try:
            schema, _ = check_copy(copy)
        except errors.BackupInvalid as fault:
            log.error("backup unsound", extra={"path": str(copy), "fault": fault.detail})
            continue
        if schema <= LATEST:
            with replacing(path) as file, open(copy, "rb") as source:
                shutil.copyfileobj(source, file, CHUNK_BYTES)
            return copy
    return None
