"""Streams as they are kept: enough after every chunk to go on after any crash."""

from typing import Any

import msgspec

from appliance import errors
from appliance.store import predictions
from appliance.store.connection import Connection, Store
from appliance.store.database import Database
from appliance.store.predictions import Prediction
from appliance.store.tables import StreamRow


class StoredStream(msgspec.Struct, frozen=True, kw_only=True):
    """One stream after its last answered chunk.

    `sequence` is that chunk's number, `chunk_digest` tells whether a repeated chunk is the same,
    `answer` is what was answered to it and `end_answer` to the end; `state` is the task's own
    (None: a fresh session). Times are seconds since 1970 UTC.
    """

    id: str
    model: str
    version: int
    task: str
    params: dict[str, str]
    device: str = ""
    key_id: str
    key_name: str
    created_seconds: float
    last_seconds: float
    ended_seconds: float | None = None
    end_reason: str = ""
    sequence: int = 0
    chunk_digest: bytes = b""
    state: bytes | None = None
    answer: bytes = b""
    end_answer: bytes = b""
    chunks: int = 0
    input_bytes: int = 0
    events: int = 0
    restarts: int = 0


_FIELDS: tuple[str, ...] = StoredStream.__struct_fields__
#: What a list tells; states and answers may have megabytes.
_LISTED = tuple(
    name for name in _FIELDS if name not in ("chunk_digest", "state", "answer", "end_answer")
)
_COLUMNS = tuple(getattr(StreamRow, name) for name in _LISTED)
_NAMES, _MARKS = ", ".join(_FIELDS), ", ".join("?" for _ in _FIELDS)
# Only names of our own fields are put together here. The row of one chunk is written and read at
# each chunk, where building a query with Peewee would take as long as the rest.
_REPLACE = f"INSERT OR REPLACE INTO streams ({_NAMES}) VALUES ({_MARKS})"
_GET = f"SELECT {_NAMES} FROM streams WHERE id = ?"


def keep(
    database: Database, stream: StoredStream, *, prediction: Prediction | None = None
) -> None:
    """Given a stream as it now is, keep it durably; return after COMMIT.

    A `prediction` goes into the history in the same transaction: either both are there or none.
    """
    values = _values(stream)

    def work(connection: Connection) -> None:
        connection.sql(_REPLACE, values)
        if prediction is not None:
            predictions.add(connection, prediction)

    database.write(work)


def get(store: Store, stream_id: str) -> StoredStream:
    """Given an id, return the stream; raise NotFound when there is none."""
    with store.read() as connection:
        rows = connection.sql(_GET, (stream_id,))
    if not rows:
        raise errors.NotFound(f"There is no stream {stream_id[:64]!r}.")
    return _stream(rows[0])


def find(
    store: Store,
    *,
    key_id: str | None = None,
    models: tuple[str, ...] = (),
    before_id: str | None = None,
    limit: int = 100,
) -> tuple[StoredStream, ...]:
    """Return streams, newest first, of one key or all and of some models or all (empty).

    Ids sort by time, so `before_id` pages. They come without state and answers.
    """
    most = max(1, min(limit, 1000))
    query = StreamRow.select(*_COLUMNS).order_by(StreamRow.id.desc()).limit(most)
    if key_id is not None:
        query = query.where(StreamRow.key_id == key_id)
    if models:
        query = query.where(StreamRow.model.in_(models))
    if before_id is not None:
        query = query.where(StreamRow.id < before_id)
    with store.read() as connection:
        return tuple(_stream(row, _LISTED) for row in connection.rows(query))


def find_open(store: Store, *, key_id: str, device: str) -> StoredStream | None:
    """Given a key and a device's name, return its newest stream that has not ended, or None.

    It comes without state and answers.
    """
    query = (
        StreamRow.select(*_COLUMNS)
        .where(
            StreamRow.ended_seconds.is_null(),
            StreamRow.key_id == key_id,
            StreamRow.device == device,
        )
        .order_by(StreamRow.id.desc())
        .limit(1)
    )
    with store.read() as connection:
        return next((_stream(row, _LISTED) for row in connection.rows(query)), None)


def count_open(store: Store, *, key_id: str) -> tuple[int, int]:
    """Given a key, return how many streams have not ended, of all keys and of that one."""
    counted = (
        "SELECT count(*), coalesce(sum(key_id = ?), 0) FROM streams WHERE ended_seconds IS NULL"
    )
    with store.read() as connection:
        of_all, of_key = connection.sql(counted, (key_id,))[0]
    return int(of_all), int(of_key)


def idle_since(store: Store, seconds: float) -> dict[str, float]:
    """Given a wall time, return the ids of open streams that got nothing since, and their last."""
    query = StreamRow.select(StreamRow.id, StreamRow.last_seconds).where(
        StreamRow.ended_seconds.is_null(), StreamRow.last_seconds < seconds
    )
    with store.read() as connection:
        return {row[0]: row[1] for row in connection.rows(query)}


def remove_ended_before(database: Database, seconds: float) -> int:
    """Given a wall time, delete the streams that ended before it; return how many."""

    def work(connection: Connection) -> int:
        return connection.run(StreamRow.delete().where(StreamRow.ended_seconds < seconds))

    return database.write(work)


def _values(stream: StoredStream) -> tuple[Any, ...]:
    values = msgspec.structs.asdict(stream)
    values["params"] = msgspec.json.encode(stream.params).decode()
    return tuple(values[name] for name in _FIELDS)


def _stream(row: tuple[Any, ...], names: tuple[str, ...] = _FIELDS) -> StoredStream:
    values = dict(zip(names, row, strict=True))
    values["params"] = msgspec.json.decode(values["params"])
    return StoredStream(**values)
