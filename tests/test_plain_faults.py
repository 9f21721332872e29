import msgspec
import pytest

from appliance.library.import_request import ImportRequest
from appliance.plain_faults import _WORDS, in_words
from appliance.tasks.registry import TASKS
from appliance.web.dialects.modelship_schemas import BatchQuery
from appliance.web.resources.model_imports import InspectQuery, UrlSource

HTTPS = "https://models.example.com/m.onnx"


def fault_of(document: dict[str, object], kind: type) -> str:
    with pytest.raises(msgspec.ValidationError) as caught:
        msgspec.convert(document, kind)
    return in_words(caught.value)


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ({"name": "Bad Name"}, "Expected a name of a-z, 0-9, .* - at `$.name`"),
        ({"name": "m", "sha256": "x"}, "Expected the 64 characters .* - at `$.sha256`"),
        ({"name": "m", "layout": "nchw"}, "such as NCHW - at `$.layout`"),
        ({"name": "m", "size": "big"}, "WIDTHxHEIGHT"),
    ],
)
def test_no_one_has_to_read_a_regular_expression(said: dict[str, object], words: str) -> None:
    text = fault_of(said, ImportRequest)
    assert "regex" not in text
    for part in words.split(" .* "):
        assert part in text


def test_a_digest_that_is_missing_is_asked_for() -> None:
    assert "SHA-256" in fault_of({"url": HTTPS, "sha256": ""}, UrlSource)


def test_every_pattern_that_a_caller_can_meet_has_its_words() -> None:
    for kind in (*(task.Params for task in TASKS), UrlSource, InspectQuery, BatchQuery):
        for field in msgspec.structs.fields(kind):
            if "pattern='" in str(field.type):
                assert any(repr(known) in str(field.type) for known in _WORDS), field


def test_other_faults_are_told_as_they_are() -> None:
    assert in_words(msgspec.ValidationError("Expected `int`")) == "Expected `int`"
