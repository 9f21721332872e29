"""The schema changes wholly or not at all, and never without a copy."""

import os
import sys
from pathlib import Path

import apsw
import pytest

from appliance import errors
from appliance.clock import ManualClock
from appliance.store import predictions, settings
from appliance.store.connection import open_writer
from appliance.store.copies import check_copy, count_tables
from appliance.store.database import FILE_NAME
from appliance.store.migrate import MOST_COPIES, PRE_UPGRADE_DIRECTORY, migrate, newest_copy
from appliance.store.migrations import LATEST, MIGRATIONS, Migration
from tests.store.conftest import MEBIBYTE, OpenDatabase
from tests.store.examples import a_prediction
from tests.store.kill import require_strace, run_until

NEXT = Migration(
    LATEST + 1,
    (
        "ALTER TABLE predictions ADD COLUMN place TEXT",
        "CREATE TABLE places (name TEXT PRIMARY KEY NOT NULL) STRICT",
        "INSERT INTO places SELECT DISTINCT model FROM predictions",
    ),
)
BROKEN = Migration(LATEST + 1, (*NEXT.statements, "INSERT INTO missing VALUES (1)"))


@pytest.fixture
def old(open_database: OpenDatabase) -> Path:
    """A database of the schema before, with rows."""
    database = open_database()
    settings.put(database, "a", 1)
    for _ in range(50):
        predictions.record(database, a_prediction())
    database.close()
    return database.path


def _upgrade(path: Path, step: Migration) -> None:
    connection = open_writer(path, quota_bytes=64 * MEBIBYTE)
    try:
        migrate(connection, clock=ManualClock(), migrations=(*MIGRATIONS, step))
    finally:
        connection.close()


def _copies(path: Path) -> list[Path]:
    return sorted((path.parent / PRE_UPGRADE_DIRECTORY).iterdir())


def test_migrations_are_numbered_without_gaps() -> None:
    assert [step.version for step in MIGRATIONS] == list(range(1, len(MIGRATIONS) + 1))


def test_every_table_is_strict(open_database: OpenDatabase) -> None:
    with open_database().read() as connection:
        tables = connection.sql(
            "SELECT name, strict FROM pragma_table_list"
            " WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
        )
    assert tables
    assert all(strict for _, strict in tables)


def test_a_new_database_needs_no_copy(open_database: OpenDatabase, state_dir: Path) -> None:
    open_database()
    assert not (state_dir / PRE_UPGRADE_DIRECTORY).exists()


def test_before_a_change_a_checked_copy_is_kept(old: Path) -> None:
    _upgrade(old, NEXT)
    (copy,) = _copies(old)
    assert copy.name.startswith(f"appliance-s{LATEST}-")
    schema, counts = check_copy(copy)
    assert (schema, counts["predictions"].rows) == (LATEST, 50)
    assert copy.stat().st_mode & 0o777 == 0o600


def test_a_change_keeps_the_rows(old: Path) -> None:
    _upgrade(old, NEXT)
    schema, counts = check_copy(old)
    assert (schema, counts["predictions"].rows, counts["keys"].rows) == (LATEST + 1, 50, 0)


def test_a_change_that_fails_leaves_the_database_as_it_was(
    old: Path, open_database: OpenDatabase
) -> None:
    with pytest.raises(errors.MigrationFailed, match="unchanged") as failed:
        _upgrade(old, BROKEN)
    assert failed.value.exit_status == 78, "systemd must not try it again and again"
    assert str(_copies(old)[0]) in failed.value.detail
    assert check_copy(old)[0] == LATEST
    assert settings.get(open_database(), "a") == 1


def test_without_a_sound_copy_there_is_no_change(old: Path) -> None:
    (old.parent / PRE_UPGRADE_DIRECTORY).write_text("in the way")
    with pytest.raises(errors.StateUnusable, match="cannot be made"):
        _upgrade(old, NEXT)
    assert check_copy(old)[0] == LATEST


UPGRADE = """
import sys
from pathlib import Path
from tests.store import test_migrate
test_migrate._upgrade(Path(sys.argv[1]), test_migrate.NEXT)
"""


@pytest.mark.parametrize(
    ("system_call", "stride"),
    [("pwrite64", 17), ("fdatasync", 2), ("fsync", 1), ("rename", 1), ("unlink", 3)],
)
def test_a_kill_at_any_step_leaves_the_old_or_the_new_schema(
    old: Path, tmp_path: Path, system_call: str, stride: int
) -> None:
    """C-54: each disk operation in turn is the last one the process makes."""
    require_strace()
    pristine = {path.name: path.read_bytes() for path in old.parent.iterdir()}
    number, has_finished = 1, False
    while not has_finished and number <= 500:
        state = tmp_path / f"{system_call}-{number}"
        state.mkdir()
        for name, content in pristine.items():
            (state / name).write_bytes(content)
            (state / name).chmod(0o600)
        command = [sys.executable, "-c", UPGRADE, str(state / FILE_NAME)]
        has_finished = run_until(system_call, number, command) == 0
        _require_old_or_new(state / FILE_NAME)
        number += stride
    assert has_finished


def _require_old_or_new(path: Path) -> None:
    connection = open_writer(path, quota_bytes=64 * MEBIBYTE)
    schema = connection.value("PRAGMA user_version")
    assert connection.value("PRAGMA integrity_check") == "ok"
    assert count_tables(connection)["predictions"].rows == 50
    has_places = connection.value("SELECT 1 FROM sqlite_schema WHERE name = 'places'") == 1
    connection.close()
    assert (schema, has_places) in ((LATEST, False), (LATEST + 1, True))
    if has_places:
        assert any(check_copy(copy)[0] == LATEST for copy in _sound_copies(path))


def _sound_copies(path: Path) -> list[Path]:
    return [copy for copy in _copies(path) if copy.suffix == ".db"]


def test_an_upgrade_tried_again_and_again_leaves_the_copies_of_other_schemas(old: Path) -> None:
    directory = old.parent / PRE_UPGRADE_DIRECTORY
    directory.mkdir()
    earlier = directory / "appliance-s1-20250101T000000Z.db"
    earlier.write_bytes(b"old")
    os.utime(earlier, (1, 1))
    for _ in range(MOST_COPIES + 1):
        with pytest.raises(errors.MigrationFailed):
            _upgrade(old, BROKEN)
    assert earlier.exists()
    assert len(_sound_copies(old)) <= MOST_COPIES + 1


def test_a_database_of_a_newer_release_is_refused_with_the_way_back(old: Path) -> None:
    _upgrade(old, NEXT)
    (copy,) = _copies(old)
    connection = open_writer(old, quota_bytes=64 * MEBIBYTE)
    with pytest.raises(errors.SchemaTooNew) as refused:
        migrate(connection, clock=ManualClock())
    connection.close()
    assert f"appliance restore {copy}" in refused.value.detail


def test_without_a_copy_the_way_back_is_a_backup(tmp_path: Path) -> None:
    assert newest_copy(tmp_path / "none", up_to_schema=LATEST) is None


def test_an_sqlite_file_of_another_program_is_not_touched(
    open_database: OpenDatabase, state_dir: Path
) -> None:
    path = state_dir / FILE_NAME
    other = apsw.Connection(str(path))
    other.execute("CREATE TABLE other (a); PRAGMA user_version = 7")
    other.close()
    before = path.read_bytes()
    os.chmod(path, 0o600)
    with pytest.raises(errors.StateUnusable):
        open_database()
    assert path.read_bytes() == before


def test_only_the_newest_copies_are_kept(old: Path) -> None:
    directory = old.parent / PRE_UPGRADE_DIRECTORY
    directory.mkdir()
    (directory / "notes.txt").write_text("an admin's own")
    for number in range(MOST_COPIES + 2):
        copy = directory / f"appliance-s1-2025010{number}T000000Z.db"
        copy.write_bytes(b"old")
        os.utime(copy, (number, number))
    _upgrade(old, NEXT)
    names = sorted(path.name for path in _sound_copies(old))
    assert len(names) == MOST_COPIES
    assert names[-1].startswith(f"appliance-s{LATEST}-")
    assert names[0] == "appliance-s1-20250103T000000Z.db"
    assert (directory / "notes.txt").exists()
