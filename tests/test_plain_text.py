import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.plain_text import hidden_in, pattern, require_plain, visible

HIDDEN = [
    "\x00",
    "\x1b",
    "\x7f",
    "\x85",
    "\u061c",
    "\u200b",
    "\u200f",
    "\u2028",
    "\u202e",
    "\u2066",
]


@pytest.mark.parametrize("character", [*HIDDEN, "\u2060", "\ufeff", "\n", "\t"])
def test_what_hides_or_turns_text_is_found(character: str) -> None:
    text = f"truck{character}gpj.exe"
    assert hidden_in(text).startswith(f"U+{ord(character):04X} (")
    assert re.fullmatch(pattern(least=0, most=80), text) is None


@pytest.mark.parametrize(
    "text", ["", "Größe 10 €", "می‌خواهم", "क्‍ष", "👩‍👩‍👧", "车", "שלום", "مرحبا", "e\u0301"]
)
def test_every_script_is_plain(text: str) -> None:
    assert hidden_in(text) == ""
    assert re.fullmatch(pattern(least=0, most=80), text)
    assert visible(text) == text


def test_the_sentence_names_the_character() -> None:
    with pytest.raises(ValueError, match=r"^title holds .* U\+202E \(right-to-left override\), "):
        require_plain("a\u202eb", "title")


def test_lines_and_tabs_are_plain_where_lines_are_meant() -> None:
    assert hidden_in("one\n\ttwo", has_lines=True) == ""
    assert hidden_in("one\rtwo", has_lines=True) == "U+000D (a control character)"


def test_a_text_is_made_visible_in_one_line() -> None:
    assert visible(" \u202egreen\u200b\n\x1b[31m tea\ufeff ") == "green [31m tea"


@given(st.text())
def test_what_was_made_visible_hides_nothing(text: str) -> None:
    assert hidden_in(visible(text)) == ""
