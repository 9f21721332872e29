"""A table of labels: a CSV whose header names a file or a text, and a label."""

import csv
import io
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from appliance.errors import InvalidInput, PayloadTooLarge

_MOST_BYTES = 64 * 1024 * 1024
_MOST_ROWS = 100_000
_FILES = ("file", "filename", "file_name", "image", "picture", "path")
_TEXTS = ("text", "sentence", "review", "content")
_LABELS = ("label", "class", "category", "target")


class LabelTable(NamedTuple):
    """Rows as (number, file or text, label); whether they are texts, and what was noticed."""

    is_text: bool
    rows: tuple[tuple[int, str, str], ...]
    notes: tuple[str, ...]


def read(path: Path, name: str) -> LabelTable:
    """Given a CSV and what it is called, return its rows.

    Commas, semicolons and tabs are told apart by the header. Raise InvalidInput when it names no
    file or text and no label, or is no UTF-8; PayloadTooLarge beyond 64 MiB or 100,000 rows.
    """
    if path.stat().st_size > _MOST_BYTES:
        raise PayloadTooLarge(f"{name} has more than {_MOST_BYTES:,} bytes. Send a smaller table.")
    try:
        text = path.read_text("utf-8-sig")
    except UnicodeDecodeError:
        raise InvalidInput(f"{name} is not UTF-8 text. Save it as CSV in UTF-8.") from None
    header_line = text.split("\n", 1)[0]
    separator = max((",", ";", "\t"), key=header_line.count)
    try:
        rows = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
        header = [column.strip().lower() for column in next(rows, [])]
        value_at, label_at, is_text = _columns(header, name)
        return _read(rows, name, value_at, label_at, is_text=is_text)
    except csv.Error as fault:
        raise InvalidInput(f"{name} is not a CSV that can be read: {fault}.") from None


def _columns(header: list[str], name: str) -> tuple[int, int, bool]:
    label = next((header.index(column) for column in _LABELS if column in header), None)
    for columns, is_text in ((_FILES, False), (_TEXTS, True)):
        value = next((header.index(column) for column in columns if column in header), None)
        if value is not None and label is not None:
            return value, label, is_text
    found = ", ".join(column[:40] for column in header[:8]) or "nothing"
    raise InvalidInput(
        f"The first line of {name} must name the columns file,label or text,label; it says:"
        f" {found}."
    )


def _read(
    rows: Iterator[list[str]], name: str, value_at: int, label_at: int, *, is_text: bool
) -> LabelTable:
    found: list[tuple[int, str, str]] = []
    without = 0
    for number, row in enumerate(rows, 2):
        if len(found) >= _MOST_ROWS:
            raise PayloadTooLarge(f"{name} has more than {_MOST_ROWS:,} rows. Send fewer.")
        if not row:
            continue
        value = row[value_at] if value_at < len(row) else ""
        label = row[label_at].strip() if label_at < len(row) else ""
        if value.strip() and label:
            found.append((number, value, label))
        else:
            without += 1
    notes = (f"{without} rows of {name} lack a value or a label; they were left out.",)
    return LabelTable(is_text, tuple(found), notes if without else ())
