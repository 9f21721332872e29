"""Maintenance keeps the history inside its bounds and the disk watched."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.actions.maintain import Maintenance
from appliance.clock import ManualClock
from appliance.config import History
from appliance.identifiers import new_id
from appliance.store import predictions
from appliance.store.database import Database
from appliance.store.disk import DiskWatch, Level

DAY_SECONDS = 86400.0


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def database(tmp_path: Path, clock: ManualClock) -> Iterator[Database]:
    opened = Database.open(
        tmp_path / "appliance.db", clock=clock, quota_bytes=1 << 30, queue_rows=1000
    )
    yield opened
    opened.close()


def remember(database: Database, received_seconds: float) -> None:
    prediction = predictions.Prediction(
        id=new_id(),
        received_seconds=received_seconds,
        model="m",
        version=1,
        task="t",
        key_id="",
        key_name="",
        content_type="",
        input_bytes=0,
        result=b"{}",
        duration_ms=1.0,
        request_id="r",
    )
    assert predictions.record(database, prediction)


def test_a_round_deletes_what_is_older_than_the_history_is_kept(
    tmp_path: Path, clock: ManualClock, database: Database
) -> None:
    now = clock.wall_seconds()
    for days in (1, 5, 400, 500):
        remember(database, now - days * DAY_SECONDS)
    assert database.flush()
    disk = DiskWatch(tmp_path, reserve_bytes=4096, clock=clock)
    maintenance = Maintenance(History(keep_days=365), clock, database=database, disk=disk)
    maintenance.round()
    assert predictions.count(database) == 2


def test_history_is_not_looked_through_at_every_round(
    tmp_path: Path, clock: ManualClock, database: Database
) -> None:
    disk = DiskWatch(tmp_path, reserve_bytes=4096, clock=clock)
    maintenance = Maintenance(History(keep_days=365), clock, database=database, disk=disk)
    maintenance.round()
    remember(database, clock.wall_seconds() - 400 * DAY_SECONDS)
    assert database.flush()
    maintenance.round()
    assert predictions.count(database) == 1
    clock.advance(601)
    maintenance.round()
    assert predictions.count(database) == 0


def test_it_ends_when_told(tmp_path: Path, clock: ManualClock, database: Database) -> None:
    disk = DiskWatch(tmp_path, reserve_bytes=4096, clock=clock)
    maintenance = Maintenance(History(), clock, database=database, disk=disk)
    maintenance.start()
    maintenance.stop()
    assert not maintenance._thread.is_alive()


class _FullDisk(DiskWatch):
    def check(self) -> Level:
        return Level.CRITICAL


def test_a_full_disk_lets_history_go_earlier_and_is_asked_again_within_a_minute(
    tmp_path: Path, clock: ManualClock, database: Database
) -> None:
    now = clock.wall_seconds()
    for days in (1, 5, 100, 200):
        remember(database, now - days * DAY_SECONDS)
    assert database.flush()
    disk = _FullDisk(tmp_path, reserve_bytes=4096, clock=clock)
    history = History(keep_days=365, full_disk_keep_days=90)
    maintenance = Maintenance(history, clock, database=database, disk=disk)
    maintenance.round()
    assert predictions.count(database) == 2
    remember(database, now - 95 * DAY_SECONDS)
    assert database.flush()
    clock.advance(5.0)
    maintenance.round()
    assert predictions.count(database) == 3
    clock.advance(60.0)
    maintenance.round()
    assert predictions.count(database) == 2


def test_kept_inputs_are_swept_right_after_their_predictions(
    tmp_path: Path, clock: ManualClock, database: Database
) -> None:
    remember(database, clock.wall_seconds() - 400 * DAY_SECONDS)
    assert database.flush()
    seen: list[int] = []

    def sweep() -> int:
        seen.append(predictions.count(database))
        return 0

    disk = DiskWatch(tmp_path, reserve_bytes=4096, clock=clock)
    history = History(keep_days=365)
    maintenance = Maintenance(history, clock, database=database, disk=disk, sweep_inputs=sweep)
    maintenance.round()
    assert seen == [0]
