"""The settings every connection has, and what they are for: rows that survive a power cut."""

import contextlib
import random
import threading
from pathlib import Path

import apsw
import pytest

from appliance import errors
from appliance.clock import ManualClock
from appliance.store import settings
from appliance.store.connection import Connection, open_reader, open_writer
from appliance.store.database import FILE_NAME, Database
from tests.store.conftest import MEBIBYTE, OpenDatabase
from tests.store.power_cut import PowerCutLayer


@pytest.fixture
def writer(tmp_path: Path) -> Connection:
    return open_writer(tmp_path / FILE_NAME, quota_bytes=64 * MEBIBYTE)


@pytest.mark.parametrize(
    ("pragma", "value"),
    [
        ("journal_mode", "wal"),
        ("synchronous", 2),
        ("foreign_keys", 1),
        ("auto_vacuum", 2),
        ("wal_autocheckpoint", 1000),
        ("journal_size_limit", 64 * MEBIBYTE),
        ("temp_store", 2),
        ("cache_size", -16000),
        ("trusted_schema", 0),
        ("cell_size_check", 1),
        ("mmap_size", 0),
        ("max_page_count", 64 * MEBIBYTE // 4096),
    ],
)
def test_the_writer_has_the_settings_durability_needs(
    writer: Connection, pragma: str, value: object
) -> None:
    assert writer.value(f"PRAGMA {pragma}") == value


def test_the_sqlite_in_use_has_the_fix_for_the_wal_reset_bug() -> None:
    assert apsw.sqlite_lib_version() >= "3.51.3"


def test_a_reader_refuses_to_write(writer: Connection) -> None:
    writer.sql("CREATE TABLE t (a INTEGER) STRICT")
    reader = open_reader(writer.path)
    with pytest.raises(apsw.ReadOnlyError):
        reader.sql("INSERT INTO t VALUES (1)")
    assert reader.value("PRAGMA wal_autocheckpoint") == 0
    reader.close()


@pytest.mark.parametrize("seed", range(8))
def test_a_power_cut_loses_nothing_that_was_acknowledged(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    layer = PowerCutLayer(f"power-cut-{seed}")
    state = tmp_path / "state"
    state.mkdir()
    database = Database.open(
        state / FILE_NAME,
        clock=ManualClock(),
        quota_bytes=64 * MEBIBYTE,
        queue_rows=100,
        vfs=layer.layer_name,
    )
    acknowledged: list[list[int]] = [[], []]

    def work(lane: int) -> None:
        for number in range(25):
            settings.put(database, f"{lane}-{number}", "x" * chance.randrange(6000))
            acknowledged[lane].append(number)

    lanes = [threading.Thread(target=work, args=(lane,)) for lane in range(2)]
    for thread in lanes:
        thread.start()
    cuts = []
    while any(thread.is_alive() for thread in lanes):
        # The lock makes the moment fall between two operations of the disk, wherever that is.
        with layer.lock:
            expected = [list(numbers) for numbers in acknowledged]
            layer.cut(state, tmp_path / f"cut-{len(cuts)}", chance)
        cuts.append(expected)
        lanes[0].join(chance.random() * 0.02)
    database.close()
    for number, expected in enumerate(cuts):
        _require_all(tmp_path / f"cut-{number}", expected)
    layer.unregister()


def _require_all(directory: Path, expected: list[list[int]]) -> None:
    database = Database.open(
        directory / FILE_NAME, clock=ManualClock(), quota_bytes=64 * MEBIBYTE, queue_rows=100
    )
    with contextlib.closing(database), database.read() as connection:
        assert connection.value("PRAGMA integrity_check") == "ok"
        found = {row[0] for row in connection.sql("SELECT name FROM settings")}
    missing = {
        f"{lane}-{number}" for lane, numbers in enumerate(expected) for number in numbers
    } - found
    assert not missing


def test_the_power_cut_test_would_notice_a_weaker_setting(tmp_path: Path) -> None:
    """With synchronous=NORMAL the same cuts must lose rows, or the layer proves nothing."""
    layer = PowerCutLayer("power-cut-weak")
    state = tmp_path / "state"
    state.mkdir()
    writer = open_writer(state / FILE_NAME, quota_bytes=64 * MEBIBYTE, vfs=layer.layer_name)
    writer.sql("PRAGMA synchronous = NORMAL")
    writer.sql("CREATE TABLE t (a INTEGER) STRICT")
    writer.sql("PRAGMA wal_checkpoint(TRUNCATE)")
    lost = 0
    for number in range(20):
        writer.sql("INSERT INTO t VALUES (?)", (number,))
        layer.cut(state, tmp_path / f"cut-{number}", random.Random(number))
        survivor = open_reader(tmp_path / f"cut-{number}" / FILE_NAME)
        lost += survivor.value("SELECT count(*) FROM t") < number + 1
        survivor.close()
    writer.close()
    layer.unregister()
    assert lost > 0


def test_a_connection_of_a_closed_database_refuses_to_read(open_database: OpenDatabase) -> None:
    database = open_database()
    database.close()
    with pytest.raises(errors.ShuttingDown), database.read():
        pass
