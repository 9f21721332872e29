import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.host.jobs.words import percent, plain, points, short, table


def test_shares_are_told_in_percent() -> None:
    assert percent(0.98333) == "98.3 %"
    assert percent(0.98333, digits=2) == "98.33 %"
    assert percent(None) == "–"


@pytest.mark.parametrize(
    ("difference", "words"),
    [(0.0021, "+0.21 points"), (-0.01, "−1.00 point"), (0.00001, "no difference")],
)
def test_differences_are_told_in_points(difference: float, words: str) -> None:
    assert points(difference) == words


def test_columns_of_numbers_are_set_right() -> None:
    lines = table(("Class", "Items", "Answer"), [("cat 1", 3, "dog"), ("a|b", 10, "cow")])
    assert lines == [
        "| Class | Items | Answer |",
        "|---|---:|---|",
        "| cat 1 | 3 | dog |",
        "| a\\|b | 10 | cow |",
        "",
    ]


@given(st.text())
def test_words_from_outside_stay_on_one_line_and_are_no_markdown(text: str) -> None:
    line = plain(text)
    assert len(line.splitlines()) <= 1
    assert line.replace("\\\\", "").replace("\\|", "").count("|") == 0


def test_a_label_with_many_synonyms_is_cut() -> None:
    assert short("cat") == "cat"
    assert short("dragonfly, " * 20).endswith("…")
    assert len(short("x" * 100)) == 60
