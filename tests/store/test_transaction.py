"""One transaction for many: each item stands and falls alone."""

import time
from pathlib import Path

import apsw
import pytest

from appliance.store.connection import Connection, open_writer
from appliance.store.transaction import Batch, Item, Work, run_batch
from tests.store.conftest import MEBIBYTE


@pytest.fixture
def connection(tmp_path: Path) -> Connection:
    opened = open_writer(tmp_path / "t.db", quota_bytes=MEBIBYTE)
    opened.sql("CREATE TABLE t (a INTEGER UNIQUE, b BLOB) STRICT")
    return opened


def _item(work: Work) -> Item:
    return Item(work, deadline=time.monotonic() + 5)


def _rows(connection: Connection) -> list[int]:
    return [row[0] for row in connection.sql("SELECT a FROM t ORDER BY a")]


def test_rows_and_items_are_committed_together(connection: Connection) -> None:
    insert = "INSERT INTO t (a) VALUES (?)"
    item = _item(lambda inner: inner.sql(insert, (3,)) or "done")
    run_batch(connection, Batch([(insert, (1,)), (insert, (2,))], [item]))
    assert _rows(connection) == [1, 2, 3]
    assert (item.result, item.fault, connection.is_in_transaction) == ("done", None, False)


def test_an_abandoned_item_is_not_run(connection: Connection) -> None:
    item = _item(lambda inner: inner.sql("INSERT INTO t (a) VALUES (1)"))
    item.is_abandoned = True
    run_batch(connection, Batch([], [item]))
    assert _rows(connection) == []


def test_rows_of_several_statements_keep_their_order(connection: Connection) -> None:
    insert, change = "INSERT INTO t (a) VALUES (?)", "UPDATE t SET a = a + ?"
    run_batch(connection, Batch([(insert, (1,)), (change, (10,)), (insert, (2,))], []))
    assert _rows(connection) == [2, 11]


def test_an_item_that_does_not_fit_loses_the_transaction_and_is_known(
    connection: Connection,
) -> None:
    def huge(inner: Connection) -> None:
        inner.sql("INSERT INTO t VALUES (1, zeroblob(3000000))")

    small = _item(lambda inner: inner.sql("INSERT INTO t (a) VALUES (2)"))
    batch = Batch([], [small, _item(huge)])
    with pytest.raises(apsw.FullError):
        run_batch(connection, batch)
    assert _rows(connection) == []
    assert isinstance(batch.items[1].fault, apsw.FullError)
    run_batch(connection, Batch([], [small]))
    assert _rows(connection) == [2]


def test_a_hook_that_fails_does_not_fail_what_is_committed(connection: Connection) -> None:
    def work(inner: Connection) -> None:
        inner.sql("INSERT INTO t (a) VALUES (1)")
        inner.after_commit.append(lambda: 1 / 0)

    item = _item(work)
    run_batch(connection, Batch([], [item]))
    assert (item.fault, _rows(connection)) == (None, [1])
