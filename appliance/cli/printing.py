"""What commands print: tables for people, JSON for programs, and never a control character."""

import sys
import unicodedata
from collections.abc import Iterable, Sequence
from typing import Any

import click
import msgspec
from rich.console import Console
from rich.table import Table
from rich.text import Text

_PIPE_COLUMNS = 240


def print_json(value: Any) -> None:
    """Given any JSON value, print it indented on standard output."""
    click.echo(msgspec.json.format(msgspec.json.encode(value), indent=2))


def print_table(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Given column titles and rows, print a table on standard output.

    Values are printed as they are, not as rich markup, and without control characters: a key's
    name must not be able to repaint an admin's terminal.
    """
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in columns:
        table.add_column(title, overflow="fold")
    for row in rows:
        table.add_row(*(Text(printable(value)) for value in row))
    # A pipe has no width of its own; rich would fold everything to 80 columns.
    Console(width=None if sys.stdout.isatty() else _PIPE_COLUMNS).print(table)


def printable(value: Any) -> str:
    """Given a value, return its text with control and formatting characters replaced."""
    text = "" if value is None else str(value)
    return "".join("\ufffd" if unicodedata.category(each)[0] == "C" else each for each in text)
