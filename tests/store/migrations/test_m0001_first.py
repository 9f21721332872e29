"""Schema 1 refuses rows that make no sense."""

from pathlib import Path

import apsw
import pytest

from appliance.store.connection import Connection, open_writer
from appliance.store.migrations.m0001_first import STATEMENTS, VERSION

PREDICTION = (
    "INSERT INTO predictions (id, received_seconds, model, version, task, key_id, key_name,"
    " content_type, input_bytes, input_sha256, result, duration_ms, request_id)"
    " VALUES ('a', 1.0, 'm', {version}, 't', 'k', 'n', 'c', {size}, '', x'', 1.0, 'r')"
)


@pytest.fixture
def connection(tmp_path: Path) -> Connection:
    opened = open_writer(tmp_path / "t.db", quota_bytes=1 << 24)
    for statement in STATEMENTS:
        opened.sql(statement)
    return opened


def test_it_is_the_first_schema() -> None:
    assert VERSION == 1


@pytest.mark.parametrize(
    "statement",
    [
        PREDICTION.format(version=-1, size=1),
        PREDICTION.format(version=1, size=-1),
        PREDICTION.format(version="'one'", size=1),
        "INSERT INTO audit VALUES (0, 1.0, 'a', 'b', 'c', '{}', '', zeroblob(32), zeroblob(32))",
        "INSERT INTO audit VALUES (1, 1.0, 'a', 'b', 'c', '{}', '', zeroblob(31), zeroblob(32))",
        "INSERT INTO model_versions VALUES ('m', 0, 'ready', '', '', 1, 1.0)",
        "INSERT INTO model_switches VALUES (1, 'm', 0, NULL, 1.0, 'a')",
        "INSERT INTO settings VALUES ('a', NULL)",
        "INSERT INTO settings VALUES (NULL, '1')",
    ],
)
def test_a_row_that_makes_no_sense_is_refused(connection: Connection, statement: str) -> None:
    with pytest.raises(apsw.ConstraintError):
        connection.sql(statement)


def test_a_number_of_a_prediction_is_never_given_twice(connection: Connection) -> None:
    good = PREDICTION.format(version=1, size=1)
    connection.sql(good)
    connection.sql("DELETE FROM predictions")
    connection.sql(good)
    assert connection.value("SELECT sequence FROM predictions") == 2
