"""What callers may say of streams, and how they see them."""

import msgspec
import pytest

from appliance.actions.stream_views import WantedStream, totals_of, view_of
from tests.actions.test_stream_turns import stream


@pytest.mark.parametrize(
    "document",
    [
        b'{"model":"a","colour":1}',
        b'{"model":"../a"}',
        b"{}",
        b'{"model":"a","params":{"rate_hz":100}}',
        b'{"model":"a","device":"a\\u0000b"}',
        b'{"model":"a","device":"a\\u202eb"}',
        b'{"model":"a","device":"' + b"x" * 121 + b'"}',
    ],
)
def test_what_is_not_understood_is_refused(document: bytes) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(document, type=WantedStream)


def test_a_view_tells_the_number_that_is_next_and_the_sums() -> None:
    kept = stream(sequence=4, chunks=4, input_bytes=10, events=2, ended_seconds=86400.0)
    view = view_of(kept)
    assert (view.next_sequence, view.ended) == (5, "1970-01-02T00:00:00.000Z")
    assert view.totals == totals_of(kept)
    assert not hasattr(view, "state"), "what a model remembers is nobody's business"
