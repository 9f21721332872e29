"""The settings one by one."""

import tomllib

from hypothesis import given
from hypothesis import strategies as st

from appliance import config_keys
from appliance.config import Config


def test_every_setting_has_a_meaning_that_ends_like_a_sentence() -> None:
    for key in config_keys.all_keys():
        assert key.description.endswith("."), key.dotted
    for section in config_keys.sections().values():
        assert section.description.endswith("."), section.name
        assert hasattr(Config(), section.name)


def test_bounds_are_told_in_words() -> None:
    http = config_keys.sections()["http"].keys
    assert http["port"].expected == "a whole number from 0 to 65,535"
    assert http["header_seconds"].expected == "a number above 0, at most 315,360,000"
    level = config_keys.sections()["log"].keys["level"]
    assert level.expected == 'one of "debug", "info", "warning", "error"'


def test_each_setting_has_one_variable() -> None:
    variables = [key.variable for key in config_keys.all_keys()]
    assert "APPLIANCE_HTTP__PORT" in variables
    assert len(set(variables)) == len(variables)


values = st.one_of(
    st.booleans(),
    st.integers(min_value=-(2**63), max_value=2**63 - 1),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(st.characters(exclude_categories=["Cs"])),
    st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=5), max_size=4),
)


@given(values)
def test_a_value_reads_back_from_its_text(value: object) -> None:
    text = config_keys.value_text(value)
    assert tomllib.loads(f"value = {text}")["value"] == value


def test_a_text_that_is_not_unicode_still_has_a_form() -> None:
    assert config_keys.value_text("a\udce9") == '"a?"'
