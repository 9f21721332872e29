"""Frames of a WebSocket: JSON text or little-endian float32, and how several become one chunk.

A device that sends one reading a frame would cost a turn of the model and a write of the database
for each. Frames without numbers that wait anyway are therefore put into one chunk.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec

from appliance.errors import InvalidInput, MalformedRequest

JSON = "application/json"
BINARY = "application/octet-stream"
#: Frames of one connection that may wait; beyond, nothing more is read from it.
MOST_WAITING = 128
MOST_WAITING_BYTES = 2 * 1024 * 1024
#: A chunk made of several frames stops growing here.
MOST_MERGED_BYTES = 256 * 1024
_MOST_SEQUENCE = 1_000_000_000


class Frame(NamedTuple):
    """One frame that is a chunk, or a part of one.

    `readings` are the texts between the brackets of {"readings": […]}, where nothing else is in
    the frame, so that it may be joined with others.
    """

    body: bytes
    content_type: str
    sequence: int | None = None
    readings: bytes | None = None
    is_end: bool = False

    @property
    def is_mergeable(self) -> bool:
        """Return whether this may share a chunk with its neighbours of the same kind."""
        is_whole = self.content_type == BINARY or self.readings is not None
        return self.sequence is None and is_whole and not self.is_end


def read_frame(message: str | bytes) -> Frame:
    """Given a message as it came, return its frame; raise MalformedRequest or InvalidInput."""
    if isinstance(message, bytes):
        return Frame(message, BINARY)
    body = message.encode()
    try:
        fields = msgspec.json.decode(body, type=dict[str, msgspec.Raw])
    except msgspec.ValidationError:
        raise InvalidInput('A text frame is a JSON object such as {"readings": […]}.') from None
    except (msgspec.DecodeError, RecursionError) as fault:
        raise MalformedRequest(f"The frame is not JSON: {fault}.") from None
    if fields.keys() == {"end"} and bytes(fields["end"]) == b"true":
        return Frame(b"", JSON, is_end=True)
    if fields.keys() == {"readings"}:
        return Frame(body, JSON, readings=_inside(bytes(fields["readings"])))
    return Frame(body, JSON, sequence=_sequence(fields.get("sequence")))


def merge(frames: Sequence[Frame]) -> bytes:
    """Given mergeable frames of one kind, return the body of the chunk that holds them all."""
    if len(frames) == 1:
        return frames[0].body
    if frames[0].content_type == BINARY:
        return b"".join(frame.body for frame in frames)
    rows = b",".join(frame.readings for frame in frames if frame.readings)
    return b'{"readings":[' + rows + b"]}"


def count_to_merge(frames: Sequence[Frame], *, binary_bytes: int = 0) -> int:
    """Given the frames that wait, return how many of the first of them make one chunk.

    Binary frames are joined only when each has `binary_bytes`, the size of one that was accepted
    alone: of a size that is no whole number of rows, several might make one that is.
    """
    first, size = frames[0], 0
    is_odd = first.content_type == BINARY and len(first.body) != binary_bytes
    if not first.is_mergeable or is_odd:
        return 1
    for count, frame in enumerate(frames):
        size += len(frame.body)
        is_alike = frame.is_mergeable and frame.content_type == first.content_type
        is_alike &= frame.content_type != BINARY or len(frame.body) == binary_bytes
        if count and (not is_alike or size > MOST_MERGED_BYTES):
            return count
    return len(frames)


def _inside(raw: bytes) -> bytes | None:
    """Given the JSON of the readings, return what is between its brackets, None if it has none."""
    text = raw.strip()
    return text[1:-1].strip() if text[:1] == b"[" and text[-1:] == b"]" else None


def _sequence(raw: Any) -> int | None:
    if raw is None:
        return None
    try:
        number = msgspec.json.decode(raw, type=int)
    except msgspec.DecodeError:
        number = 0
    if not 1 <= number <= _MOST_SEQUENCE:
        raise InvalidInput('"sequence" is a whole number from 1.', pointer="/sequence")
    return number
