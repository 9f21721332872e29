"""One group commit: many callers' work in one transaction, each kept apart by a savepoint."""

import contextlib
import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import apsw

from appliance.store.connection import Connection
from appliance.store.faults import Kind, kind_of

log = logging.getLogger("appliance.store")

Work = Callable[[Connection], Any]
#: SQL text and the parameters of one row.
Row = tuple[str, tuple[Any, ...]]


@dataclass(slots=True)
class Item:
    """Work that somebody waits for.

    Threads: `result` and `fault` belong to the writer until `done` is set, then to the caller.
    `is_abandoned` is set by the caller alone, when it has stopped waiting.
    """

    work: Work
    deadline: float  # time.monotonic()
    done: threading.Event = field(default_factory=threading.Event)
    result: Any = None
    fault: BaseException | None = None
    is_abandoned: bool = False


@dataclass(slots=True)
class Batch:
    """What goes into one transaction: rows nobody waits for, then work somebody waits for."""

    rows: list[Row]
    items: list[Item]
    tries: int = 0  # counted by the writer before each attempt
    lost_rows: int = 0
    #: The fault of the last row that was lost.
    row_fault: BaseException | None = None


def run_batch(connection: Connection, batch: Batch) -> None:
    """Given a connection and a batch, commit all of it that can be, noting each item's result.

    An item that fails is undone alone. Raise the apsw error when the whole transaction is lost;
    then nothing of the batch was committed and the same batch may be run again.
    """
    connection.after_commit.clear()
    batch.lost_rows = 0
    connection.sql("BEGIN IMMEDIATE")
    try:
        _write_rows(connection, batch)
        for item in batch.items:
            if not item.is_abandoned:
                _run_item(connection, item)
        connection.sql("COMMIT")
    except BaseException:
        with contextlib.suppress(apsw.Error):
            if connection.is_in_transaction:
                connection.sql("ROLLBACK")
        connection.after_commit.clear()
        raise
    _run_hooks(connection)


def _run_hooks(connection: Connection) -> None:
    hooks, connection.after_commit = connection.after_commit, []
    for hook in hooks:
        try:
            hook()
        except Exception:
            # The rows are durable; failing the caller now would make it write them again.
            log.exception("after-commit step failed")


def _write_rows(connection: Connection, batch: Batch) -> None:
    start = 0
    rows = batch.rows
    while start < len(rows):
        statement = rows[start][0]
        end = start + 1
        while end < len(rows) and rows[end][0] == statement:
            end += 1
        _write_run(connection, batch, statement, [row[1] for row in rows[start:end]])
        start = end


def _write_run(
    connection: Connection, batch: Batch, statement: str, values: list[tuple[Any, ...]]
) -> None:
    connection.sql("SAVEPOINT item")
    try:
        connection.many(statement, values)
    except Exception as fault:
        if _loses_all(connection, fault):
            raise
        connection.sql("ROLLBACK TO item")
        _write_one_by_one(connection, batch, statement, values)
    connection.sql("RELEASE item")


def _write_one_by_one(
    connection: Connection, batch: Batch, statement: str, values: list[tuple[Any, ...]]
) -> None:
    """One row of many is wrong: keep the others, count that one."""
    for row in values:
        try:
            connection.sql(statement, row)
        except Exception as fault:
            if _loses_all(connection, fault):
                raise
            batch.lost_rows += 1
            batch.row_fault = fault


def _run_item(connection: Connection, item: Item) -> None:
    item.fault = None
    hooks = len(connection.after_commit)
    connection.sql("SAVEPOINT item")
    try:
        item.result = item.work(connection)
    except Exception as fault:
        item.fault = fault
        if _loses_all(connection, fault):
            raise
        connection.sql("ROLLBACK TO item")
        del connection.after_commit[hooks:]
    connection.sql("RELEASE item")


def _loses_all(connection: Connection, fault: Exception) -> bool:
    """Return whether the transaction cannot go on after `fault`.

    SQLite itself rolls back the whole of it, savepoints and all, when there is no room.
    """
    if not connection.is_in_transaction:
        return True
    return kind_of(fault) in (Kind.IO, Kind.CORRUPT, Kind.FULL)
