"""Readers never wait for the writer and never hold more connections than allowed."""

import threading
from pathlib import Path

import apsw
import pytest

from appliance import errors
from appliance.store import settings
from appliance.store.connection import Connection, open_reader
from appliance.store.database import Database
from appliance.store.readers import MOST_CONNECTIONS, Readers
from tests.store.conftest import OpenDatabase


def test_a_reader_does_not_wait_for_a_write_under_way(database: Database) -> None:
    settings.put(database, "a", 1)
    begun, gate = threading.Event(), threading.Event()

    def work(connection: Connection) -> None:
        settings.put(connection, "a", 2)
        begun.set()
        gate.wait(10)

    writing = threading.Thread(target=lambda: database.write(work))
    writing.start()
    assert begun.wait(10)
    assert settings.get(database, "a") == 1
    gate.set()
    writing.join()
    assert settings.get(database, "a") == 2


def test_a_read_cannot_write(database: Database) -> None:
    with pytest.raises(errors.DatabaseUnavailable), database.read() as connection:
        connection.sql("INSERT INTO settings VALUES ('a', '1')")


def test_connections_are_used_again(database: Database) -> None:
    opened = []

    def connect() -> Connection:
        opened.append(open_reader(database.path))
        return opened[-1]

    readers = Readers(connect, on_damage=lambda fault: None)
    for _ in range(10):
        with readers.read() as connection:
            connection.value("SELECT 1")
    assert len(opened) == 1
    readers.close()


def test_a_connection_that_met_a_disk_fault_is_not_lent_again(database: Database) -> None:
    opened = []

    def connect() -> Connection:
        opened.append(open_reader(database.path))
        return opened[-1]

    readers = Readers(connect, on_damage=lambda fault: None)
    with pytest.raises(errors.DatabaseUnavailable), readers.read():
        raise apsw.IOError("injected")
    with readers.read() as connection:
        assert connection.value("SELECT 1") == 1
    assert len(opened) == 2
    readers.close()


def test_many_readers_share_few_connections(database: Database) -> None:
    inside = threading.Semaphore(0)
    most: list[int] = []
    open_now: set[int] = set()
    lock = threading.Lock()

    def read() -> None:
        with database.read() as connection:
            with lock:
                open_now.add(id(connection))
                most.append(len(open_now))
            connection.value("SELECT count(*) FROM settings")
            with lock:
                open_now.discard(id(connection))
        inside.release()

    threads = [threading.Thread(target=read) for _ in range(64)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert max(most) <= MOST_CONNECTIONS


def test_a_read_that_outlives_the_database_ends_in_peace(database: Database) -> None:
    with database.read() as connection:
        database.close()
        assert connection.value("SELECT 1") == 1


def test_a_connection_that_cannot_be_opened_is_a_problem(tmp_path: Path) -> None:
    def connect() -> Connection:
        raise apsw.CantOpenError("unable to open database file")

    readers = Readers(connect, on_damage=lambda fault: None)
    for _ in range(MOST_CONNECTIONS + 1):
        with pytest.raises(errors.DatabaseUnavailable), readers.read():
            pass


_ENDLESS = (
    "WITH RECURSIVE counted(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM counted)"
    " SELECT count(*) FROM counted"
)


def test_a_search_without_end_is_ended_in_words(open_database: OpenDatabase) -> None:
    database = open_database(read_seconds=0.05)
    with (
        pytest.raises(errors.DatabaseUnavailable, match=r"history\.query_seconds"),
        database.read() as connection,
    ):
        connection.sql(_ENDLESS)
    with database.read() as connection:
        assert connection.value("SELECT 1") == 1
    assert database.status().state == "ok"


def test_patience_lets_a_read_go_on_for_longer(open_database: OpenDatabase) -> None:
    database = open_database(read_seconds=1e-6)
    counting = _ENDLESS.replace("FROM counted)", "FROM counted WHERE n < 100000)", 1)
    with pytest.raises(errors.DatabaseUnavailable), database.read() as connection:
        connection.sql(counting)
    with database.read(patience=1e9) as connection:
        assert connection.value(counting) == 100_000
