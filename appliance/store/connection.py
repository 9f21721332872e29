"""One open SQLite connection with the settings the appliance relies on; Peewee builds the SQL."""

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol, TypeVar

import apsw
from peewee import PeeweeException
from playhouse.apsw_ext import APSWDatabase

T = TypeVar("T")

PAGE_BYTES = 4096
MEBIBYTE = 1024 * 1024
#: "IAPP" in ASCII: marks a file as this product's database (PRAGMA application_id).
APPLICATION_ID = 0x49415050

#: How long SQLite itself waits for a lock held by another process, in seconds. The writer repeats
#: the attempt until its callers' own deadline, and beats its heartbeat in between.
BUSY_SECONDS = 1.0

#: Steps of SQLite's virtual machine between two looks at the clock: a few milliseconds at most.
_STEPS_PER_LOOK = 20_000

_FLAGS = apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE

_BOTH: tuple[tuple[str, str | int], ...] = (
    ("foreign_keys", "ON"),
    ("temp_store", "MEMORY"),
    ("cache_size", -16000),
    ("trusted_schema", "OFF"),
    ("cell_size_check", "ON"),
    ("mmap_size", 0),  # a stray write through a mapping would reach the file unseen
)

# The order matters: page_size and auto_vacuum count only before the first page is written, and
# switching to WAL writes it.
_WRITER: tuple[tuple[str, str | int], ...] = (
    ("page_size", PAGE_BYTES),
    ("auto_vacuum", "INCREMENTAL"),
    ("journal_mode", "WAL"),
    ("synchronous", "FULL"),  # NORMAL loses acknowledged rows when the power fails
    ("wal_autocheckpoint", 1000),
    ("journal_size_limit", 64 * MEBIBYTE),
    *_BOTH,
)

_READER: tuple[tuple[str, str | int], ...] = (
    *_BOTH,
    ("wal_autocheckpoint", 0),
    ("query_only", "ON"),
)


class Connection:
    """One SQLite connection: runs Peewee queries and plain statements, always to their end.

    Results are lists, never open cursors: a cursor left half-read would hold a snapshot and with
    it the whole write-ahead log.

    Threads: used by one thread at a time; whoever got it from `Database` is that thread.
    """

    def __init__(self, path: Path, peewee: APSWDatabase) -> None:
        self.path = path
        self._peewee = peewee
        self._apsw: apsw.Connection = peewee.connection()
        #: Called by the writer after COMMIT, in order; dropped when the work is rolled back.
        self.after_commit: list[Callable[[], None]] = []
        self._give_up_at = float("inf")

    def rows(self, query: Any) -> list[tuple[Any, ...]]:
        """Given a Peewee query, run it and return all its rows as tuples."""
        statement, parameters = self.compile(query)
        return self.sql(statement, parameters)

    def run(self, query: Any) -> int:
        """Given a Peewee query that changes rows, run it and return how many it changed."""
        self.rows(query)
        return self.changes()

    def compile(self, query: Any) -> tuple[str, tuple[Any, ...]]:
        """Given a Peewee query, return its SQL text and parameters without running it."""
        statement, parameters = self._peewee.get_sql_context().sql(query).query()
        return statement, tuple(parameters)

    def sql(self, statement: str, parameters: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
        """Given SQL text and parameters, run it and return all its rows as tuples."""
        return self._apsw.execute(statement, parameters).fetchall()

    def rows_within(self, query: Any, *, most_bytes: int) -> tuple[list[tuple[Any, ...]], bool]:
        """Given a Peewee query and a bound, return its first rows and whether more follow them.

        The rows hold at most `most_bytes` of text and blobs, or are a single larger one. Memory
        may hold one row more for a moment.
        """
        cursor = self._apsw.execute(*self.compile(query))
        rows: list[tuple[Any, ...]] = []
        size = 0
        try:
            for row in cursor:
                size += bytes_of(row)
                if rows and size > most_bytes:
                    return rows, True
                rows.append(row)
        finally:
            cursor.close()
        return rows, False

    def limit(self, seconds: float | None) -> None:
        """Given a time, have everything that runs here from now on fail once it is over.

        What is cut off raises apsw.InterruptError; None takes the limit away.
        """
        self._give_up_at = float("inf") if seconds is None else time.monotonic() + seconds
        self._apsw.set_progress_handler(
            None if seconds is None else self._is_out_of_time, _STEPS_PER_LOOK
        )

    def _is_out_of_time(self) -> bool:
        return time.monotonic() >= self._give_up_at

    def many(self, statement: str, rows: Iterable[tuple[Any, ...]]) -> None:
        """Given SQL text and rows of parameters, run it once for each row."""
        self._apsw.executemany(statement, rows)

    def value(self, statement: str, parameters: tuple[Any, ...] = ()) -> Any:
        """Given SQL text and parameters, return the first column of the first row, or None."""
        rows = self.sql(statement, parameters)
        return rows[0][0] if rows else None

    def changes(self) -> int:
        """Return how many rows the last INSERT, UPDATE or DELETE changed."""
        return self._apsw.changes()

    def last_row_id(self) -> int:
        """Return the integer key of the row inserted last on this connection."""
        return self._apsw.last_insert_rowid()

    @property
    def is_in_transaction(self) -> bool:
        """Return whether a transaction is open; SQLite ends one by itself after some faults."""
        return not self._apsw.get_autocommit()

    def close(self) -> None:
        """Close the connection; the last one to close also empties the write-ahead log."""
        self._apsw.close()
        self._peewee.close()

    # A verb of the store takes a Database or, inside another verb's transaction, a Connection.

    def write(self, work: "Callable[[Connection], T]") -> T:
        """Given work, run it here, inside the transaction that is open."""
        return work(self)

    @contextmanager
    def read(self, *, patience: float = 1.0) -> "Iterator[Connection]":
        """Yield this connection, which sees what its own transaction has written."""
        yield self


_SIZED = frozenset({str, bytes})


def bytes_of(values: Iterable[Any]) -> int:
    """Given the values of a row, return about how many bytes its texts and blobs have."""
    return sum([len(value) for value in values if type(value) in _SIZED])


class Store(Protocol):
    """Where a verb reads and writes: the `Database`, or a `Connection` inside a transaction."""

    def write(self, work: Callable[[Connection], T]) -> T:
        """Given work, run it in a transaction and return its result once that is durable."""

    def read(self, *, patience: float = 1.0) -> Any:
        """Return a context manager that yields a `Connection` for reading, for a bounded time."""


def open_writer(path: Path, *, quota_bytes: int, vfs: str | None = None) -> Connection:
    """Given a path, return the connection for writing; raise an apsw error if it cannot be opened.

    `quota_bytes` bounds the size of the main file; `vfs` names another SQLite file layer.
    """
    pragmas = (*_WRITER, ("max_page_count", max(quota_bytes // PAGE_BYTES, 64)))
    return _open(path, pragmas, vfs)


def open_reader(path: Path, *, vfs: str | None = None) -> Connection:
    """Given a path, return a connection that refuses every change."""
    return _open(path, _READER, vfs)


def open_copy(path: Path, *, vfs: str | None = None) -> Connection:
    """Given the path of a database, return a plain connection for copying or checking it.

    Unlike a reader's it may run `VACUUM INTO`, which `query_only` forbids.
    """
    return _open(path, (*_BOTH, ("wal_autocheckpoint", 0)), vfs)


def open_read_only(path: Path) -> Connection:
    """Given the path of a database nobody writes, return a connection that cannot change it."""
    return _open(path, _BOTH, None, flags=apsw.SQLITE_OPEN_READONLY)


def _open(
    path: Path, pragmas: tuple[tuple[str, str | int], ...], vfs: str | None, *, flags: int = _FLAGS
) -> Connection:
    peewee = APSWDatabase(
        str(path),
        pragmas=pragmas,
        vfs=vfs,
        flags=flags,
        thread_safe=False,
        timeout=BUSY_SECONDS,
    )
    try:
        return Connection(path, peewee)
    except PeeweeException as fault:
        # Peewee wraps what happens while connecting; all other code here looks at SQLite's own.
        original = getattr(fault, "orig", None)
        raise (original if isinstance(original, apsw.Error) else fault) from None
