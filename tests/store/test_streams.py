"""Streams come back from the database as they were kept."""

import msgspec
import pytest

from appliance.errors import NotFound
from appliance.identifiers import new_id
from appliance.store import streams
from appliance.store.database import Database
from appliance.store.streams import StoredStream
from tests.store.conftest import OpenDatabase


def stream(**changes: object) -> StoredStream:
    fields: dict[str, object] = {
        "id": new_id(),
        "model": "step-detector",
        "version": 1,
        "task": "step-detection",
        "params": {"rate_hz": "100"},
        "device": "left pocket",
        "key_id": "abc123",
        "key_name": "phone",
        "created_seconds": 1000.0,
        "last_seconds": 1000.0,
        **changes,
    }
    return StoredStream(**fields)  # type: ignore[arg-type]


def test_a_stream_comes_back_after_a_restart_as_it_was_kept(open_database: OpenDatabase) -> None:
    database = open_database()
    kept = stream(sequence=7, chunk_digest=b"\x00\xff", state=b"\x93\x00", answer=b"{}", events=3)
    streams.keep(database, kept)
    database.close()
    assert streams.get(open_database(), kept.id) == kept


def test_the_last_word_on_a_stream_counts(database: Database) -> None:
    first = stream()
    streams.keep(database, first)
    second = msgspec.structs.replace(first, sequence=1, chunks=1, state=None, end_answer=b"[]")
    streams.keep(database, second)
    assert streams.get(database, first.id) == second
    light = msgspec.structs.replace(second, chunk_digest=b"", answer=b"", end_answer=b"")
    assert streams.find(database) == (light,), "a list comes without state and answers"


def test_an_unknown_stream_is_not_found(database: Database) -> None:
    with pytest.raises(NotFound, match="no stream"):
        streams.get(database, "x" * 100)


def test_streams_are_found_newest_first_by_key_and_page(database: Database) -> None:
    kept = [stream(key_id="abc123" if number % 2 else "def456") for number in range(6)]
    for one in kept:
        streams.keep(database, one)
    newest = [one.id for one in reversed(kept)]
    assert [one.id for one in streams.find(database)] == newest
    assert [one.id for one in streams.find(database, limit=2, before_id=newest[1])] == newest[2:4]
    assert {one.key_id for one in streams.find(database, key_id="abc123")} == {"abc123"}


def test_the_open_stream_of_a_device_is_its_newest_that_has_not_ended(database: Database) -> None:
    old, new, ended = stream(), stream(), stream(ended_seconds=1500.0)
    for one in (old, new, ended, stream(device="wrist"), stream(key_id="def456")):
        streams.keep(database, one)
    found = streams.find_open(database, key_id="abc123", device="left pocket")
    assert found == new
    assert streams.find_open(database, key_id="abc123", device="ankle") is None


def test_open_and_idle_streams_are_told_from_ended_ones(database: Database) -> None:
    idle, fresh = stream(last_seconds=500.0), stream(last_seconds=900.0)
    ended = stream(last_seconds=100.0, ended_seconds=200.0)
    for one in (idle, fresh, ended):
        streams.keep(database, one)
    assert streams.count_open(database, key_id=idle.key_id) == (2, 2)
    assert streams.count_open(database, key_id="another") == (2, 0)
    assert streams.idle_since(database, 600.0) == {idle.id: 500.0}


def test_only_what_ended_before_a_time_is_removed(database: Database) -> None:
    gone, kept, still_open = stream(ended_seconds=100.0), stream(ended_seconds=300.0), stream()
    for one in (gone, kept, still_open):
        streams.keep(database, one)
    assert streams.remove_ended_before(database, 200.0) == 1
    assert {one.id for one in streams.find(database)} == {kept.id, still_open.id}
