"""The audit trail: no change to it goes unnoticed."""

import threading
from pathlib import Path

import apsw
import pytest

from appliance import errors
from appliance.store import audit, settings
from appliance.store.connection import Connection
from appliance.store.database import FILE_NAME, Database
from tests.store.conftest import OpenDatabase
from tests.store.examples import NOON


def _act(database: Database, subject: str = "k1") -> audit.AuditRow:
    return audit.append(
        database,
        at_seconds=NOON,
        actor="admin",
        action="keys.create",
        subject=subject,
        detail={"role": "device"},
        address="10.0.0.1",
    )


def _edit(state_dir: Path, statement: str) -> None:
    """As somebody with the sqlite3 shell would."""
    connection = apsw.Connection(str(state_dir / FILE_NAME))
    connection.execute(statement)
    connection.close()


def test_an_empty_trail_is_sound(database: Database) -> None:
    assert audit.verify(database) is None


def test_rows_are_numbered_chained_and_read_newest_first(database: Database) -> None:
    made = [_act(database, f"k{number}") for number in range(5)]
    assert [row.sequence for row in made] == [1, 2, 3, 4, 5]
    assert audit.rows(database) == tuple(reversed(made))
    assert audit.rows(database, before_sequence=3, limit=1) == (made[1],)
    assert made[4].previous_hash == made[3].hash
    assert audit.verify(database, head_file=database.path.parent / audit.HEAD_FILE) is None


def test_many_at_once_make_one_chain(database: Database) -> None:
    threads = [
        threading.Thread(target=lambda: [_act(database) for _ in range(10)]) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(audit.rows(database)) == 80
    assert audit.verify(database) is None


@pytest.mark.parametrize(
    ("statement", "sequence"),
    [
        ("UPDATE audit SET actor = 'nobody' WHERE sequence = 3", 3),
        ("UPDATE audit SET detail = '{}' WHERE sequence = 1", 1),
        ("UPDATE audit SET at_seconds = at_seconds + 1 WHERE sequence = 5", 5),
        ("DELETE FROM audit WHERE sequence = 2", 2),
        ("DELETE FROM audit WHERE sequence > 3", 4),
        ("DELETE FROM audit", 1),
        ("UPDATE audit SET sequence = sequence + 10 WHERE sequence = 4", 4),
        ("UPDATE audit SET hash = randomblob(32) WHERE sequence = 2", 2),
    ],
)
def test_an_edited_row_is_named(
    open_database: OpenDatabase, state_dir: Path, statement: str, sequence: int
) -> None:
    database = open_database()
    for number in range(5):
        _act(database, f"k{number}")
    database.close()
    _edit(state_dir, statement)
    broken = audit.verify(open_database())
    assert broken is not None
    assert broken.sequence == sequence


def test_a_rewritten_chain_is_noticed_by_the_noted_hash(
    open_database: OpenDatabase, state_dir: Path
) -> None:
    database = open_database()
    row = _act(database)
    database.close()
    forged = audit.seal(
        audit.AuditRow(
            **{name: getattr(row, name) for name in audit._FIELDS} | {"actor": "nobody"}
        )
    )
    _edit(state_dir, f"UPDATE audit SET actor = 'nobody', hash = x'{forged.hex()}'")
    broken = audit.verify(open_database())
    assert broken is not None
    assert (broken.sequence, "noted" in broken.reason) == (1, True)


def test_rows_lost_with_the_write_ahead_log_are_missed(
    open_database: OpenDatabase, state_dir: Path, tmp_path: Path
) -> None:
    """After kill -9 with a garbled log SQLite opens without a word; the note beside it speaks."""
    database = open_database()
    with database.read() as reader:
        reader.sql("BEGIN")
        reader.sql("SELECT count(*) FROM audit")  # holds the log back from the main file
        for number in range(5):
            _act(database, f"k{number}")
        survivor = tmp_path / "survivor"
        survivor.mkdir()
        for name in (FILE_NAME, f"{FILE_NAME}-wal", audit.HEAD_FILE):
            (survivor / name).write_bytes((state_dir / name).read_bytes())
        reader.sql("COMMIT")
    log = survivor / f"{FILE_NAME}-wal"
    content = bytearray(log.read_bytes())
    content[len(content) // 2] ^= 0xFF
    log.write_bytes(content)
    (survivor / FILE_NAME).chmod(0o600)
    reopened = open_database(path=survivor / FILE_NAME)
    with reopened.read() as connection:
        assert connection.value("PRAGMA integrity_check") == "ok"
    broken = audit.verify(reopened, head_file=survivor / audit.HEAD_FILE)
    assert broken is not None
    assert broken.reason.startswith("rows ")


def test_an_act_that_fails_leaves_no_trace(database: Database) -> None:
    def work(connection: Connection) -> None:
        settings.put(connection, "a", 1)
        audit.append(connection, at_seconds=NOON, actor="x", action="y", subject="z")
        raise errors.Conflict("no")

    with pytest.raises(errors.Conflict):
        database.write(work)
    assert audit.rows(database) == ()
    assert not (database.path.parent / audit.HEAD_FILE).exists()
