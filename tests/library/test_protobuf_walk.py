"""A protobuf file is stepped through without reading more than the heads of its fields."""

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.errors import ModelInvalid
from appliance.library.protobuf_walk import LENGTH, VARINT, fields, text_of
from tests.tiny_formats import field, varint


def walked(content: bytes) -> list[tuple[int, int, int]]:
    return [(f.number, f.wire, f.value) for f in fields(io.BytesIO(content), 0, len(content))]


def test_every_kind_of_field_is_stepped_over() -> None:
    fixed = varint(3 << 3 | 1) + b"8" * 8 + varint(4 << 3 | 5) + b"4" * 4
    content = field(1, 300) + field(2, "text") + fixed + field(2000, 1)
    found = [(number, wire) for number, wire, _ in walked(content)]
    assert found == [(1, VARINT), (2, LENGTH), (3, 1), (4, 5), (2000, VARINT)]
    assert walked(content)[0][2] == 300


def test_the_text_of_a_field_is_read_where_it_lies() -> None:
    content = field(7, 1) + field(2, "name")
    file = io.BytesIO(content)
    assert text_of(file, list(fields(file, 0, len(content)))[1]) == "name"


def test_a_text_larger_than_any_name_is_refused() -> None:
    content = field(1, b"x" * ((1 << 20) + 1))
    file = io.BytesIO(content)
    with pytest.raises(ModelInvalid):
        text_of(file, next(fields(file, 0, len(content))))


@pytest.mark.parametrize(
    "content",
    [
        field(1, "cut off")[:-1],
        b"\xff" * 11,
        varint(1 << 3 | 3),  # a group, which is no more
        varint(0 << 3) + b"\x00",
    ],
)
def test_what_does_not_add_up_is_refused(content: bytes) -> None:
    with pytest.raises(ModelInvalid):
        walked(content)


@given(st.binary(max_size=200))
def test_any_bytes_are_walked_or_refused(content: bytes) -> None:
    try:
        found = walked(content)
    except ModelInvalid:
        return
    assert len(found) <= len(content)
