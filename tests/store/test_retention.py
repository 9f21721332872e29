"""Old history goes, in order, and only while the clock can be believed."""

from appliance.clock import ManualClock
from appliance.store import predictions
from appliance.store.database import Database
from appliance.store.predictions import Filter
from appliance.store.retention import SECONDS_PER_DAY, prune
from tests.store.conftest import MEBIBYTE, OpenDatabase
from tests.store.examples import NOON, a_prediction, wait_until


def _fill(database: Database, rows: int, *, days_apart: float = 1.0, size: int = 20) -> None:
    for number in range(rows):
        one = a_prediction(
            received_seconds=NOON - (rows - 1 - number) * days_apart * SECONDS_PER_DAY,
            result=b"x" * size,
        )
        assert predictions.record(database, one)
        if number % 1000 == 999:
            assert database.flush()
    assert database.flush()


def _ages(database: Database) -> list[float]:
    return [
        (NOON - one.received_seconds) / SECONDS_PER_DAY
        for one in predictions.stream(database, Filter())
    ]


def test_rows_beyond_their_age_go(database: Database) -> None:
    _fill(database, 30)
    done = prune(database, keep_days=9.5, keep_rows=1000, now=NOON)
    assert (done.by_age, done.by_count, done.is_paused) == (20, 0, False)
    assert _ages(database) == list(range(10))


def test_the_oldest_go_when_there_are_too_many(database: Database) -> None:
    _fill(database, 1700)
    done = prune(database, keep_days=10_000, keep_rows=1000, now=NOON)
    assert (done.by_age, done.by_count) == (0, 700)
    assert _ages(database) == list(range(1000))


def test_a_second_prune_finds_nothing(database: Database) -> None:
    _fill(database, 30)
    prune(database, keep_days=9.5, keep_rows=1000, now=NOON)
    done = prune(database, keep_days=9.5, keep_rows=1000, now=NOON)
    assert (done.by_age, done.by_count, done.by_quota) == (0, 0, 0)


def test_pruning_pauses_at_once_when_the_clock_has_jumped(
    open_database: OpenDatabase, clock: ManualClock
) -> None:
    database = open_database()
    _fill(database, 30)
    clock.jump(365 * SECONDS_PER_DAY)
    done = prune(database, keep_days=9.5, keep_rows=1000, now=clock.wall_seconds())
    assert done.is_paused
    assert _ages(database) == list(range(30))


def test_pruning_pauses_while_the_clock_is_suspect(
    open_database: OpenDatabase, clock: ManualClock
) -> None:
    database = open_database()
    _fill(database, 30)
    clock.jump(365 * SECONDS_PER_DAY)
    wait_until(lambda: database.status().clock_is_suspect)
    done = prune(database, keep_days=9.5, keep_rows=10, now=clock.wall_seconds())
    assert (done.is_paused, done.by_age, done.by_count) == (True, 0, 0)
    assert predictions.count(database) == 30


def test_near_the_quota_the_oldest_go_first(open_database: OpenDatabase) -> None:
    database = open_database(quota_bytes=8 * MEBIBYTE)
    _fill(database, 1900, days_apart=0.001, size=3500)
    before = predictions.count(database)
    done = prune(database, keep_days=1000, keep_rows=10_000, now=NOON)
    kept = _ages(database)
    assert done.by_quota > 0
    assert len(kept) == before - done.by_quota
    assert min(kept) == 0


def test_a_file_that_is_mostly_empty_gives_its_pages_back(open_database: OpenDatabase) -> None:
    database = open_database()
    _fill(database, 3000, size=4000)
    before = database.status().bytes + database.status().wal_bytes
    done = prune(database, keep_days=10_000, keep_rows=100, now=NOON)
    assert done.freed_bytes > 5 * MEBIBYTE
    database.close()
    assert database.path.stat().st_size < before - 5 * MEBIBYTE


def test_rows_are_not_counted_while_there_cannot_be_too_many(database: Database) -> None:
    _fill(database, 5)
    statements: list[str] = []
    with database.read() as connection:  # the connection that is lent next
        connection._apsw.set_exec_trace(lambda _, text, __: statements.append(text) or True)
    prune(database, keep_days=10, keep_rows=5, now=NOON)
    assert statements
    assert not any("count(*)" in text for text in statements)
    prune(database, keep_days=10, keep_rows=4, now=NOON)
    assert any("count(*)" in text for text in statements)
    assert len(_ages(database)) == 4


def test_an_urgent_retention_gives_every_free_page_back(open_database: OpenDatabase) -> None:
    database = open_database()
    _fill(database, 300, size=4000)
    prune(database, keep_days=291.5, keep_rows=1000, now=NOON)
    with database.read() as connection:
        spare = connection.value("PRAGMA freelist_count")
    assert spare > 0
    pruned = prune(database, keep_days=291.5, keep_rows=1000, now=NOON, is_urgent=True)
    assert pruned.freed_bytes >= spare * 4096
    with database.read() as connection:
        assert connection.value("PRAGMA freelist_count") == 0
