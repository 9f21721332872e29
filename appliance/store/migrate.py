"""Bringing a database to this program's schema, with a checked copy of the old one kept first."""

import contextlib
import logging
import os
import shutil
from pathlib import Path

import apsw

from appliance import errors
from appliance.clock import Clock
from appliance.store.archive import KEPT_COPY
from appliance.store.connection import APPLICATION_ID, Connection
from appliance.store.copies import check_copy, copy_database, count_tables
from appliance.store.files import size_of, sync_directory, unused, utc_stamp
from appliance.store.migrations import LATEST, MIGRATIONS, Migration

log = logging.getLogger("appliance.store")

PRE_UPGRADE_DIRECTORY = "backups-pre-upgrade"
#: Copies kept there; each has the size of the whole database.
MOST_COPIES = 3
_COPY_NAME = "appliance-s*-*.db"


def migrate(
    connection: Connection,
    *,
    clock: Clock,
    migrations: tuple[Migration, ...] = MIGRATIONS,
    vfs: str | None = None,
) -> int:
    """Given the writer's connection, bring the schema to the newest step and return its number.

    Everything happens in one transaction; on a fault the file is as it was. Raise SchemaTooNew
    when a newer program wrote the file, MigrationFailed when a step fails, StateUnusable when the
    file is not ours or there is no room for a copy of it.
    """
    found = schema_of(connection)
    latest = migrations[-1].version
    if found > latest:
        raise errors.SchemaTooNew(
            f"{connection.path} has schema {found}; this release knows up to {latest}. Install the"
            f" release that wrote it, or {_way_back(connection.path, latest)}."
        )
    if found == latest:
        return latest
    copy = keep_copy(connection, found, clock=clock, vfs=vfs) if found > 0 else None
    try:
        _run_steps(connection, [step for step in migrations if step.version > found])
    except apsw.Error as fault:
        raise errors.MigrationFailed(
            f"The database could not be brought from schema {found} to {latest}: {fault}. It is"
            " unchanged: install the release from before again and it serves as it did. A copy is"
            f" kept in {copy}. Please report this."
        ) from fault
    log.info("database migrated", extra={"from": found, "to": latest})
    return latest


def schema_of(connection: Connection) -> int:
    """Return the schema number, 0 for an empty file; raise StateUnusable for another program's."""
    application = connection.value("PRAGMA application_id")
    tables = connection.value("SELECT count(*) FROM sqlite_schema")
    if application == 0 and tables == 0:
        return 0
    if application != APPLICATION_ID:
        raise errors.StateUnusable(
            f"{connection.path} is a database of another program; move it away or change"
            " state.dir."
        )
    return int(connection.value("PRAGMA user_version"))


def keep_copy(
    connection: Connection, schema: int, *, clock: Clock, vfs: str | None = None
) -> Path:
    """Given the database before an upgrade, return the path of a checked copy that is kept.

    Raise StateUnusable when there is no room or the copy is not sound: no upgrade without a copy.
    """
    path = connection.path
    directory = path.parent / PRE_UPGRADE_DIRECTORY
    try:
        directory.mkdir(mode=0o700, exist_ok=True)
    except OSError as fault:
        raise errors.StateUnusable(f"{directory} cannot be made: {fault.strerror}.") from fault
    for leftover in directory.glob("*.tmp"):
        leftover.unlink()
    needed = 2 * size_of(path) + size_of(path.with_name(path.name + "-wal"))
    if shutil.disk_usage(directory).free < needed:
        raise errors.StateUnusable(
            f"The upgrade needs {needed} free bytes in {directory} for a copy of the database."
        )
    name = f"appliance-s{schema}-{utc_stamp(clock.wall_seconds())}.db"
    target = unused(directory / name)
    unfinished = target.with_name(target.name + ".tmp")
    try:
        copy_database(path, unfinished, vfs=vfs)
        if check_copy(unfinished) != (schema, count_tables(connection)):
            raise errors.BackupInvalid("The copy has other rows than the database.")
    except (apsw.Error, OSError, errors.BackupInvalid) as fault:
        unfinished.unlink(missing_ok=True)
        raise errors.StateUnusable(
            f"No sound copy of the database could be made before its upgrade: {fault}"
        ) from fault
    os.rename(unfinished, target)
    sync_directory(directory)
    _remove_old_copies(directory, newest=target)
    log.info("copy kept before upgrade", extra={"path": str(target)})
    return target


def newest_copy(directory: Path, *, up_to_schema: int) -> Path | None:
    """Given where copies are kept, return the newest a program of that schema can read."""
    found = [copy for copy in _by_age(directory) if _copied_schema(copy) <= up_to_schema]
    return found[0] if found else None


def _way_back(path: Path, latest: int) -> str:
    """Return what an admin does who wants to stay with this release."""
    directory = path.parent / PRE_UPGRADE_DIRECTORY
    copy = newest_copy(directory, up_to_schema=latest)
    if copy is None:
        return "restore a backup made before the upgrade (appliance restore FILE)"
    return f"go back to what was kept before the upgrade: appliance restore {copy}"


def _by_age(directory: Path) -> list[Path]:
    """Return the kept copies, newest first."""
    copies = directory.glob(_COPY_NAME)
    return sorted(copies, key=lambda path: (path.stat().st_mtime, path.name), reverse=True)


def _copied_schema(copy: Path) -> int:
    found = KEPT_COPY.match(copy.name)
    return int(found[1]) if found else 0


def _remove_old_copies(directory: Path, *, newest: Path) -> None:
    """Let the oldest go: after some releases nobody goes back to the first one.

    Of one schema the newest stays longest, so that an upgrade that is tried again and again does
    not push out what was kept before another one.
    """
    kept = {_copied_schema(newest)}
    last_of_schema: list[Path] = []
    others: list[Path] = []
    for path in _by_age(directory):
        if path != newest:
            (others if _copied_schema(path) in kept else last_of_schema).append(path)
            kept.add(_copied_schema(path))
    for path in [*last_of_schema, *others][MOST_COPIES - 1 :]:
        path.unlink(missing_ok=True)
        log.info("old copy removed", extra={"path": str(path)})


def _run_steps(connection: Connection, steps: list[Migration]) -> None:
    connection.sql("BEGIN IMMEDIATE")
    try:
        for step in steps:
            for statement in step.statements:
                connection.sql(statement)
            connection.sql(f"PRAGMA user_version = {step.version:d}")
        connection.sql(f"PRAGMA application_id = {APPLICATION_ID:d}")
        if connection.sql("PRAGMA foreign_key_check"):
            raise apsw.ConstraintError("rows point to nothing after the change")
        connection.sql("COMMIT")
    except BaseException:
        with contextlib.suppress(apsw.Error):
            if connection.is_in_transaction:
                connection.sql("ROLLBACK")
        raise


__all__ = ["LATEST", "PRE_UPGRADE_DIRECTORY", "keep_copy", "migrate", "newest_copy", "schema_of"]
