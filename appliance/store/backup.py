"""Making and checking backups: one file that holds all that is needed on another machine.

A backup holds the database with the SHA-256 of every API key's secret (never a secret itself), the
history and the audit trail: keep it as private as the appliance.
"""

import contextlib
import fcntl
import logging
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import apsw
import msgspec

import appliance
from appliance import errors
from appliance.clock import Clock, utc_text
from appliance.store.archive import (
    CONFIG_MEMBER,
    DATABASE_MEMBER,
    FORMAT,
    PRODUCT,
    ArchiveWriter,
    BackupManifest,
    model_files,
    unpack,
)
from appliance.store.copies import check_copy, copy_database
from appliance.store.database import Database
from appliance.store.disk import DiskWatch, Level
from appliance.store.faults import as_problem
from appliance.store.files import size_of, sync_directory, utc_stamp

log = logging.getLogger("appliance.store")

SUFFIX = ".backup"
_LOCK_NAME = ".lock"
_SCRATCH_PREFIX = ".verify-"
_TRIES = 3


class Backup(msgspec.Struct, frozen=True):
    """A finished, checked backup."""

    path: Path
    bytes: int
    manifest: BackupManifest


class Content(msgspec.Struct, frozen=True, kw_only=True):
    """What a backup holds besides the database."""

    config_text: str = ""
    models_dir: Path | None = None
    with_model_files: bool = False
    host: str = "appliance"


def create(
    database: Database,
    directory: Path,
    *,
    content: Content,
    clock: Clock,
    disk: DiskWatch | None = None,
) -> Backup:
    """Given the open database and a directory, write a checked backup there and return it.

    Everything acknowledged before the call is in it. It gets its name only after it has been
    checked from the first byte to the last; until then there is at most a `.tmp`. Raise
    InsufficientStorage when the disk has no room, Conflict when another backup is being made.
    """
    if disk is not None:
        disk.require(Level.WARN, "a backup")
    directory.mkdir(mode=0o750, parents=True, exist_ok=True)
    with _only_one(directory):
        _remove_unfinished(directory)
        _require_room(database.path, directory, content)
        database.flush()
        copy = directory / f"{DATABASE_MEMBER}.tmp"
        archive = directory / f"new{SUFFIX}.tmp"
        try:
            copy_database(database.path, copy)
            manifest = _write(archive, copy, content=content, clock=clock)
            copy.unlink()
            verify(archive)
            return _publish(archive, manifest, directory, clock)
        except (apsw.Error, OSError) as fault:
            raise _as_problem(fault) from fault
        finally:
            copy.unlink(missing_ok=True)
            archive.unlink(missing_ok=True)


def verify(path: Path, *, scratch_dir: Path | None = None) -> BackupManifest:
    """Given a backup, check all of it and return its manifest; raise BackupInvalid for any fault.

    Every member's SHA-256, the database's integrity, its schema and its rows against the counts
    noted when it was made. The database is unpacked for that into `scratch_dir`, by default beside
    the backup, and removed again.
    """
    directory = scratch_dir or path.parent
    if not path.is_file():
        raise errors.BackupInvalid(f"There is no file {path}.")
    with _scratch_in(directory) as scratch:
        return unpack(path, scratch, only_database=True)


def _write(archive: Path, copy: Path, *, content: Content, clock: Clock) -> BackupManifest:
    # Its soundness is checked once, after it has been through the archive.
    schema, counts = check_copy(copy, is_thorough=False)
    with open(archive, "xb", opener=lambda name, flags: os.open(name, flags, 0o640)) as file:
        writer = ArchiveWriter(file)
        writer.add_file(DATABASE_MEMBER, copy)
        writer.add_text(CONFIG_MEMBER, content.config_text)
        if content.models_dir is not None:
            for name, path in model_files(content.models_dir, with_files=content.with_model_files):
                writer.add_file(name, path)
        manifest = BackupManifest(
            format=FORMAT,
            product=PRODUCT,
            version=appliance.__version__,
            schema=schema,
            created=utc_text(clock.wall_seconds()),
            host=content.host,
            has_model_files=content.with_model_files,
            tables=counts,
            members=writer.members,
        )
        writer.finish(manifest)
        os.fchmod(file.fileno(), 0o640)
        file.flush()
        os.fsync(file.fileno())
    return manifest


def _publish(archive: Path, manifest: BackupManifest, directory: Path, clock: Clock) -> Backup:
    host = re.sub(r"[^A-Za-z0-9.]+", "_", manifest.host).strip("._") or "appliance"
    stamp = utc_stamp(clock.wall_seconds())
    stem = f"{host}-{stamp}-v{manifest.version}-s{manifest.schema}"
    target = directory / f"{stem}{SUFFIX}"
    if target.exists():
        raise errors.Conflict(f"{target.name} exists: one backup a second is the most.")
    os.rename(archive, target)
    sync_directory(directory)
    log.info("backup made", extra={"path": str(target), "bytes": size_of(target)})
    return Backup(target, size_of(target), manifest)


@contextmanager
def _only_one(directory: Path) -> Iterator[None]:
    descriptor = os.open(directory / _LOCK_NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise errors.Conflict("Another backup is being made right now.") from None
        yield
    finally:
        os.close(descriptor)


@contextmanager
def _scratch_in(directory: Path) -> Iterator[Path]:
    """Yield an empty directory, locked so that a backup made meanwhile leaves it alone."""
    fault: OSError | None = None
    for _ in range(_TRIES):  # it may be taken for a leftover before it is locked
        try:
            scratch = Path(tempfile.mkdtemp(prefix=_SCRATCH_PREFIX, dir=directory))
            lock = contextlib.ExitStack()
            lock.enter_context(_locked(scratch))
        except OSError as met:
            fault = met
            continue
        with lock:
            if not scratch.is_dir():
                continue
            try:
                yield scratch
            finally:
                shutil.rmtree(scratch, ignore_errors=True)
            return
    raise errors.StateUnusable(
        f"The backup cannot be unpacked for its check in {directory}:"
        f" {fault.strerror if fault else 'another program removes what is made there'}."
    )


@contextmanager
def _locked(scratch: Path) -> Iterator[None]:
    """Hold a directory's lock, which ends with the process at the latest."""
    descriptor = os.open(scratch, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(descriptor)


def _remove_unfinished(directory: Path) -> None:
    """Remove what those left who died: the lock is ours, so no other backup is being made.

    A backup may be being checked, though; its scratch directory is locked.
    """
    for path in directory.glob("*.tmp"):
        path.unlink(missing_ok=True)
    for path in directory.glob(f"{_SCRATCH_PREFIX}*"):
        with contextlib.suppress(OSError), _locked(path):
            shutil.rmtree(path, ignore_errors=True)


def _require_room(database_path: Path, directory: Path, content: Content) -> None:
    size = size_of(database_path) + size_of(database_path.with_name(database_path.name + "-wal"))
    needed = 2 * size
    if content.models_dir is not None:
        files = model_files(content.models_dir, with_files=content.with_model_files)
        needed += sum(size_of(path) for _, path in files)
    free = shutil.disk_usage(directory).free
    if free < needed:
        raise errors.InsufficientStorage(
            f"A backup needs {needed} free bytes in {directory}; it has {free}. Older backups are"
            " untouched."
        )


def _as_problem(fault: Exception) -> BaseException:
    if isinstance(fault, OSError):
        return errors.InsufficientStorage(f"The backup could not be written: {fault}.")
    return as_problem(fault)
