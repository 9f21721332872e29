"""Look into the history of predictions, each caller into their own."""

from collections.abc import Iterator
from datetime import datetime
from itertools import chain
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from appliance.actions.callers import Caller, Role, require_role, require_row_of
from appliance.clock import utc_text
from appliance.csv_rows import Cell, csv_row
from appliance.errors import InvalidInput, NotFound
from appliance.store import predictions
from appliance.store.database import Database
from appliance.store.predictions import Filter, Prediction

_CSV_COLUMNS = (
    "id",
    "received",
    "model",
    "version",
    "task",
    "label",
    "confidence",
    "key_name",
    "content_type",
    "input_bytes",
    "duration_ms",
    "request_id",
    "result",
)
_ROWS_PER_CHUNK = 200
#: What `store/predictions.py` gives out: a time as a float64, so these are its first characters,
#: and a number, in base 64. Only told in the schema: the store itself knows its cursors.
_CURSOR = r"^[APQ][A-Za-z0-9_-]{21}$"
_Moment = Annotated[str, Meta(max_length=40, extra_json_schema={"format": "date-time"})]


class Search(msgspec.Struct, frozen=True, kw_only=True, rename={"from_": "from"}):
    """What to look for; every condition must hold."""

    model: Annotated[
        Annotated[str, Meta(max_length=64)] | None, Meta(description="Only this model.")
    ] = None
    version: Annotated[
        Annotated[int, Meta(ge=1, le=1_000_000_000)] | None, Meta(description="Only this version.")
    ] = None
    label: Annotated[
        Annotated[str, Meta(max_length=200)] | None, Meta(description="Only this label.")
    ] = None
    key: Annotated[
        Annotated[str, Meta(max_length=64)] | None,
        Meta(description="Only predictions asked with this key id."),
    ] = None
    from_: Annotated[
        _Moment | None,
        Meta(description="Received at or after this RFC 3339 time."),
    ] = None
    to: Annotated[
        _Moment | None,
        Meta(description="Received before this RFC 3339 time."),
    ] = None
    min_confidence: Annotated[
        Annotated[float, Meta(ge=0, le=1)] | None, Meta(description="At least this confidence.")
    ] = None
    max_confidence: Annotated[
        Annotated[float, Meta(ge=0, le=1)] | None, Meta(description="At most this confidence.")
    ] = None
    cursor: Annotated[
        Annotated[str, Meta(max_length=200, extra_json_schema={"pattern": _CURSOR})] | None,
        Meta(description="Go on where the last page ended."),
    ] = None
    limit: Annotated[int, Meta(ge=1, le=1000, description="Rows on one page.")] = 50
    format: Annotated[
        Literal["json", "csv", "jsonl"],
        Meta(description="json pages; csv and jsonl stream everything that fits."),
    ] = "json"


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One recorded prediction."""

    id: str
    received: str
    model: str
    version: int
    task: str
    label: str | None
    confidence: float | None
    key_id: str
    key_name: str
    content_type: str
    input_bytes: int
    duration_ms: float
    request_id: str
    result: msgspec.Raw


class RowPage(msgspec.Struct, frozen=True):
    """One page, newest first; `next_cursor` is null on the last."""

    predictions: tuple[Row, ...]
    next_cursor: str | None


def page(database: Database, search: Search, caller: Caller) -> RowPage:
    """Given a search and a caller, return one page of what this caller may see."""
    found = predictions.find(database, _filter(search, caller))
    return RowPage(
        predictions=tuple(_row(prediction) for prediction in found.predictions),
        next_cursor=found.cursor or None,
    )


def one(database: Database, prediction_id: str, caller: Caller) -> Row:
    """Given an id, return that prediction; raise NotFound when this caller may see none."""
    prediction = predictions.get(database, prediction_id)
    if prediction is None:
        raise NotFound("There is no such prediction.")
    require_row_of(caller, prediction.key_id, thing="prediction")
    if not caller.may_use(prediction.model):
        raise NotFound("There is no such prediction.")
    return _row(prediction)


def exported(database: Database, search: Search, caller: Caller) -> Iterator[bytes]:
    """Given a search with format csv or jsonl, yield the whole result in pieces, newest first.

    Raise at once, not in the midst of the answer, what a search with format json would raise.
    """
    rows = predictions.stream(database, _filter(search, caller))
    first = next(rows, None)
    whole = chain(() if first is None else (first,), rows)
    return _csv(whole) if search.format == "csv" else _json_lines(whole)


def _filter(search: Search, caller: Caller) -> Filter:
    require_role(caller, Role.DEVICE)
    own_only = caller.role is Role.DEVICE
    if own_only and search.key not in (None, caller.key_id):
        raise NotFound("There are no predictions of that key which this key may see.")
    return Filter(
        model=search.model,
        version=search.version,
        label=search.label,
        key_id=(caller.key_id or "") if own_only else search.key,
        models=caller.models,
        from_seconds=_seconds(search.from_, "from"),
        to_seconds=_seconds(search.to, "to"),
        least_confidence=search.min_confidence,
        most_confidence=search.max_confidence,
        cursor=search.cursor or "",
        limit=search.limit,
    )


def _seconds(text: str | None, name: str) -> float | None:
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text.replace(" ", "+"))
        if moment.tzinfo is None:
            raise ValueError
        return moment.timestamp()
    except (ValueError, OverflowError):
        raise InvalidInput(
            f"{name} must be an RFC 3339 time with its zone, such as 2026-01-31T08:00:00Z.",
            pointer=f"/query/{name}",
        ) from None


def _row(prediction: Prediction) -> Row:
    return Row(
        id=prediction.id,
        received=utc_text(prediction.received_seconds),
        model=prediction.model,
        version=prediction.version,
        task=prediction.task,
        label=prediction.label,
        confidence=prediction.confidence,
        key_id=prediction.key_id,
        key_name=prediction.key_name,
        content_type=prediction.content_type,
        input_bytes=prediction.input_bytes,
        duration_ms=prediction.duration_ms,
        request_id=prediction.request_id,
        result=msgspec.Raw(prediction.result),
    )


def _json_lines(rows: Iterator[Prediction]) -> Iterator[bytes]:
    waiting: list[bytes] = []
    for prediction in rows:
        waiting.append(msgspec.json.encode(_row(prediction)))
        if len(waiting) >= _ROWS_PER_CHUNK:
            yield b"\n".join(waiting) + b"\n"
            waiting.clear()
    if waiting:
        yield b"\n".join(waiting) + b"\n"


def _csv(rows: Iterator[Prediction]) -> Iterator[bytes]:
    waiting = [csv_row(_CSV_COLUMNS)]
    for prediction in rows:
        row = _row(prediction)
        waiting.append(csv_row(_cell(getattr(row, name)) for name in _CSV_COLUMNS))
        if len(waiting) >= _ROWS_PER_CHUNK:
            yield "".join(waiting).encode()
            waiting.clear()
    if waiting:
        yield "".join(waiting).encode()


def _cell(value: Any) -> Cell:
    return bytes(value).decode() if isinstance(value, msgspec.Raw) else value
