"""Opening, refusing to open, status."""

import os
from pathlib import Path

import apsw
import pytest

from appliance import errors
from appliance.clock import ManualClock
from appliance.store import predictions, settings
from appliance.store.connection import PAGE_BYTES
from appliance.store.database import FILE_NAME, Database
from appliance.store.migrations import LATEST
from tests.store.conftest import MEBIBYTE, OpenDatabase
from tests.store.examples import a_prediction, wait_until


def test_a_new_database_is_private_and_of_the_latest_schema(database: Database) -> None:
    assert database.path.stat().st_mode & 0o777 == 0o600
    status = database.status()
    assert (status.schema, status.state, status.is_writable) == (LATEST, "ok", True)


def test_what_was_written_is_there_after_reopening(open_database: OpenDatabase) -> None:
    first = open_database()
    settings.put(first, "a", [1, "é", None])
    first.close()
    assert settings.get(open_database(), "a") == [1, "é", None]


def test_a_clean_stop_leaves_one_file(open_database: OpenDatabase, state_dir: Path) -> None:
    database = open_database()
    settings.put(database, "a", 1)
    database.close()
    assert [path.name for path in state_dir.iterdir()] == [FILE_NAME]


def test_a_newer_schema_is_refused_with_both_numbers_and_a_way_out(
    open_database: OpenDatabase, state_dir: Path
) -> None:
    open_database().close()
    connection = apsw.Connection(str(state_dir / FILE_NAME))
    connection.execute(f"PRAGMA user_version = {LATEST + 41}")
    connection.close()
    with pytest.raises(errors.SchemaTooNew) as caught:
        open_database()
    assert f"schema {LATEST + 41}" in caught.value.detail
    assert f"up to {LATEST}" in caught.value.detail
    assert "backup" in caught.value.detail
    assert caught.value.exit_status == 78


def test_another_programs_database_is_refused(
    open_database: OpenDatabase, state_dir: Path
) -> None:
    connection = apsw.Connection(str(state_dir / FILE_NAME))
    connection.execute("CREATE TABLE other (a)")
    connection.close()
    os.chmod(state_dir / FILE_NAME, 0o600)
    with pytest.raises(errors.StateUnusable, match="another program"):
        open_database()


@pytest.mark.parametrize("mode", [0o644, 0o660, 0o400])
def test_a_file_with_the_wrong_mode_is_refused_with_the_command_that_helps(
    open_database: OpenDatabase, state_dir: Path, mode: int
) -> None:
    open_database().close()
    os.chmod(state_dir / FILE_NAME, mode)
    with pytest.raises(errors.StateUnusable, match=f"mode 0{mode:o}.*chmod 600"):
        open_database()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_a_file_of_another_user_is_refused_by_name(
    open_database: OpenDatabase, state_dir: Path
) -> None:
    open_database().close()
    os.chown(state_dir / FILE_NAME, 12345, -1)
    with pytest.raises(errors.StateUnusable, match="belongs to user 12345"):
        open_database()


def test_a_link_in_the_place_of_the_file_is_refused(
    open_database: OpenDatabase, state_dir: Path, tmp_path: Path
) -> None:
    (state_dir / FILE_NAME).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(errors.StateUnusable, match="regular file"):
        open_database()


def test_a_missing_directory_is_told_in_words(open_database: OpenDatabase, tmp_path: Path) -> None:
    with pytest.raises(errors.StateUnusable, match="No such file"):
        open_database(path=tmp_path / "missing" / FILE_NAME)


def test_garbage_left_in_the_shared_memory_file_does_not_matter(
    open_database: OpenDatabase, state_dir: Path
) -> None:
    database = open_database()
    settings.put(database, "a", 1)
    database.close()
    (state_dir / f"{FILE_NAME}-shm").write_bytes(os.urandom(32768))
    assert settings.get(open_database(), "a") == 1


def test_the_status_tells_sizes_and_ages(open_database: OpenDatabase, clock: ManualClock) -> None:
    database = open_database()
    settings.put(database, "a", "x" * 10_000)
    clock.advance(5)
    status = database.status()
    assert status.bytes > 0
    assert status.wal_bytes > 10_000
    assert status.last_commit_seconds_ago == 5
    assert (status.queue_rows, status.lost_rows, status.last_error) == (0, 0, "")


def test_at_the_quota_the_oldest_history_makes_room(open_database: OpenDatabase) -> None:
    quota_bytes = 4 * MEBIBYTE
    database = open_database(quota_bytes=quota_bytes)
    made = 0
    for _ in range(30):
        for _ in range(100):
            made += predictions.record(
                database, a_prediction(result=b"x" * 3000, received_seconds=float(made))
            )
        assert database.flush()
    settings.put(database, "a", "x" * 100_000)
    kept = [one.received_seconds for one in predictions.stream(database, predictions.Filter())]
    assert kept == [float(number) for number in range(made - 1, made - 1 - len(kept), -1)]
    assert 100 < len(kept) < made
    assert database.status().bytes <= quota_bytes
    assert (database.status().lost_rows, database.status().state) == (0, "ok")


def test_a_quota_full_of_other_things_is_told_as_507(open_database: OpenDatabase) -> None:
    database = open_database(quota_bytes=MEBIBYTE)
    with pytest.raises(errors.InsufficientStorage):
        settings.put(database, "big", "x" * 2 * MEBIBYTE)
    settings.put(database, "small", "x" * PAGE_BYTES)
    assert settings.get(database, "big") is None
    wait_until(lambda: database.status().is_writable)
