"""The table refuses what no stream can be; test_migrate.py runs the migration itself."""

import msgspec
import pytest

from appliance.errors import Conflict
from appliance.store import streams
from appliance.store.database import Database
from appliance.store.migrations import m0002_streams
from tests.store.test_streams import stream


@pytest.mark.parametrize(
    "changes", [{"version": 0}, {"sequence": -1}, {"events": -1}, {"chunks": -1}]
)
def test_numbers_that_cannot_be_are_refused_by_the_database_too(
    database: Database, changes: dict[str, int]
) -> None:
    with pytest.raises(Conflict):
        streams.keep(database, msgspec.structs.replace(stream(), **changes))
    assert streams.find(database) == ()


def test_idle_and_ended_streams_are_found_by_an_index(database: Database) -> None:
    assert m0002_streams.VERSION == 2
    with database.read() as connection:
        plan = connection.sql(
            "EXPLAIN QUERY PLAN SELECT id FROM streams"
            " WHERE ended_seconds IS NULL AND last_seconds < 5"
        )
    assert "streams_open" in str(plan)
