"""What may be said of a model is checked before anything else happens."""

import msgspec
import pytest

from appliance.library.import_request import ImportRequest


def test_a_name_is_enough() -> None:
    request = msgspec.convert({"name": "m"}, ImportRequest)
    assert request.task == ""
    assert msgspec.to_builtins(request) == {"name": "m"}


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", "../m"),
        ("name", "M"),
        ("name", "m\n"),
        ("version", 0),
        ("version", 2_000_000_000),
        ("mean", [1.0] * 4),
        ("scale", [0.0]),
        ("layout", "N C"),
        ("color", "rgb"),
        ("resize", "squash"),
        ("size", "640"),
        ("size", "640x0"),
        ("size", "640x640\n"),
        ("sha256", "abc"),
        ("decoder", "x" * 33),
        ("wait", 1),
        ("title", "a\u202eb"),
        ("license", "a\x1bb"),
        ("credit", "a\u200bb"),
        ("file_name", "gpj\u202e.exe"),
    ],
)
def test_what_cannot_be_meant_is_refused(field: str, value: object) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"name": "m", field: value}, ImportRequest)
