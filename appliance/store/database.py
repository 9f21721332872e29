"""The database as all others see it: durable writes, submitted rows, reads, status."""

import contextlib
import os
import stat
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import Any, TypeVar, cast

import apsw
import msgspec

from appliance import errors
from appliance.clock import Clock
from appliance.store import settings
from appliance.store.connection import Connection, open_copy, open_reader, open_writer
from appliance.store.disk import DiskWatch, Level
from appliance.store.faults import as_problem
from appliance.store.files import create_private, size_of
from appliance.store.migrate import migrate, schema_of
from appliance.store.readers import READ_SECONDS, Readers
from appliance.store.row_queue import QUEUE_BYTES, RowQueue
from appliance.store.upkeep import LAST_SEEN_SETTING, Upkeep
from appliance.store.writer import WRITE_SECONDS, Writer

T = TypeVar("T")

FILE_NAME = "appliance.db"
CLOSE_SECONDS = 10.0


class DatabaseStatus(msgspec.Struct, frozen=True):
    """What health and metrics tell about the database."""

    state: str  # "ok", "failing", "corrupt" or "closed"
    is_writable: bool
    schema: int
    bytes: int
    wal_bytes: int
    quota_bytes: int
    queue_rows: int
    lost_rows: int
    last_commit_seconds_ago: float
    heartbeat_seconds_ago: float
    last_error: str
    clock_is_suspect: bool


class Database:
    """One SQLite file, one writer thread, many readers.

    Threads: every method may be called from any thread except the writer's own, that is, not from
    inside work given to `write`.
    """

    def __init__(
        self, path: Path, *, schema: int, writer: Writer, readers: Readers, upkeep: Upkeep
    ) -> None:
        self.path = path
        self._schema = schema
        self._writer = writer
        self._readers = readers
        self._upkeep = upkeep
        self._is_closed = False

    @classmethod
    def open(
        cls,
        path: Path,
        *,
        clock: Clock,
        quota_bytes: int,
        queue_rows: int,
        disk: DiskWatch | None = None,
        vfs: str | None = None,
        on_commit: Callable[[float], None] = lambda seconds: None,
        queue_bytes: int = QUEUE_BYTES,
        read_seconds: float = READ_SECONDS,
    ) -> "Database":
        """Given the file's path, create or migrate it and start the writer.

        `disk` decides when history is no longer recorded and gives up its reserve when a write
        meets a full disk; `on_commit` is told the seconds each group commit took; a reader is
        ended after `read_seconds`. Raise SchemaTooNew or StateUnusable, with what to do, when the
        file or the disk under it cannot be used.
        """
        if disk is not None:
            disk.prepare()
        check_file(path)
        try:
            schema, last_seen = _prepare_schema(
                path, clock=clock, quota_bytes=quota_bytes, vfs=vfs
            )
            upkeep = Upkeep(path, clock, quota_bytes, disk=disk, last_seen_seconds=last_seen)
            connect = partial(open_writer, path, quota_bytes=quota_bytes, vfs=vfs)
            rows = RowQueue(queue_rows, queue_bytes)
            writer = Writer(connect, clock, rows, chores=upkeep, on_commit=on_commit)
            writer.start()
        except apsw.Error as fault:
            raise errors.StateUnusable(f"{path} cannot be opened. {as_problem(fault)}") from fault
        connect = partial(open_reader, path, vfs=vfs)
        readers = Readers(connect, on_damage=writer.mark_corrupt, most_seconds=read_seconds)
        return cls(path, schema=schema, writer=writer, readers=readers, upkeep=upkeep)

    def write(
        self, work: Callable[[Connection], T], *, timeout_seconds: float = WRITE_SECONDS
    ) -> T:
        """Given work, run it in the writer's transaction and return its result after COMMIT.

        The work may run more than once when a transaction has to be repeated, so it must touch
        nothing but the connection. Raise what the work raises (its changes are then undone, its
        neighbours' are not), DatabaseUnavailable, or InsufficientStorage.
        """
        return cast("T", self._writer.write(work, timeout_seconds=timeout_seconds))

    def submit(self, statement: str, values: tuple[Any, ...]) -> bool:
        """Given SQL and one row of values nobody waits for, return whether it was accepted.

        Rows with the same statement text are written together. False when the queue is full, the
        disk critical, the database damaged or closed.
        """
        if self._is_disk_critical:
            return False
        return self._writer.submit_row((statement, values))

    def submit_latest(self, name: object, statement: str, values: tuple[Any, ...]) -> None:
        """Given a name, SQL and values, write them in some seconds unless newer ones come."""
        self._writer.submit_latest(name, (statement, values))

    def read(self, *, patience: float = 1.0) -> AbstractContextManager[Connection]:
        """Return a context manager that yields a read-only connection, free of the writer's lock.

        SQLite's faults inside the block become DatabaseUnavailable, and so does reading for longer
        than `read_seconds` times `patience`.
        """
        return self._readers.read(patience=patience)

    def flush(self, timeout_seconds: float = WRITE_SECONDS) -> bool:
        """Return whether every row submitted before now was written within the time."""
        return self._writer.flush(timeout_seconds)

    def close(self) -> bool:
        """Write what waits and close the file; return whether everything accepted was written."""
        if self._is_closed:
            return True
        self._is_closed = True
        self._readers.close()
        return self._writer.close(CLOSE_SECONDS)

    def status(self) -> DatabaseStatus:
        """Return the state of the file, the queue and the writer, without touching the file."""
        writer = self._writer
        return DatabaseStatus(
            state=self._state(),
            is_writable=writer.is_usable and not self._is_closed,
            schema=self._schema,
            bytes=size_of(self.path),
            wal_bytes=size_of(self.path.with_name(self.path.name + "-wal")),
            quota_bytes=self.quota_bytes,
            queue_rows=writer.queue_rows,
            lost_rows=writer.lost_rows,
            last_commit_seconds_ago=writer.last_commit_seconds_ago,
            heartbeat_seconds_ago=writer.heartbeat_seconds_ago,
            last_error=writer.last_error,
            clock_is_suspect=self._upkeep.wall_clock.is_suspect_now(),
        )

    @property
    def takes_history(self) -> bool:
        """Return whether a row of the history would be written now."""
        return self._writer.is_usable and not self._is_closed and not self._is_disk_critical

    @property
    def _is_disk_critical(self) -> bool:
        disk = self._upkeep.disk
        return disk is not None and disk.level() >= Level.CRITICAL

    @property
    def quota_bytes(self) -> int:
        """Return the largest size the file may reach."""
        return self._upkeep.quota_bytes

    def _state(self) -> str:
        if self._is_closed:
            return "closed"
        if self._writer.is_corrupt:
            return "corrupt"
        return "ok" if self._writer.is_usable else "failing"


def check_file(path: Path) -> None:
    """Given the path, create the file if missing; raise StateUnusable if it is not ours alone."""
    try:
        create_private(path)
    except FileExistsError:
        pass
    except OSError as fault:
        raise errors.StateUnusable(f"{path} cannot be created: {fault.strerror}.") from fault
    facts = path.lstat()
    if not stat.S_ISREG(facts.st_mode):
        raise errors.StateUnusable(f"{path} is not a regular file; move it away.")
    if facts.st_uid != os.geteuid():
        raise errors.StateUnusable(
            f"{path} belongs to user {facts.st_uid}, but the appliance runs as user"
            f" {os.geteuid()}; run: chown {os.geteuid()} {path}"
        )
    if facts.st_mode & 0o077 or facts.st_mode & 0o600 != 0o600:
        raise errors.StateUnusable(
            f"{path} has mode {stat.S_IMODE(facts.st_mode):04o}, but holds secrets only its owner"
            f" may read; run: chmod 600 {path}"
        )


def _prepare_schema(
    path: Path, *, clock: Clock, quota_bytes: int, vfs: str | None
) -> tuple[int, float | None]:
    """Return the schema after migrating, and the wall time the appliance was last seen at."""
    # Whose file it is comes first: the writer's settings alone would already change it.
    with contextlib.closing(open_copy(path, vfs=vfs)) as connection:
        schema_of(connection)
    with contextlib.closing(open_writer(path, quota_bytes=quota_bytes, vfs=vfs)) as connection:
        schema = migrate(connection, clock=clock, vfs=vfs)
        last_seen = settings.get(connection, LAST_SEEN_SETTING)
        return schema, None if last_seen is None else float(last_seen)
