"""A full, read-only or inode-less disk under a running database, and a restart on it."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance import errors
from appliance.clock import SystemClock
from appliance.store import predictions, settings
from appliance.store.database import FILE_NAME, Database
from appliance.store.disk import DiskWatch, Level
from appliance.store.predictions import Filter
from appliance.store.retention import prune
from appliance.store.upkeep import LAST_SEEN_SETTING
from tests.store.conftest import OpenDatabase
from tests.store.examples import NOON, a_prediction, wait_until
from tests.store.small_disk import MEBIBYTE, fill, small_disk

RESERVE_BYTES = 10 * MEBIBYTE


@pytest.fixture
def disk_dir(tmp_path: Path) -> Iterator[Path]:
    with small_disk(tmp_path / "disk", "size=64m,mode=700") as directory:
        yield directory


def _watch(directory: Path) -> DiskWatch:
    return DiskWatch(directory, reserve_bytes=RESERVE_BYTES, clock=SystemClock())


def _open(open_database: OpenDatabase, directory: Path, disk: DiskWatch) -> Database:
    return open_database(path=directory / FILE_NAME, disk=disk, clock=SystemClock())


def _integrity(database: Database) -> object:
    with database.read() as connection:
        return connection.value("PRAGMA integrity_check")


def test_on_a_full_disk_history_pauses_reads_go_on_and_nothing_breaks(
    open_database: OpenDatabase, disk_dir: Path
) -> None:
    disk = _watch(disk_dir)
    database = _open(open_database, disk_dir, disk)
    settings.put(database, "before", 1)
    assert predictions.record(database, a_prediction())
    assert database.flush()
    filler = fill(disk_dir)
    wait_until(lambda: not predictions.record(database, a_prediction(result=b"x" * 4000)))
    assert disk.level() is Level.CRITICAL
    assert settings.get(database, "before") == 1
    assert len(predictions.find(database, Filter()).predictions) >= 1
    settings.put(database, "during", 1)  # the reserve has made room for what matters
    filler.unlink()
    wait_until(lambda: predictions.record(database, a_prediction()))
    assert database.flush()
    assert _integrity(database) == "ok"
    assert settings.get(database, "during") == 1


def test_without_any_room_a_write_is_refused_as_507_and_works_when_there_is(
    open_database: OpenDatabase, disk_dir: Path
) -> None:
    disk = _watch(disk_dir)
    database = _open(open_database, disk_dir, disk)
    settings.put(database, "before", 1)
    fill(disk_dir)
    wait_until(lambda: disk.level() is Level.CRITICAL)
    (disk_dir / "filler-of-the-reserve").mkdir()
    second = fill(disk_dir / "filler-of-the-reserve")
    refused = 0
    for number in range(400):
        try:
            settings.put(database, f"n{number}", "x" * 100_000)
        except errors.InsufficientStorage:
            refused += 1
            break
    assert refused
    assert settings.get(database, "before") == 1
    second.unlink()
    wait_until(lambda: database.status().is_writable)
    settings.put(database, "after", 1)
    assert _integrity(database) == "ok"


def test_a_full_disk_and_a_restart_still_open(open_database: OpenDatabase, disk_dir: Path) -> None:
    database = _open(open_database, disk_dir, _watch(disk_dir))
    settings.put(database, "before", 1)
    database.close()
    filler = fill(disk_dir)
    disk = _watch(disk_dir)
    database = _open(open_database, disk_dir, disk)
    assert settings.get(database, "before") == 1
    assert disk.level() is Level.CRITICAL
    assert not predictions.record(database, a_prediction())
    settings.put(database, "during", 1)
    filler.unlink()
    wait_until(lambda: disk.level() is Level.OK)
    assert (disk_dir / "reserve").stat().st_size == RESERVE_BYTES


def test_on_a_full_disk_retention_frees_rows_and_bytes(
    open_database: OpenDatabase, disk_dir: Path
) -> None:
    disk = _watch(disk_dir)
    database = _open(open_database, disk_dir, disk)
    for number in range(3000):
        predictions.record(
            database, a_prediction(result=b"x" * 4000, received_seconds=NOON + number)
        )
    assert database.flush()
    fill(disk_dir)
    wait_until(lambda: disk.level() is Level.CRITICAL)
    done = prune(database, keep_days=100_000, keep_rows=500, now=NOON)
    assert done.by_count >= 2500
    assert done.freed_bytes > 4 * MEBIBYTE
    assert predictions.count(database) == 500
    assert _integrity(database) == "ok"


def test_a_disk_without_inodes_is_critical(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "size=64m,nr_inodes=200") as directory:
        disk = _watch(directory)
        assert disk.check() is Level.OK
        for number in range(200):
            try:
                (directory / str(number)).touch()
            except OSError:
                break
        assert disk.check() is Level.CRITICAL
        with pytest.raises(errors.InsufficientStorage):
            disk.require(Level.WARN, "an upload")


def test_a_disk_that_turns_read_only_fails_writes_and_serves_reads(
    open_database: OpenDatabase, tmp_path: Path
) -> None:
    """The files are on a read-only disk from the start: a busy one refuses to be remounted."""
    with small_disk(tmp_path / "disk", "size=64m,mode=700") as directory:
        database = _open(open_database, directory, _watch(directory))
        settings.put(database, "before", 1)
        database.close()
        subprocess.run(["mount", "-o", "remount,ro", str(directory)], check=True)
        with pytest.raises(errors.StateUnusable):
            _open(open_database, directory, _watch(directory))
        subprocess.run(["mount", "-o", "remount,rw", str(directory)], check=True)
        database = _open(open_database, directory, _watch(directory))
        assert settings.get(database, "before") == 1
        database.close()


def test_the_log_stays_short_under_writes_and_paged_reads(open_database: OpenDatabase) -> None:
    database = open_database(clock=SystemClock())
    for _ in range(4000):
        predictions.record(database, a_prediction(result=b"x" * 2000))
    assert database.flush()
    reading = predictions.stream(database, Filter())
    next(reading)
    for _ in range(4):
        for _ in range(3000):
            predictions.record(database, a_prediction(result=b"x" * 2000))
        assert database.flush()
    assert database.status().wal_bytes < 64 * MEBIBYTE
    wait_until(lambda: database.status().wal_bytes <= 8 * MEBIBYTE)
    assert sum(1 for _ in reading) == 3999


def test_the_time_is_noted_for_the_next_start(open_database: OpenDatabase) -> None:
    database = open_database()
    wait_until(lambda: settings.get(database, LAST_SEEN_SETTING) is not None)
    assert settings.get(database, LAST_SEEN_SETTING) == 1_790_000_000.0
