"""Readings of a motion sensor in any of the forms a device may send them, as columns.

JSON `{"readings": [{"t", "ax", "ay", "az", "gx", "gy", "gz"}, …]}`, JSON columns
`{"t": […], "ax": […], …}` (or those under `"columns"`), CSV with a header, and little-endian
float32 rows. Only the form is judged here, `step_signal.screen` judges the values.
"""

import csv
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import msgspec

from appliance.errors import InvalidInput, PayloadTooLarge, UnsupportedMedia
from appliance.tasks.contract import Payload

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

FIELDS = ("t", "ax", "ay", "az", "gx", "gy", "gz")
MEDIA_TYPES = ("application/json", "text/csv", "application/octet-stream")
#: More in one payload would take more memory for windows than a host is given.
MOST_READINGS = 500_000

#: What the columns of a CSV may be called, in lower case; others are left out.
_STEMS = {"a": ("a", "accel_", "accel", "acc_"), "g": ("g", "gyro_", "gyro")}
HEADER_NAMES = {
    stem + axis: field + axis for field in "ag" for stem in _STEMS[field] for axis in "xyz"
} | dict.fromkeys(("t", "time", "time_s", "seconds", "timestamp"), "t")

#: A recorder that has several sensors numbers its columns by sensor: AccelX_5.
_SENSOR_NUMBER = re.compile(r"_[0-9]{1,4}$", re.ASCII)

ROW_POINTER = "/readings/{number}/{field}"

Columns = Literal["ax,ay,az", "t,ax,ay,az", "ax,ay,az,gx,gy,gz", "t,ax,ay,az,gx,gy,gz"]
Column = list[float | None]


@dataclass(frozen=True, slots=True)
class Readings:
    """Columns of a payload: times [n] in seconds or None, acceleration [n, 3] in m/s², gyroscope
    [n, 3] in rad/s or None, each NaN where absent; and the rate the payload itself states.

    `pointer` names the place of a value: its braces take the number of the reading and the field.
    """

    times: "Array | None"
    acceleration: "Array"
    gyroscope: "Array | None"
    rate_hz: float | None
    pointer: str

    def where(self, number: int, field: str) -> str:
        """Given a reading's number, from 0, and a field, return the JSON pointer to its value."""
        return self.pointer.format(number=number, field=field)


class _Reading(msgspec.Struct):
    ax: float | None
    ay: float | None
    az: float | None
    t: float | None = None
    gx: float | None = None
    gy: float | None = None
    gz: float | None = None


class _Table(msgspec.Struct):
    t: Column | None = None
    ax: Column | None = None
    ay: Column | None = None
    az: Column | None = None
    gx: Column | None = None
    gy: Column | None = None
    gz: Column | None = None


class _Document(_Table):
    readings: list[_Reading] | None = None
    columns: _Table | None = None
    rate_hz: float | None = None


def read(payload: Payload, columns: Columns | None, *, is_timed: bool) -> Readings:
    """Given a payload, the columns of binary rows (None: acceleration, after the time where the
    stream `is_timed`), return its readings.

    Raise UnsupportedMedia for another media type, PayloadTooLarge for too many readings, and
    InvalidInput where the payload is not of the form its type promises.
    """
    if payload.content_type == "application/json":
        readings = _read_json(payload.body)
    elif payload.content_type == "text/csv":
        readings = _read_csv(bytes(payload.body))
    elif payload.content_type == "application/octet-stream":
        readings = _read_binary(
            payload.body, columns or ("t,ax,ay,az" if is_timed else "ax,ay,az")
        )
    else:
        raise UnsupportedMedia(
            f"Readings come as {', '.join(MEDIA_TYPES)}, not as {payload.content_type!r}."
        )
    if len(readings.acceleration) > MOST_READINGS:
        raise PayloadTooLarge(
            f"{len(readings.acceleration)} readings at once; send at most {MOST_READINGS}, or open"
            " a stream and send them in chunks."
        )
    return readings


def _read_json(body: bytes | bytearray | memoryview) -> Readings:
    try:
        document = _DECODER.decode(body)
    except msgspec.ValidationError as fault:
        text, _, path = str(fault).partition(" - at `$")
        raise InvalidInput(f"{text}.", pointer=_pointer(path.rstrip("`"))) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as fault:
        raise InvalidInput(f"The body is not JSON: {fault}.") from None
    has_bare = any(getattr(document, field) is not None for field in FIELDS)
    forms = (document.readings is not None, document.columns is not None, has_bare)
    if sum(forms) != 1:
        raise InvalidInput(
            'Give either "readings", a list of objects, or the columns "ax", "ay", "az", lists.'
        )
    if document.readings is not None:
        rows = document.readings
        columns = {field: [getattr(row, field) for row in rows] for field in FIELDS}
        for field in ("t", "gx", "gy", "gz"):
            if all(value is None for value in columns[field]):
                del columns[field]
        return _assemble(columns, document.rate_hz, ROW_POINTER)
    table = document.columns or document
    stem = "/columns" if document.columns else ""
    return _from_table(table, document.rate_hz, stem)


def _from_table(table: _Table, rate_hz: float | None, stem: str) -> Readings:
    """Given JSON columns, check that they belong together and return their readings."""
    columns = {field: getattr(table, field) for field in FIELDS}
    columns = {field: values for field, values in columns.items() if values is not None}
    for field in ("ax", "ay", "az"):
        if field not in columns:
            raise InvalidInput(f"The column {field!r} is missing.", pointer=stem or "")
    for field, values in columns.items():
        if len(values) != len(columns["ax"]):
            raise InvalidInput(
                f"The column {field!r} has {len(values)} values, 'ax' has {len(columns['ax'])}.",
                pointer=f"{stem}/{field}",
            )
    return _assemble(columns, rate_hz, stem + "/{field}/{number}")


def _read_csv(body: bytes) -> Readings:
    try:
        lines = body.decode("utf-8-sig").splitlines()
    except UnicodeDecodeError as fault:
        raise InvalidInput(f"The CSV is not UTF-8 (byte {fault.start}).") from None
    header = lines[0] if lines else ""
    delimiter = next((mark for mark in ",;\t" if mark in header), ",")
    try:
        rows = [row for row in csv.reader(lines, delimiter=delimiter, strict=True) if row]
    except csv.Error as fault:
        raise InvalidInput(f"The CSV cannot be read: {fault}.") from None
    places = _places(rows[0] if rows else [])
    columns = {field: _cells(rows, place, field) for field, place in places.items()}
    return _assemble(columns, None, ROW_POINTER)


def _places(header: list[str]) -> dict[str, int]:
    """Given the header of a CSV, return the position of each known field."""
    places: dict[str, int] = {}
    for place, name in enumerate(header):
        plain = _SENSOR_NUMBER.sub("", name.strip().lower())
        field = HEADER_NAMES.get(plain)
        if field is None:
            continue
        if field in places:
            raise InvalidInput(f"The CSV has two columns for {field!r}.", pointer=f"/{field}")
        places[field] = place
    for field in ("ax", "ay", "az"):
        if field not in places:
            raise InvalidInput(
                f"The first line of the CSV names no column {field!r}; it must be a header such as"
                f" {','.join(FIELDS)}.",
                pointer=f"/{field}",
            )
    return places


def _cells(rows: list[list[str]], place: int, field: str) -> Column:
    """Given the rows of a CSV, return one column as numbers, None where a cell is empty."""
    values: Column = []
    for number, row in enumerate(rows[1:]):
        cell = row[place].strip() if place < len(row) else ""
        try:
            values.append(float(cell) if cell else None)
        except ValueError:
            raise InvalidInput(
                f"Reading {number} of the CSV: {field!r} is {cell[:40]!r}, not a number.",
                pointer=f"/readings/{number}/{field}",
            ) from None
    return values


def _read_binary(body: bytes | bytearray | memoryview, columns: Columns) -> Readings:
    import numpy as np

    fields = columns.split(",")
    size = memoryview(body).nbytes
    if size % (4 * len(fields)):
        raise InvalidInput(
            f"{size} bytes are not a whole number of rows of {len(fields)} little-endian float32"
            f" ({columns}); see the parameter `columns`."
        )
    table = np.frombuffer(body, "<f4").reshape(-1, len(fields)).astype(np.float64)
    by_name = dict(zip(fields, table.T, strict=True))
    return _assemble(by_name, None, ROW_POINTER)


def _assemble(
    columns: "dict[str, Column] | dict[str, Array]", rate_hz: float | None, pointer: str
) -> Readings:
    import numpy as np

    def stack(fields: Sequence[str]) -> "Array":
        empty = np.full(len(columns["ax"]), np.nan)
        held = [np.asarray(columns.get(field, empty), np.float64) for field in fields]
        # One row a field in memory, so that each of them is quick to go through.
        return np.stack(held).T

    is_turning = any(field in columns for field in ("gx", "gy", "gz"))
    return Readings(
        times=stack(("t",))[:, 0] if "t" in columns else None,
        acceleration=stack(("ax", "ay", "az")),
        gyroscope=stack(("gx", "gy", "gz")) if is_turning else None,
        rate_hz=rate_hz,
        pointer=pointer,
    )


def _pointer(path: str) -> str:
    """Given what msgspec calls a place, such as `.readings[3].ax`, return its JSON pointer."""
    return re.sub(r"\[(\d+|\.\.\.)\]|\.", lambda match: f"/{match[1] or ''}", path)


_DECODER = msgspec.json.Decoder(_Document)
