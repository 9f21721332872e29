"""Restore: put a backup in the place of the state; if it does not start, put the old one back."""

import contextlib
import logging
from collections.abc import Callable
from pathlib import Path

import msgspec

from appliance.actions import audit
from appliance.actions.callers import local_admin
from appliance.clock import Clock
from appliance.errors import BackupInvalid, Fault, Problem
from appliance.store import restore
from appliance.store.database import FILE_NAME, Database
from appliance.store.integrity import InstanceLock

_log = logging.getLogger(__name__)
#: For the one row that is written here a database may be as large as it likes.
_NO_QUOTA_BYTES = 1 << 42


class RestoredState(msgspec.Struct, frozen=True, kw_only=True):
    """A restore that took place and was proved."""

    from_backup: str
    rows: dict[str, int]
    old_state: str


def restore_and_prove(
    file: Path, state_dir: Path, *, clock: Clock, starts: Callable[[], str]
) -> RestoredState:
    """Given a backup, the state directory of a stopped appliance, and a trial start, restore.

    `starts` returns an empty text when the appliance became ready on the restored state, else what
    went wrong; then the old state is put back. Raise StateUnusable while an appliance runs on that
    directory, BackupInvalid when the backup or the trial fails.
    """
    state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    lock = InstanceLock.take(state_dir)
    try:
        restored = restore.restore(file, state_dir, clock=clock)
    finally:
        lock.release()
    try:
        fault = starts()
    except BaseException:  # an admin who interrupts the trial has not proved the state either
        _put_back(restored, state_dir)
        raise
    if fault:
        failed = _put_back(restored, state_dir)
        raise BackupInvalid(
            f"The appliance does not start on the restored state ({fault}). The state from before"
            f" is back; the restored one is in {failed}."
        )
    _write_down(file.name, restored.aside.name, state_dir, clock)
    return RestoredState(
        from_backup=file.name,
        rows={table: count.rows for table, count in restored.manifest.tables.items()},
        old_state=str(restored.aside),
    )


def _write_down(backup: str, aside: str, state_dir: Path, clock: Clock) -> None:
    """Add the restore to the audit of the restored state, which knows nothing of it yet.

    The restore is proved by now, so a failure here only costs the row, which the log then tells.
    """
    try:
        lock = InstanceLock.take(state_dir)
        try:
            database = Database.open(
                state_dir / FILE_NAME, clock=clock, quota_bytes=_NO_QUOTA_BYTES, queue_rows=1
            )
            with contextlib.closing(database):
                audit.record(
                    database,
                    local_admin(),
                    action="state.restore",
                    subject=backup,
                    detail={"before": aside},
                    clock=clock,
                )
        finally:
            lock.release()
    except (Fault, Problem) as fault:
        _log.warning("the restore is not in the audit", extra={"reason": fault.detail})


def _put_back(restored: restore.Restored, state_dir: Path) -> Path:
    """Put the state from before back; return where the restored one is now."""
    lock = InstanceLock.take(state_dir)
    try:
        return restored.revert()
    finally:
        lock.release()
