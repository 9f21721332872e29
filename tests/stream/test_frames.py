"""Frames, and which of them share a chunk."""

import contextlib
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.errors import InvalidInput, MalformedRequest
from appliance.stream.frames import (
    BINARY,
    JSON,
    MOST_MERGED_BYTES,
    Frame,
    count_to_merge,
    merge,
    read_frame,
)

ROWS = st.dictionaries(st.text(max_size=3), st.integers(), max_size=2)


def test_a_frame_tells_its_number_and_whether_it_ends() -> None:
    assert read_frame('{"sequence":7,"readings":[]}').sequence == 7
    assert read_frame('{"readings":[]}').sequence is None
    assert read_frame('{"end":true}').is_end
    assert not read_frame('{"end":false}').is_end
    assert read_frame(b"\x00\x01") == Frame(b"\x00\x01", BINARY)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.lists(ROWS, max_size=3), max_size=5))
def test_merged_readings_are_all_the_readings_in_order(parts: list[list[dict[str, int]]]) -> None:
    frames = [read_frame(json.dumps({"readings": rows})) for rows in parts]
    if not frames:
        return
    assert count_to_merge(frames) == len(frames)
    merged = json.loads(merge(frames))
    assert merged["readings"] == [row for rows in parts for row in rows]


@settings(max_examples=100, deadline=None)
@given(st.text() | st.binary())
def test_any_message_is_read_or_refused(message: str | bytes) -> None:
    with contextlib.suppress(InvalidInput, MalformedRequest):
        assert read_frame(message).content_type in (JSON, BINARY)


@pytest.mark.parametrize(
    "other",
    [
        '{"sequence":2,"readings":[]}',
        '{"readings":[],"rate_hz":50}',
        '{"az":[1]}',
        '{"end":true}',
        '{"readings":7}',
        b"\x00" * 12,
    ],
)
def test_frames_that_say_more_than_readings_stay_alone(other: str | bytes) -> None:
    plain = read_frame('{"readings":[{"az":1}]}')
    assert count_to_merge([plain, plain, read_frame(other)]) == 2
    assert count_to_merge([read_frame(other), plain]) == 1


def test_binary_frames_share_a_chunk_only_at_a_size_that_was_accepted_before() -> None:
    frames = [Frame(b"a" * 12, BINARY)] * 3
    assert count_to_merge(frames) == 1
    assert count_to_merge(frames, binary_bytes=12) == 3
    assert count_to_merge([*frames, Frame(b"a" * 8, BINARY)], binary_bytes=12) == 3
    assert merge(frames) == b"a" * 36


def test_a_merged_chunk_stops_growing() -> None:
    large = [Frame(b"a" * (MOST_MERGED_BYTES // 2), BINARY)] * 5
    assert count_to_merge(large, binary_bytes=MOST_MERGED_BYTES // 2) == 2
