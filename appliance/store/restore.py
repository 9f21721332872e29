"""Putting a backup in the place of the current state, so that it can be taken back.

The swap is a few renames, written down in `restore.journal` before the first of them: whenever the
machine stops in between, the next start finishes it, and the state is the old one or the new one.
"""

import logging
import shutil
from pathlib import Path

import msgspec

from appliance import errors
from appliance.clock import Clock
from appliance.store.archive import CONFIG_MEMBER, DATABASE_MEMBER, BackupManifest, unpack
from appliance.store.audit import HEAD_FILE
from appliance.store.files import sync_directory, unused, utc_stamp, write_durably
from appliance.store.migrations import LATEST

log = logging.getLogger("appliance.store")

JOURNAL_NAME = "restore.journal"
STAGING_PREFIX = "restoring-"
ASIDE_PREFIX = "before-restore-"
FAILED_PREFIX = "failed-restore-"
#: The saved configuration is put beside the database under this name, to be compared by the admin:
#: the one in use belongs to this machine.
CONFIG_NAME = "config-from-backup.toml"
#: States put aside by earlier restores that are kept besides the newest.
ASIDE_KEPT = 2

_DATABASE_NAMES = (
    DATABASE_MEMBER,
    # A new database beside an old log would be taken for one whole, and be corrupt.
    f"{DATABASE_MEMBER}-wal",
    f"{DATABASE_MEMBER}-shm",
    HEAD_FILE,
    CONFIG_NAME,
)
_MODELS_NAME = "models"


class Journal(msgspec.Struct, frozen=True):
    """A swap under way: `present` move from the state into `aside`, `staged` from `staging` in."""

    staging: str
    aside: str
    present: tuple[str, ...]
    staged: tuple[str, ...]


class Restored(msgspec.Struct, frozen=True):
    """A restore that took place; `revert` undoes it."""

    state_dir: Path
    aside: Path
    manifest: BackupManifest
    names: tuple[str, ...]
    stamp: str

    def revert(self) -> Path:
        """Put the state from before back; return where the restored one is now.

        Nothing may have the database open.
        """
        failed = unused(self.state_dir / f"{FAILED_PREFIX}{self.stamp}")
        _swap(self.state_dir, staging=self.aside, aside=failed, names=self.names)
        log.warning("restore reverted", extra={"failed": str(failed)})
        return failed


def restore(file: Path, state_dir: Path, *, clock: Clock) -> Restored:
    """Given a backup and a state directory whose database is closed, put the backup in its place.

    It is checked completely before anything is touched. The old state stays in
    `before-restore-<UTC>`. Raise BackupInvalid for a backup that is unsound or of a newer schema,
    InsufficientStorage when it does not fit; then nothing has changed.
    """
    stamp = utc_stamp(clock.wall_seconds())
    staging = unused(state_dir / f"{STAGING_PREFIX}{stamp}")
    staging.mkdir(mode=0o700)
    try:
        manifest = unpack(file, staging, only_database=False)
        refuse_newer(manifest, file.name)
        if (staging / CONFIG_MEMBER).exists():
            (staging / CONFIG_MEMBER).rename(staging / CONFIG_NAME)
        names: tuple[str, ...] = _DATABASE_NAMES
        if manifest.has_model_files and (staging / _MODELS_NAME).is_dir():
            names = (*names, _MODELS_NAME)
        sync_directory(staging)
        aside = unused(state_dir / f"{ASIDE_PREFIX}{stamp}")
        _swap(state_dir, staging=staging, aside=aside, names=names)
    except OSError as fault:
        raise errors.InsufficientStorage(f"The backup cannot be restored: {fault}.") from fault
    finally:
        if not (state_dir / JOURNAL_NAME).exists():
            shutil.rmtree(staging, ignore_errors=True)
    _forget_old(state_dir)
    log.warning("backup restored", extra={"path": str(file), "aside": str(aside)})
    return Restored(state_dir, aside, manifest, names, stamp)


def refuse_newer(manifest: BackupManifest, name: str) -> None:
    """Given a manifest, raise BackupInvalid when this program cannot read its schema."""
    if manifest.schema > LATEST:
        raise errors.BackupInvalid(
            f"{name} has schema {manifest.schema}; this release knows up to {LATEST}. Install"
            f" release {manifest.version} or later first."
        )


def finish_interrupted(state_dir: Path) -> bool:
    """At the start: finish a swap the machine stopped in; return whether there was one.

    Also removes what a restore that never began its swap has left.
    """
    path = state_dir / JOURNAL_NAME
    has_journal = path.exists()
    if has_journal:
        try:
            journal = msgspec.json.decode(path.read_bytes(), type=Journal)
        except msgspec.MsgspecError as fault:
            raise errors.StateUnusable(
                f"{path} is damaged ({fault}); move {ASIDE_PREFIX}* back by hand and delete it."
            ) from fault
        _carry_out(state_dir, journal)
        log.warning("interrupted restore finished", extra={"aside": journal.aside})
    for leftover in state_dir.glob(f"{STAGING_PREFIX}*"):
        shutil.rmtree(leftover, ignore_errors=True)
    return has_journal


def _swap(state_dir: Path, *, staging: Path, aside: Path, names: tuple[str, ...]) -> None:
    journal = Journal(
        staging=staging.name,
        aside=aside.name,
        present=tuple(name for name in names if (state_dir / name).exists()),
        staged=tuple(name for name in names if (staging / name).exists()),
    )
    write_durably(state_dir / JOURNAL_NAME, msgspec.json.encode(journal))
    _carry_out(state_dir, journal)


def _carry_out(state_dir: Path, journal: Journal) -> None:
    """Do what is left of a swap; every step may have happened before."""
    staging, aside = state_dir / journal.staging, state_dir / journal.aside
    aside.mkdir(mode=0o700, exist_ok=True)
    for name in journal.present:
        if not (aside / name).exists():
            (state_dir / name).rename(aside / name)
    sync_directory(aside)
    sync_directory(state_dir)
    for name in journal.staged:
        if (staging / name).exists():
            (staging / name).rename(state_dir / name)
    sync_directory(state_dir)
    (state_dir / JOURNAL_NAME).unlink()
    sync_directory(state_dir)
    shutil.rmtree(staging, ignore_errors=True)


def _forget_old(state_dir: Path) -> None:
    aside = sorted(state_dir.glob(f"{ASIDE_PREFIX}*"))
    for path in aside[: -1 - ASIDE_KEPT]:
        shutil.rmtree(path, ignore_errors=True)
