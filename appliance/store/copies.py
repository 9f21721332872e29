"""Consistent copies of the database, and the checks that tell sound from plausible."""

import contextlib
from pathlib import Path

import apsw
import msgspec

from appliance.errors import BackupInvalid
from appliance.store.connection import (
    APPLICATION_ID,
    Connection,
    open_copy,
    open_read_only,
)
from appliance.store.files import create_private, sync_directory, sync_file
from appliance.store.tables import COUNTED


class TableCount(msgspec.Struct, frozen=True):
    """How many rows a table has, and the largest number among them (0 where rows have none)."""

    rows: int
    max_id: int


Counts = dict[str, TableCount]


def copy_database(source: Path, target: Path, *, vfs: str | None = None) -> None:
    """Given a live database and a new path, write a consistent, compact, durable copy there.

    `VACUUM INTO` reads one snapshot and blocks no writer; it neither syncs nor cleans up after a
    fault, so both happen here. Raise the apsw error when it fails; then there is no copy.
    """
    create_private(target)
    try:
        connection = open_copy(source, vfs=vfs)
        try:
            connection.sql("VACUUM INTO ?", (str(target),))
        finally:
            connection.close()
        sync_file(target)
        sync_directory(target.parent)
    except BaseException:
        target.unlink(missing_ok=True)
        raise


def count_tables(connection: Connection) -> Counts:
    """Given a connection, return the counts of every table of this product that exists there."""
    counts: Counts = {}
    for name, column in COUNTED:
        if connection.value("SELECT 1 FROM sqlite_schema WHERE name = ?", (name,)):
            # Names come from the tuple above, never from input.
            number = f"coalesce(max({column}), 0)" if column else "0"
            rows, max_id = connection.sql(f"SELECT count(*), {number} FROM {name}")[0]
            counts[name] = TableCount(rows=rows, max_id=max_id)
    return counts


def check_copy(path: Path, *, is_thorough: bool = True) -> tuple[int, Counts]:
    """Given a closed copy, return its schema number and counts; raise BackupInvalid if unsound.

    A sound file that is empty, or another product's, passes SQLite's own checks: hence the
    application id and, by the caller, the counts. Without `is_thorough` those are all.
    """
    try:
        connection = open_read_only(path)
    except apsw.Error as fault:
        raise BackupInvalid(f"The database in {path.name} cannot be opened: {fault}.") from fault
    with contextlib.closing(connection):
        try:
            return _check(connection, path.name, is_thorough=is_thorough)
        except apsw.Error as fault:
            raise BackupInvalid(f"The database in {path.name} is damaged: {fault}.") from fault


def _check(connection: Connection, name: str, *, is_thorough: bool) -> tuple[int, Counts]:
    if connection.value("PRAGMA application_id") != APPLICATION_ID:
        raise BackupInvalid(f"{name} is not a database of this appliance.")
    verdict = connection.value("PRAGMA integrity_check(1)") if is_thorough else "ok"
    if verdict != "ok":
        raise BackupInvalid(f"The database in {name} is damaged: {verdict}.")
    if is_thorough and connection.sql("PRAGMA foreign_key_check"):
        raise BackupInvalid(f"The database in {name} has rows that point to nothing.")
    return connection.value("PRAGMA user_version"), count_tables(connection)
