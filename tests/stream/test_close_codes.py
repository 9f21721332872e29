"""Close codes say why, fit into their frame and stand in the documentation."""

import re

import pytest

from appliance.stream.close_codes import MEANINGS, CloseCode, HungUp, close_code_of
from tests.end_to_end.running import ROOT


def test_every_code_has_a_meaning_that_fits_into_a_close_frame() -> None:
    assert set(MEANINGS) == set(CloseCode)
    assert all(HungUp(code).reason == meaning for code, meaning in MEANINGS.items())


def test_words_are_cut_to_the_frame_at_a_whole_character() -> None:
    reason = HungUp(CloseCode.FAILED, "é" * 200).reason
    assert reason == "é" * 61


@pytest.mark.parametrize(
    ("status", "code"), [(401, 4401), (404, 4404), (413, 1009), (500, 1011), (418, 1011)]
)
def test_a_status_that_ends_a_connection_has_its_code(status: int, code: int) -> None:
    assert close_code_of(status) == code


def test_the_documentation_lists_the_same_codes_and_words() -> None:
    text = (ROOT / "docs" / "devices.md").read_text()
    listed = {int(code): words for code, words in re.findall(r"\| (\d{4}) \| (.*) \|", text)}
    assert listed == {int(code): words for code, words in MEANINGS.items()}
