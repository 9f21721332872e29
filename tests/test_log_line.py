"""What a record becomes."""

import json
import logging
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.log_line import LINE_BYTES, REDACTED, LineFormatter


def line_of(event: str, **fields: Any) -> dict[str, Any]:
    record = logging.LogRecord("appliance", logging.INFO, "", 0, event, None, None)
    record.__dict__.update(fields)
    document: dict[str, Any] = json.loads(LineFormatter("test").format(record))
    return document


@pytest.mark.parametrize("name", ["authorization", "X-API-Key", "Set_Cookie", "PASSWORD", "token"])
def test_a_field_with_the_name_of_a_secret_is_never_said(name: str) -> None:
    assert line_of("x", **{name: "s3cret"})[name] == REDACTED
    assert line_of("x", nested={name: "s3cret"})["nested"][name] == REDACTED


@pytest.mark.parametrize("text", ["bearer abc", "Basic dXNlcjpwYXNz", "sent: BEARER  abc, x"])
def test_credentials_inside_of_a_text_are_cut_out(text: str) -> None:
    said = line_of("x", text=text)["text"]
    assert REDACTED in said
    assert "abc" not in said
    assert "dXNl" not in said


def test_words_that_only_look_alike_stay() -> None:
    assert line_of("x", text="the basics; a forbearer")["text"] == "the basics; a forbearer"


def test_a_wrong_format_string_does_not_cost_the_line() -> None:
    record = logging.LogRecord("appliance", logging.INFO, "", 0, "only %s of %s", ("one",), None)
    line = json.loads(LineFormatter("test").format(record))
    assert line["event"] == "only %s of %s"


@given(st.text(), st.recursive(st.none() | st.text() | st.floats() | st.integers(), st.lists))
def test_any_text_and_value_make_one_printable_line(event: str, value: object) -> None:
    record = logging.LogRecord("appliance", logging.INFO, "", 0, event, None, None)
    record.__dict__["value"] = value
    line = LineFormatter("test").format(record)
    assert line.isascii()
    assert line.isprintable()
    assert len(line) < LINE_BYTES
    assert isinstance(json.loads(line), dict)
