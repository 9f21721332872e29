import contextlib
import json
import struct

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from appliance.errors import InvalidInput, Problem
from appliance.host import tensor_codec
from appliance.host.tensor_spec import DATATYPE_BYTES

_NUMERIC = [kind for kind, size in DATATYPE_BYTES.items() if size]
_JSON_KINDS = [kind for kind in _NUMERIC if kind not in ("FP16", "BF16")]


def read_json(text: str | bytes, datatype: str, count: int) -> np.ndarray:
    raw = msgspec.Raw(text.encode() if isinstance(text, str) else text)
    return tensor_codec.from_json(raw, datatype, count=count, place="Input 'x'")


def read_binary(data: bytes, datatype: str, count: int) -> np.ndarray:
    return tensor_codec.from_binary(memoryview(data), datatype, count=count, place="Input 'x'")


def arrays_of(datatype: str) -> st.SearchStrategy[np.ndarray]:
    dtype = tensor_codec.dtype_of(datatype)
    return hnp.arrays(dtype, st.integers(0, 20))


@pytest.mark.parametrize("datatype", [kind for kind in _NUMERIC if kind != "BF16"])
@given(data=st.data())
def test_every_fixed_size_type_survives_the_way_there_and_back_in_binary(
    datatype: str, data: st.DataObject
) -> None:
    array = data.draw(arrays_of(datatype))
    encoded = bytes(tensor_codec.to_binary(array, datatype))
    assert len(encoded) == array.size * DATATYPE_BYTES[datatype]
    again = read_binary(encoded, datatype, array.size)
    assert again.tobytes() == array.tobytes()
    assert again.dtype == array.dtype


@pytest.mark.parametrize("datatype", _JSON_KINDS)
@given(data=st.data())
def test_every_finite_value_survives_the_way_there_and_back_in_json(
    datatype: str, data: st.DataObject
) -> None:
    array = data.draw(arrays_of(datatype).filter(lambda one: bool(np.isfinite(one).all())))
    elements, strange = tensor_codec.to_json(array, datatype, place="Output 'y'")
    assert strange == 0
    again = read_json(msgspec.json.encode(elements), datatype, array.size)
    np.testing.assert_array_equal(again, array)


@given(st.lists(st.binary(max_size=40), max_size=20))
def test_bytes_survive_the_way_there_and_back_in_binary(elements: list[bytes]) -> None:
    array = np.empty(len(elements), object)
    array[:] = elements
    encoded = bytes(tensor_codec.to_binary(array, "BYTES"))
    assert read_binary(encoded, "BYTES", len(elements)).tolist() == elements


@given(st.lists(st.text(max_size=10), max_size=20))
def test_text_survives_the_way_there_and_back_in_json(elements: list[str]) -> None:
    encoded = msgspec.json.encode(elements)
    array = read_json(encoded, "BYTES", len(elements))
    assert tensor_codec.to_json(array, "BYTES", place="y") == (elements, 0)


@given(st.binary(max_size=60), st.sampled_from(list(DATATYPE_BYTES)), st.integers(0, 20))
def test_no_bytes_make_the_decoder_fail_in_another_way_than_a_problem(
    data: bytes, datatype: str, count: int
) -> None:
    with contextlib.suppress(Problem):
        assert read_binary(data, datatype, count).size == count


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=2), inner),
    max_leaves=12,
)


@given(_JSON, st.sampled_from(list(DATATYPE_BYTES)), st.integers(0, 8))
def test_no_json_makes_the_decoder_fail_in_another_way_than_a_problem(
    value: object, datatype: str, count: int
) -> None:
    with contextlib.suppress(Problem):
        assert read_json(json.dumps(value), datatype, count).size == count


def test_bfloat16_is_widened_exactly_and_rounded_to_even_on_the_way_back() -> None:
    import ml_dtypes

    values = np.concatenate(
        [
            np.random.default_rng(0).normal(size=500).astype(np.float32),
            np.array([0, -0.0, np.inf, -np.inf, 3.4e38, 1e-40, 1.00390625], np.float32),
        ]
    )
    expected = values.astype(ml_dtypes.bfloat16)
    encoded = bytes(tensor_codec.to_binary(values, "BF16"))
    assert encoded == expected.tobytes()
    widened = read_binary(encoded, "BF16", values.size)
    np.testing.assert_array_equal(widened, expected.astype(np.float32))


def test_a_bfloat16_nan_stays_a_nan() -> None:
    encoded = tensor_codec.to_binary(np.array([np.nan], np.float32), "BF16")
    assert np.isnan(read_binary(bytes(encoded), "BF16", 1)[0])


def test_an_unaligned_tensor_is_copied_to_an_aligned_place() -> None:
    body = memoryview(bytearray(b"j" + np.arange(5, dtype="<f8").tobytes()))
    array = tensor_codec.from_binary(body[1:], "FP64", count=5, place="x")
    assert array.flags.aligned
    assert array.tolist() == [0, 1, 2, 3, 4]


def test_an_aligned_tensor_is_not_copied() -> None:
    body = bytearray(np.arange(5, dtype="<f4").tobytes())
    array = tensor_codec.from_binary(memoryview(body), "FP32", count=5, place="x")
    assert np.shares_memory(array, np.frombuffer(body, np.uint8))


def test_a_wrong_number_of_bytes_is_told_with_expected_and_got() -> None:
    with pytest.raises(InvalidInput, match=r"Input 'x': expected 16 bytes \(4 .* FP32\), got 15"):
        read_binary(bytes(15), "FP32", 4)


def test_a_bool_that_is_neither_0_nor_1_is_refused() -> None:
    with pytest.raises(InvalidInput, match="the byte 0 or 1, got 2"):
        read_binary(b"\x00\x02", "BOOL", 2)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "got 0 bytes in all"),
        (struct.pack("<I", 5) + b"abcd", "says it has 5 bytes, but only 4 are left"),
        (struct.pack("<I", 6) + b"abcdef", "got 1 before the data ended"),
        (struct.pack("<I", 0) * 3, "got 4 bytes more"),
    ],
)
def test_bytes_that_are_not_two_elements_are_refused(data: bytes, words: str) -> None:
    with pytest.raises(InvalidInput, match=words):
        read_binary(data, "BYTES", 2)


@pytest.mark.parametrize(
    ("text", "datatype", "words"),
    [
        ("[1,2,3]", "FP32", "expected 2 elements, got 3"),
        ("[1]", "FP32", "expected 2 elements, got 1"),
        ("[[],[]]", "FP32", "expected 2 elements, got 0"),
        ("[true]", "BOOL", "expected 2 elements, got 1"),
        ("[1,true]", "FP32", "expected elements of FP32, got true"),
        ("[1,true]", "INT32", "expected elements of INT32, got true"),
        ("[1,1.5]", "INT64", "got 1.5"),
        ('["1",2]', "INT64", 'got "1"'),
        ("[1,256]", "UINT8", "does not fit into UINT8"),
        ("[1,-1]", "UINT64", "does not fit"),
        ("[1,18446744073709551616]", "UINT64", "does not fit"),
        ("[1,1e39]", "FP32", "does not fit into FP32"),
        ("[1,null]", "FP32", "null is not an element"),
        ('[{"b64":"eA=="},1]', "BYTES", "an object is not an element"),
        ('[{"a":"b"},1]', "FP32", "an object is not an element"),
        ("[1,2]", "BYTES", "got 1"),
        ("[0,2]", "BOOL", "got 2"),
        ("[1,2]", "FP16", "cannot be sent as JSON; send it as a binary tensor"),
        ("[1,2]", "BF16", "cannot be sent as JSON"),
    ],
)
def test_json_that_does_not_fit_is_refused_by_name(text: str, datatype: str, words: str) -> None:
    with pytest.raises(InvalidInput, match=words) as caught:
        read_json(text, datatype, 2)
    assert "Input 'x'" in caught.value.detail


@pytest.mark.parametrize(
    "text", ["[1,2,3,4]", "[[1,2],[3,4]]", "[[[1],[2]],[[3],[4]]]", "[1,[2,3],4]"]
)
@pytest.mark.parametrize("datatype", ["FP32", "INT8", "UINT64"])
def test_nested_and_flat_data_are_the_same_elements(text: str, datatype: str) -> None:
    assert read_json(text, datatype, 4).tolist() == [1, 2, 3, 4]


def test_truth_values_may_be_words_or_0_and_1() -> None:
    assert read_json("[[true,false],[0,1]]", "BOOL", 4).tolist() == [True, False, False, True]


def test_far_too_many_elements_are_refused_before_they_become_objects() -> None:
    with pytest.raises(InvalidInput, match="expected 1 elements, got 1000000"):
        read_json(b"[" + b"1," * 999_999 + b"1]", "FP32", 1)


def test_not_a_number_and_infinities_become_null_and_are_counted() -> None:
    array = np.array([1.5, np.nan, np.inf, -np.inf], np.float32)
    assert tensor_codec.to_json(array, "FP32", place="y") == ([1.5, None, None, None], 3)


def test_bytes_that_are_not_text_cannot_become_json() -> None:
    array = np.array([b"\xff"], object)
    with pytest.raises(InvalidInput, match="Output 'y': these bytes are not UTF-8"):
        tensor_codec.to_json(array, "BYTES", place="Output 'y'")


def test_half_precision_cannot_become_json() -> None:
    with pytest.raises(InvalidInput, match="ask for binary"):
        tensor_codec.to_json(np.zeros(1, np.float16), "FP16", place="Output 'y'")
