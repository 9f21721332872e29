"""The writer: what is acknowledged is there, faults stay where they belong."""

import random
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import apsw
import pytest

from appliance import errors
from appliance.clock import ManualClock
from appliance.store import predictions, settings
from appliance.store.connection import Connection
from appliance.store.database import FILE_NAME, Database
from appliance.store.tables import Setting
from tests.store.conftest import MEBIBYTE, OpenDatabase
from tests.store.examples import a_prediction, wait_until
from tests.store.faulty_disk import FaultyLayer

HOLD_THE_DATABASE = """
import sys, apsw
connection = apsw.Connection(sys.argv[1])
connection.execute("BEGIN EXCLUSIVE")
print("held", flush=True)
sys.stdin.read()
connection.execute("ROLLBACK")
"""


@pytest.fixture
def faulty(request: pytest.FixtureRequest) -> Iterator[FaultyLayer]:
    layer = FaultyLayer(f"faulty-{request.node.name}")
    yield layer
    layer.unregister()


def test_a_write_returns_what_the_work_returns(database: Database) -> None:
    assert database.write(lambda connection: connection.value("SELECT 42")) == 42


def test_a_write_is_readable_as_soon_as_it_returns(database: Database) -> None:
    for number in range(20):
        settings.put(database, "n", number)
        assert settings.get(database, "n") == number


def test_work_that_fails_is_undone_and_its_fault_reaches_the_caller(database: Database) -> None:
    def work(connection: Connection) -> None:
        settings.put(connection, "half", 1)
        raise errors.Conflict("no")

    with pytest.raises(errors.Conflict):
        database.write(work)
    assert settings.get(database, "half") is None


def test_work_that_fails_does_not_fail_its_neighbours(database: Database) -> None:
    begun, gate = threading.Event(), threading.Event()
    outcomes: dict[int, object] = {}

    def blocked(connection: Connection) -> None:
        begun.set()
        gate.wait(10)

    def work(connection: Connection, number: int) -> int:
        settings.put(connection, f"n{number}", number)
        if number % 3 == 0:
            raise errors.Conflict(str(number))
        return number

    def call(number: int) -> None:
        try:
            outcomes[number] = database.write(lambda connection: work(connection, number))
        except errors.Conflict as fault:
            outcomes[number] = fault

    first = threading.Thread(target=lambda: database.write(blocked))
    callers = [threading.Thread(target=call, args=(number,)) for number in range(30)]
    first.start()
    assert begun.wait(10)
    for thread in callers:
        thread.start()
    wait_until(lambda: database.status().queue_rows >= 30)
    gate.set()
    for thread in (first, *callers):
        thread.join()
    assert all(
        isinstance(outcomes[number], errors.Conflict) == (number % 3 == 0) for number in range(30)
    )
    with database.read() as connection:
        kept = {row[0] for row in connection.rows(Setting.select(Setting.name))}
    assert {name for name in kept if name.startswith("n")} == {
        f"n{number}" for number in range(30) if number % 3
    }


def test_work_that_does_not_fit_does_not_fail_its_neighbours(
    open_database: OpenDatabase,
) -> None:
    database = open_database(quota_bytes=MEBIBYTE)
    gate = threading.Event()
    outcomes: dict[str, object] = {}

    def call(name: str, size: int) -> None:
        try:
            settings.put(database, name, "x" * size)
            outcomes[name] = "kept"
        except errors.InsufficientStorage:
            outcomes[name] = "refused"

    begun = threading.Event()

    def blocked(connection: Connection) -> None:
        begun.set()
        gate.wait(10)

    first = threading.Thread(target=lambda: database.write(blocked))
    callers = [
        threading.Thread(target=call, args=(name, size))
        for name, size in (("a", 10), ("big", 2 * MEBIBYTE), ("b", 10))
    ]
    first.start()
    assert begun.wait(10)
    for thread in callers:
        thread.start()
    wait_until(lambda: database.status().queue_rows >= 3)
    gate.set()
    for thread in (first, *callers):
        thread.join()
    assert outcomes == {"a": "kept", "big": "refused", "b": "kept"}
    assert settings.get(database, "a") == settings.get(database, "b") == "x" * 10


def test_a_constraint_becomes_a_conflict(database: Database) -> None:
    def work(connection: Connection) -> None:
        connection.sql("INSERT INTO settings VALUES ('a', '1'), ('a', '2')")

    with pytest.raises(errors.Conflict):
        database.write(work)


def test_a_step_after_commit_runs_once_and_not_for_work_that_failed(database: Database) -> None:
    done: list[str] = []

    def good(connection: Connection) -> None:
        connection.after_commit.append(lambda: done.append("good"))

    def bad(connection: Connection) -> None:
        connection.after_commit.append(lambda: done.append("bad"))
        raise errors.Conflict("no")

    database.write(good)
    with pytest.raises(errors.Conflict):
        database.write(bad)
    database.write(lambda connection: None)
    assert done == ["good"]


def test_writing_from_inside_work_is_refused_instead_of_waiting_for_itself(
    database: Database,
) -> None:
    with pytest.raises(RuntimeError):
        database.write(lambda connection: database.write(lambda inner: None))


def test_submitted_rows_are_written_in_order(database: Database) -> None:
    made = [a_prediction(received_seconds=float(number)) for number in range(3000)]
    assert all(predictions.record(database, one) for one in made)
    assert database.flush()
    assert [one.id for one in predictions.stream(database, predictions.Filter())] == [
        one.id for one in reversed(made)
    ]


def test_one_wrong_row_costs_only_itself(database: Database) -> None:
    twin = a_prediction()
    made = [a_prediction(), twin, twin, a_prediction()]
    assert all(predictions.record(database, one) for one in made)
    assert database.flush()
    assert len(predictions.find(database, predictions.Filter()).predictions) == 3
    status = database.status()
    assert (status.lost_rows, status.state) == (1, "ok")


def test_a_full_queue_refuses_rows_and_never_grows(open_database: OpenDatabase) -> None:
    database = open_database(queue_rows=100)
    gate = threading.Event()
    holder = threading.Thread(target=lambda: database.write(lambda connection: gate.wait(10)))
    holder.start()
    wait_until(lambda: database.status().queue_rows == 0)
    accepted = [predictions.record(database, a_prediction()) for _ in range(300)]
    gate.set()
    holder.join()
    assert 100 <= sum(accepted) <= 101
    assert database.flush()
    assert predictions.count(database) == sum(accepted)


def test_closing_writes_everything_that_was_accepted(open_database: OpenDatabase) -> None:
    database = open_database()
    accepted = sum(predictions.record(database, a_prediction()) for _ in range(5000))
    assert database.close()
    assert predictions.count(open_database()) == accepted == 5000


def test_after_closing_nothing_is_accepted(open_database: OpenDatabase) -> None:
    database = open_database()
    assert database.close()
    assert not predictions.record(database, a_prediction())
    with pytest.raises(errors.ShuttingDown):
        settings.put(database, "a", 1)
    assert database.status().state == "closed"
    assert database.close()


def test_only_the_latest_of_the_rows_under_one_name_is_written(database: Database) -> None:
    statement = "INSERT INTO settings VALUES (?, ?)"
    for number in range(100):
        database.submit_latest("last", statement, ("last", str(number)))
    assert database.flush()
    assert settings.get(database, "last") == 99


def test_the_heart_beats_while_nothing_happens(
    open_database: OpenDatabase, clock: ManualClock
) -> None:
    database = open_database()
    clock.advance(30)
    wait_until(lambda: database.status().heartbeat_seconds_ago < 1)


def test_while_another_process_holds_the_file_writes_fail_and_reads_go_on(
    open_database: OpenDatabase,
) -> None:
    database = open_database()
    settings.put(database, "a", 1)
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD_THE_DATABASE, str(database.path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert holder.stdout is not None
    assert holder.stdin is not None
    assert holder.stdout.readline() == b"held\n"
    assert predictions.record(database, a_prediction())
    with pytest.raises(errors.DatabaseUnavailable):
        database.write(lambda connection: settings.put(connection, "b", 2), timeout_seconds=1.5)
    assert settings.get(database, "a") == 1
    assert not database.status().is_writable
    assert database.status().heartbeat_seconds_ago < 10
    holder.stdin.close()
    assert holder.wait(10) == 0
    holder.stdout.close()
    wait_until(lambda: database.status().is_writable)
    assert database.flush()
    assert predictions.count(database) == 1
    assert settings.get(database, "b") is None


def test_a_failed_sync_is_not_acknowledged_and_the_writer_goes_on(
    open_database: OpenDatabase, faulty: FaultyLayer
) -> None:
    database = open_database(vfs=faulty.layer_name)
    settings.put(database, "before", 1)
    faulty.failing_syncs = 1_000_000
    with pytest.raises(errors.DatabaseUnavailable):
        settings.put(database, "during", 1)
    assert not database.status().is_writable
    faulty.failing_syncs = 0
    settings.put(database, "after", 1)
    assert database.status().state == "ok"
    assert settings.get(database, "before") == settings.get(database, "after") == 1


def test_history_waits_in_the_queue_while_the_disk_fails(
    open_database: OpenDatabase, faulty: FaultyLayer
) -> None:
    database = open_database(vfs=faulty.layer_name)
    faulty.failing_writes = 3
    assert predictions.record(database, a_prediction())
    wait_until(lambda: predictions.count(database) == 1)
    assert database.status().lost_rows == 0


def test_with_writes_failing_at_random_the_acknowledged_rows_are_the_rows(
    open_database: OpenDatabase, faulty: FaultyLayer
) -> None:
    database = open_database(vfs=faulty.layer_name)
    chance = random.Random(1)
    acknowledged = set()
    for number in range(150):
        faulty.failing_writes = int(chance.random() < 0.15)
        faulty.failing_syncs = int(chance.random() < 0.05)
        try:
            settings.put(database, f"n{number}", number)
        except errors.DatabaseUnavailable:
            continue
        acknowledged.add(f"n{number}")
    faulty.failing_writes = faulty.failing_syncs = 0
    with database.read() as connection:
        found = {row[0] for row in connection.sql("SELECT name FROM settings")}
        assert connection.value("PRAGMA integrity_check") == "ok"
    assert 50 < len(acknowledged) < 150
    assert acknowledged <= found
    assert {name for name in found if name.startswith("n")} <= acknowledged


def test_damage_stops_writing_for_good_and_says_so_once(
    open_database: OpenDatabase, state_dir: Path, caplog: pytest.LogCaptureFixture
) -> None:
    database = open_database()
    for number in range(400):
        predictions.record(database, a_prediction(result=b"x" * 3000, id=str(number)))
    assert database.flush()
    database.close()
    path = state_dir / FILE_NAME
    page = path.stat().st_size // 4096 // 2 * 4096
    with open(path, "r+b") as file:
        for offset in range(page, page + 64 * 4096, 4096):
            file.seek(offset)
            file.write(b"\xff" * 4096)
    database = open_database()
    with pytest.raises(errors.DatabaseUnavailable), database.read() as connection:
        connection.sql("SELECT sum(length(result)) FROM predictions")
    for _ in range(3):
        with pytest.raises(errors.DatabaseUnavailable, match="damaged"):
            settings.put(database, "a", 1)
        assert not predictions.record(database, a_prediction())
    status = database.status()
    assert (status.state, status.is_writable) == ("corrupt", False)
    assert sum(record.message == "database damaged" for record in caplog.records) == 1


def test_the_thread_outlives_a_bug_in_the_work(database: Database) -> None:
    def work(connection: Connection) -> None:
        connection.sql("COMMIT")  # what no work may do

    with pytest.raises((apsw.Error, errors.Problem)):
        database.write(work)
    settings.put(database, "a", 1)
    assert settings.get(database, "a") == 1
