"""Rows of CSV files that no spreadsheet runs, and that a program reads back exactly.

Labels, file names and messages come from strangers, and a spreadsheet takes a cell that begins
with `=`, `+`, `-` or `@` for a formula, which may fetch a page or start a program.
"""

import re
from collections.abc import Iterable

Cell = str | int | float | None

#: Source: OWASP, "CSV Injection"; the wide forms are run by spreadsheets in East Asian locales.
_RUN = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")
_MARK = "'"
_NUMBER = re.compile(r"-?[0-9]+(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?")
#: Besides what CSV itself asks for: spreadsheets of many countries part cells at `;`, and those
#: that guess part them at tabs, so that what follows would be a cell of its own.
_QUOTED = re.compile(r'[",;\t\r\n]|^\s|\s$')


def csv_row(cells: Iterable[Cell]) -> str:
    """Given the cells of a row, return its line of a CSV file (RFC 4180), with its end.

    Numbers are written as they are, None as nothing. Text that a spreadsheet would run, and text
    that begins with `'`, gets a `'` in front: who reads a cell that begins with `'` leaves that
    one character away and has the text as it was.
    """
    return ",".join(map(_written, cells)) + "\r\n"


def _written(cell: Cell) -> str:
    if cell is None:
        return ""
    if not isinstance(cell, str):
        return str(cell)
    text = f"{_MARK}{cell}" if _needs_mark(cell) else cell
    return '"' + text.replace('"', '""') + '"' if _QUOTED.search(text) else text


def _needs_mark(text: str) -> bool:
    return text.startswith((_MARK, *_RUN)) and _NUMBER.fullmatch(text) is None
