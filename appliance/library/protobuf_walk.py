"""Step through a protobuf file field by field without reading its contents into memory.

Only what is asked for is read, so gigabytes of weights cost a few seeks. Wire format: Protocol
Buffers documentation, "Encoding".
"""

from collections.abc import Iterator
from typing import IO, NamedTuple

from appliance.errors import ModelInvalid

VARINT, FIXED64, LENGTH, FIXED32 = 0, 1, 2, 5
_HEAD_BYTES = 20  # a tag and a length take at most ten bytes each
_MOST_TEXT_BYTES = 1 << 20


class Field(NamedTuple):
    """One field: its number, wire type, where its content lies, and the value of a varint."""

    number: int
    wire: int
    start: int
    end: int
    value: int = 0


def fields(file: IO[bytes], start: int, end: int) -> Iterator[Field]:
    """Given a file and the bounds of a message in it, yield the message's fields in order.

    Raise ModelInvalid when the bytes are no message.
    """
    position = start
    while position < end:
        file.seek(position)
        head = file.read(min(_HEAD_BYTES, end - position))
        tag, used = _varint(head, 0)
        number, wire = tag >> 3, tag & 7
        value = 0
        if wire == VARINT:
            value, used = _varint(head, used)
            content, after = position + used, position + used
        elif wire == LENGTH:
            size, used = _varint(head, used)
            content, after = position + used, position + used + size
        elif wire in (FIXED64, FIXED32):
            content = position + used
            after = content + (8 if wire == FIXED64 else 4)
        else:
            raise _broken()
        if number == 0 or after > end:
            raise _broken()
        yield Field(number, wire, content, after, value)
        position = after


def text_of(file: IO[bytes], field: Field) -> str:
    """Given a length-delimited field, return its text; raise ModelInvalid over 1 MiB."""
    if field.end - field.start > _MOST_TEXT_BYTES:
        raise ModelInvalid("The model holds a text of more than 1 MiB where a name is expected.")
    file.seek(field.start)
    return file.read(field.end - field.start).decode("utf-8", "replace")


def _varint(data: bytes, position: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if position >= len(data):
            raise _broken()
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if not byte & 0x80:
            return value, position
    raise _broken()


def _broken() -> ModelInvalid:
    return ModelInvalid(
        "The file is cut off or damaged: its parts do not add up. Send the whole file again."
    )
