"""TensorFlow Serving's bodies as tensor requests; whole requests: tests/web/dialects."""

import contextlib
import json
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.errors import InvalidInput, MalformedRequest, PayloadTooLarge
from appliance.host.tensor_spec import TensorSpec
from appliance.host.tensorflow_request import Asked, read, shape_of

NUMBERS = (TensorSpec("x", "FP32", (-1, 2)),)
TEXTS = (TensorSpec("t", "BYTES", (-1,)),)
FIXED = (TensorSpec("x", "FP32", (2, 2)),)


def asked(document: Any, inputs: Any = NUMBERS, verb: str = "predict") -> Asked:
    return read(memoryview(json.dumps(document).encode()), verb, inputs)


def test_rows_become_one_tensor_with_the_rows_first() -> None:
    found = asked({"instances": [[1, 2], {"x": [3, 4]}]})
    (one,) = found.wire.inputs
    assert (one.name, one.shape, one.datatype, found.has_rows) == ("x", [2, 2], "FP32", True)
    assert bytes(one.data) == b"[[1, 2],[3, 4]]"  # type: ignore[arg-type]


def test_columns_are_taken_as_they_are() -> None:
    found = asked({"inputs": [[1, 2]]})
    assert (found.wire.inputs[0].shape, found.has_rows) == ([1, 2], False)


def test_text_of_any_nesting_becomes_length_prefixed_bytes() -> None:
    found = asked({"instances": ["a", {"b64": "YmM="}]}, TEXTS)
    assert found.rest == b"\x01\x00\x00\x00a\x02\x00\x00\x00bc"
    assert found.wire.inputs[0].shape == [2]


def test_a_lone_text_is_one_element() -> None:
    assert asked({"inputs": "a"}, TEXTS).wire.inputs[0].shape == [1]


def test_examples_are_flat_and_take_the_models_shape() -> None:
    found = asked({"examples": [{"x": [1, 2]}, {"x": [3, 4]}]}, verb="classify")
    assert found.wire.inputs[0].shape == [2, 2]
    texts = asked({"examples": [{"t": {"b64": "YQ=="}}]}, TEXTS, verb="regress")
    assert (texts.wire.inputs[0].shape, texts.rest) == ([1], b"\x01\x00\x00\x00a")
    with pytest.raises(InvalidInput, match="takes no rows"):
        asked({"examples": [{"x": [1, 2]}]}, FIXED, verb="classify")


@given(shape=st.lists(st.integers(1, 4), max_size=4))
def test_the_shape_of_nested_lists_is_numpys(shape: list[int]) -> None:
    text = json.dumps(np.zeros(shape).tolist()).encode()
    assert shape_of(msgspec.Raw(text), "x") == shape


@given(
    value=st.recursive(
        st.integers() | st.none(), lambda inner: st.lists(inner, max_size=3), max_leaves=10
    )
)
def test_only_lists_of_one_length_have_a_shape(value: Any) -> None:
    raw = msgspec.Raw(json.dumps(value).encode())
    if _is_even(value):
        assert shape_of(raw, "x") == _shape(value)
        return
    with pytest.raises(InvalidInput, match="same length"):
        shape_of(raw, "x")


def _shape(value: Any) -> list[int]:
    if not isinstance(value, list):
        return []
    return [len(value), *(_shape(value[0]) if value else [])]


def _is_even(value: Any) -> bool:
    if not isinstance(value, list):
        return True
    return all(_is_even(one) and _shape(one) == _shape(value[0]) for one in value)


@given(body=st.binary(max_size=100))
def test_no_bytes_raise_anything_but_a_problem(body: bytes) -> None:
    for verb in ("predict", "classify"):
        for octets in (body, b'{"inputs":' + body + b"}", b'{"instances":[' + body + b"]}"):
            with contextlib.suppress(MalformedRequest, InvalidInput, PayloadTooLarge):
                read(memoryview(octets), verb, NUMBERS)


def test_a_picture_in_an_example_is_bytes_as_in_a_row() -> None:
    found = asked({"examples": [{"x": {"b64": "YQ=="}}, {"x": {"b64": "YmM="}}]}, verb="classify")
    (one,) = found.wire.inputs
    assert (one.datatype, one.shape) == ("BYTES", [2])
    assert found.rest == b"\1\0\0\0a\2\0\0\0bc"
