"""A copy is told apart from something that only looks like one."""

from pathlib import Path

import apsw
import pytest

from appliance.errors import BackupInvalid
from appliance.store import predictions, settings
from appliance.store.copies import check_copy, copy_database, count_tables
from appliance.store.database import FILE_NAME, Database
from tests.store.examples import a_prediction


@pytest.fixture
def filled(database: Database) -> Database:
    settings.put(database, "a", 1)
    for _ in range(30):
        predictions.record(database, a_prediction())
    assert database.flush()
    return database


def test_a_copy_of_a_live_database_has_all_its_rows(filled: Database, tmp_path: Path) -> None:
    copy_database(filled.path, tmp_path / "copy.db")
    _, counts = check_copy(tmp_path / "copy.db")
    with filled.read() as connection:
        assert counts == count_tables(connection)
    assert (counts["predictions"].rows, counts["predictions"].max_id) == (30, 30)
    assert (tmp_path / "copy.db").stat().st_mode & 0o777 == 0o600
    assert [one.name for one in tmp_path.glob("copy.db*")] == ["copy.db"]


def test_a_copy_never_takes_the_place_of_a_file(filled: Database, tmp_path: Path) -> None:
    (tmp_path / "copy.db").write_bytes(b"mine")
    with pytest.raises(FileExistsError):
        copy_database(filled.path, tmp_path / "copy.db")
    assert (tmp_path / "copy.db").read_bytes() == b"mine"


def test_a_copy_that_fails_is_removed(tmp_path: Path) -> None:
    (tmp_path / "junk.db").write_bytes(b"no database" * 1000)
    with pytest.raises(apsw.Error):
        copy_database(tmp_path / "junk.db", tmp_path / "copy.db")
    assert not (tmp_path / "copy.db").exists()


@pytest.mark.parametrize("content", [b"", b"junk" * 5000])
def test_an_empty_or_foreign_file_is_no_copy(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "copy.db").write_bytes(content)
    with pytest.raises(BackupInvalid):
        check_copy(tmp_path / "copy.db")


def test_a_sound_database_of_another_program_is_no_copy(tmp_path: Path) -> None:
    connection = apsw.Connection(str(tmp_path / "copy.db"))
    connection.execute("CREATE TABLE t (a)")
    connection.close()
    with pytest.raises(BackupInvalid, match="not a database of this appliance"):
        check_copy(tmp_path / "copy.db")


def test_damage_inside_is_found(filled: Database, tmp_path: Path) -> None:
    copy_database(filled.path, tmp_path / "copy.db")
    content = bytearray((tmp_path / "copy.db").read_bytes())
    content[4096 * 5 : 4096 * 6] = b"\xff" * 4096
    (tmp_path / "copy.db").write_bytes(content)
    with pytest.raises(BackupInvalid, match="damaged"):
        check_copy(tmp_path / "copy.db")


def test_a_missing_file_is_told_in_words(tmp_path: Path) -> None:
    with pytest.raises(BackupInvalid, match="cannot be opened"):
        check_copy(tmp_path / FILE_NAME)
