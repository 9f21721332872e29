"""SQLite's errors sorted by what must follow from them, so that every caller reacts alike."""

import enum

import apsw

from appliance import errors

#: SQLITE_IOERR_SHMSIZE: the shared-memory file cannot grow, which on a WAL database means the
#: disk is full (SQLite reports it as an I/O error, not as SQLITE_FULL).
_SHARED_MEMORY_TOO_SMALL = 4874


class Kind(enum.Enum):
    """What a fault of the database means for the work that met it."""

    FULL = "full"  # no room: free some, then try again
    BUSY = "busy"  # another process holds the file: wait
    CORRUPT = "corrupt"  # the file is damaged: never write again
    IO = "io"  # the disk failed: reopen before the next write
    SLOW = "slow"  # a reader's time was over
    CONFLICT = "conflict"  # a constraint refused this row: the caller's fault
    OTHER = "other"  # a mistake in a statement: our own bug


_KINDS: tuple[tuple[tuple[type[apsw.Error], ...], Kind], ...] = (
    ((apsw.FullError,), Kind.FULL),
    ((apsw.BusyError, apsw.LockedError), Kind.BUSY),
    ((apsw.CorruptError, apsw.NotADBError), Kind.CORRUPT),
    (
        (apsw.IOError, apsw.CantOpenError, apsw.ReadOnlyError, apsw.NoMemError),
        Kind.IO,
    ),
    ((apsw.InterruptError,), Kind.SLOW),
    ((apsw.ConstraintError,), Kind.CONFLICT),
)


def kind_of(fault: BaseException) -> Kind | None:
    """Given an exception, return what it means for the database, or None if it is not SQLite's."""
    if not isinstance(fault, apsw.Error):
        return None
    if getattr(fault, "extendedresult", 0) == _SHARED_MEMORY_TOO_SMALL:
        return Kind.FULL
    for classes, kind in _KINDS:
        if isinstance(fault, classes):
            return kind
    return Kind.OTHER


def as_problem(fault: BaseException) -> BaseException:
    """Given an exception, return the problem to tell a client; what is not SQLite's stays."""
    kind = kind_of(fault)
    if kind is None or kind is Kind.OTHER:
        return fault
    return _PROBLEMS[kind](_SENTENCES[kind].format(fault=fault))


_PROBLEMS: dict[Kind, type[errors.Problem]] = {
    Kind.FULL: errors.InsufficientStorage,
    Kind.BUSY: errors.DatabaseUnavailable,
    Kind.CORRUPT: errors.DatabaseUnavailable,
    Kind.IO: errors.DatabaseUnavailable,
    Kind.SLOW: errors.DatabaseUnavailable,
    Kind.CONFLICT: errors.Conflict,
}

_SENTENCES: dict[Kind, str] = {
    Kind.FULL: "The disk or the database quota is full ({fault}); free space on the state"
    " directory's file system or raise state.database_bytes.",
    Kind.BUSY: "Another process holds the database ({fault}); close every other program that has"
    " appliance.db open, then try again.",
    Kind.CORRUPT: "The database is damaged ({fault}); restart the appliance, which puts the"
    " damaged file aside and restores the newest backup.",
    Kind.IO: "The disk under the database failed ({fault}); see the kernel log, then try again.",
    Kind.SLOW: "This search read for too long (history.query_seconds) and was ended, so that it"
    " holds nobody up; ask for a shorter time with from and to, or for one model, label or key.",
    Kind.CONFLICT: "This contradicts a record that exists ({fault}).",
}
