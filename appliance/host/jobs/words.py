"""Numbers as a report says them, and tables in Markdown."""

from collections.abc import Iterable, Sequence
from typing import Any


def percent(share: float | None, *, digits: int = 1) -> str:
    """Given a share from 0 to 1, return it in percent; a dash where it is undefined."""
    return "–" if share is None else f"{share * 100:.{digits}f} %"


def points(difference: float) -> str:
    """Given a difference of two shares, return it in points of a hundred, with its sign."""
    rounded = round(difference * 100, 2)
    if rounded == 0:
        return "no difference"
    return f"{rounded:+.2f} point{'' if abs(rounded) == 1 else 's'}".replace("-", "−")


def table(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> list[str]:
    """Given column titles and rows, return the lines of a Markdown table.

    Columns with numbers are set right, but for the first.
    """
    cells = [[_cell(value) for value in row] for row in rows]
    aligned = [
        "---:" if number and any(_has_digit(row[number]) for row in cells) else "---"
        for number in range(len(columns))
    ]
    lines = [f"| {' | '.join(columns)} |", f"|{'|'.join(aligned)}|"]
    lines += [f"| {' | '.join(row)} |" for row in cells]
    return [*lines, ""]


def short(label: str, most: int = 60) -> str:
    """Given a label, return it, cut short where it has too many synonyms to read."""
    return label if len(label) <= most else label[: most - 1].rstrip(" ,") + "…"


def _has_digit(text: str) -> bool:
    return any(each.isdigit() for each in text)


def plain(text: str, *, most: int = 300) -> str:
    """Given words from outside, return them as one line that Markdown shows as they are."""
    line = " ".join(text.split())[:most]
    return "".join(f"\\{each}" if each in "\\`*_[]<>|#" else each for each in line)


def _cell(value: Any) -> str:
    return plain(value) if isinstance(value, str) else str(value)
