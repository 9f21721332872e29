"""The history of predictions: record, find, count, stream."""

import base64
import math
import struct
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
from peewee import fn

from appliance import errors
from appliance.store.connection import Connection, Store
from appliance.store.database import Database
from appliance.store.retention import prune as prune
from appliance.store.tables import PredictionRow as Row

MOST_ROWS_PER_PAGE = 1000
#: Rows per page of a stream, so that no reader holds a snapshot (and with it the log) for long.
STREAM_PAGE_ROWS = 500
#: A page ends early when its rows have this many bytes: a result may have megabytes.
PAGE_BYTES = 8 * 1024 * 1024
#: A stream of pages, of which there is one at a time, may read each for so many times longer.
STREAM_PATIENCE = 10.0


class Prediction(msgspec.Struct, frozen=True, kw_only=True):
    """One recorded turn; `result` is its JSON as sent, times are seconds since 1970 UTC."""

    id: str
    received_seconds: float
    device_seconds: float | None = None
    model: str
    version: int
    task: str
    key_id: str
    key_name: str
    label: str | None = None
    confidence: float | None = None
    content_type: str
    input_bytes: int
    input_sha256: str = ""
    result: bytes
    duration_ms: float
    request_id: str
    session_id: str | None = None
    review: str | None = None


class Filter(msgspec.Struct, frozen=True, kw_only=True):
    """Which predictions: every field that is set must match; from is included, to is not."""

    model: str | None = None
    version: int | None = None
    label: str | None = None
    key_id: str | None = None
    #: Only these models; empty: all.
    models: tuple[str, ...] = ()
    from_seconds: float | None = None
    to_seconds: float | None = None
    least_confidence: float | None = None
    most_confidence: float | None = None
    cursor: str = ""
    limit: int = 100


class Page(msgspec.Struct, frozen=True):
    """Predictions, newest first, and the cursor of the next page, empty at the end."""

    predictions: tuple[Prediction, ...]
    cursor: str


_FIELDS: tuple[str, ...] = Prediction.__struct_fields__
_COLUMNS = tuple(getattr(Row, name) for name in _FIELDS)

#: Written out because the writer compares statements by text and runs this one for many rows.
_INSERT = (
    f"INSERT INTO predictions ({', '.join(_FIELDS)}) VALUES ({', '.join('?' for _ in _FIELDS)})"
)


def record(database: Database, prediction: Prediction) -> bool:
    """Given a prediction, return whether it was accepted for writing; never wait for the disk."""
    return database.submit(_INSERT, _values(prediction))


def add(connection: Connection, prediction: Prediction) -> None:
    """Given a connection inside a transaction and a prediction, write it with the transaction."""
    connection.sql(_INSERT, _values(prediction))


def get(store: Store, prediction_id: str, *, key_id: str | None = None) -> Prediction | None:
    """Given an id, return the prediction, or None if there is none or it is not `key_id`'s."""
    query = Row.select(*_COLUMNS).where(Row.id == prediction_id)
    if key_id is not None:
        query = query.where(Row.key_id == key_id)
    with store.read() as connection:
        rows = connection.rows(query)
    return Prediction(**dict(zip(_FIELDS, rows[0], strict=True))) if rows else None


def known_ids(store: Store, ids: Sequence[str]) -> frozenset[str]:
    """Given some ids, a few hundred at most, return those of predictions that are kept."""
    with store.read(patience=STREAM_PATIENCE) as connection:
        return frozenset(
            row[0] for row in connection.rows(Row.select(Row.id).where(Row.id.in_(ids)))
        )


def find(store: Store, wanted: Filter, *, patience: float = 1.0) -> Page:
    """Given a filter, return one page of what matches, newest first.

    Order is that of the time of receipt, then of arrival. A page of large results has fewer rows
    than asked for. Raise InvalidInput for a cursor that was not made here, DatabaseUnavailable
    when the search takes too long.
    """
    limit = _limit(wanted)
    with store.read(patience=patience) as connection:
        rows, is_cut = connection.rows_within(_page_query(wanted), most_bytes=PAGE_BYTES)
    found = tuple(Prediction(**dict(zip(_FIELDS, row[1:], strict=True))) for row in rows[:limit])
    if len(rows) <= limit and not is_cut:
        return Page(found, "")
    return Page(found, _encode_cursor(found[-1].received_seconds, rows[len(found) - 1][0]))


def stream(store: Store, wanted: Filter) -> Iterator[Prediction]:
    """Given a filter, yield everything that matches, newest first, however long it takes.

    It is read page by page and each page is released before it is yielded; what is recorded
    meanwhile is newer than where the stream stands and does not appear.
    """
    wanted = msgspec.structs.replace(wanted, limit=STREAM_PAGE_ROWS)
    while True:
        page = find(store, wanted, patience=STREAM_PATIENCE)
        yield from page.predictions
        if not page.cursor:
            return
        wanted = msgspec.structs.replace(wanted, cursor=page.cursor)


def count_by_label(
    store: Store,
    model: str,
    *,
    version: int | None = None,
    from_seconds: float | None = None,
    to_seconds: float | None = None,
) -> dict[str, int]:
    """Given a model and a span of time, return how many predictions each label has, most first."""
    wanted = Filter(model=model, version=version, from_seconds=from_seconds, to_seconds=to_seconds)
    rows = fn.COUNT(Row.sequence)
    query = (
        Row.select(Row.label, rows)
        .where(*_conditions(wanted), Row.label.is_null(False))
        .group_by(Row.label)
        .order_by(rows.desc(), Row.label)
    )
    with store.read() as connection:
        return dict(connection.rows(query))


def count(store: Store) -> int:
    """Return how many predictions are kept."""
    with store.read(patience=STREAM_PATIENCE) as connection:
        return int(connection.value("SELECT count(*) FROM predictions"))


def _limit(wanted: Filter) -> int:
    return max(1, min(wanted.limit, MOST_ROWS_PER_PAGE))


def _page_query(wanted: Filter) -> Any:
    """Return the query of one page and one row more, which tells whether another page follows."""
    query = Row.select(Row.sequence, *_COLUMNS).where(*_conditions(wanted))
    if wanted.cursor:
        seconds, sequence = _decode_cursor(wanted.cursor)
        query = query.where(
            (Row.received_seconds < seconds)
            | ((Row.received_seconds == seconds) & (Row.sequence < sequence)),
            # Implied by the line above, but this form lets the index start at the right place.
            Row.received_seconds <= seconds,
        )
    query = query.order_by(Row.received_seconds.desc(), Row.sequence.desc())
    return query.limit(_limit(wanted) + 1)


def _values(prediction: Prediction) -> tuple[Any, ...]:
    return msgspec.structs.astuple(prediction)


def _conditions(wanted: Filter) -> list[Any]:
    conditions = [
        getattr(Row, name) == value
        for name in ("model", "version", "label", "key_id")
        if (value := getattr(wanted, name)) is not None
    ]
    if wanted.models:
        conditions.append(Row.model.in_(wanted.models))
    if wanted.from_seconds is not None:
        conditions.append(Row.received_seconds >= wanted.from_seconds)
    if wanted.to_seconds is not None:
        conditions.append(Row.received_seconds < wanted.to_seconds)
    if wanted.least_confidence is not None:
        conditions.append(Row.confidence >= wanted.least_confidence)
    if wanted.most_confidence is not None:
        conditions.append(Row.confidence <= wanted.most_confidence)
    return conditions or [Row.sequence > 0]


def _encode_cursor(seconds: float, sequence: int) -> str:
    return base64.urlsafe_b64encode(struct.pack(">dq", seconds, sequence)).decode().rstrip("=")


def _decode_cursor(cursor: str) -> tuple[float, int]:
    try:
        packed = base64.b64decode(cursor + "==", altchars=b"-_", validate=True)
        seconds, sequence = struct.unpack(">dq", packed)
    except (ValueError, struct.error):
        raise errors.InvalidInput("The cursor is not one that was given out.") from None
    if not math.isfinite(seconds):
        raise errors.InvalidInput("The cursor is not one that was given out.")
    return seconds, sequence
