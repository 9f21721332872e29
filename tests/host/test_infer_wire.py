import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.errors import InvalidInput, MalformedRequest, PayloadTooLarge, Problem
from appliance.host import infer_wire
from appliance.host.infer_wire import binary_parts, parse, scalars, split_body


def parsed(**request: object) -> infer_wire.WireRequest:
    return parse(memoryview(json.dumps(request).encode()))


def one_input(**more: object) -> dict[str, object]:
    return {"name": "x", "shape": [1], "datatype": "FP32", **more}


def sized(count: object) -> dict[str, object]:
    return one_input(parameters={"binary_data_size": count})


def test_without_a_header_length_all_is_json() -> None:
    assert split_body(memoryview(b"{}"), None) == (b"{}", b"")


def test_a_size_that_no_tensor_has_is_refused_while_it_can_still_be_shown() -> None:
    """Python prints no whole number of more than 4300 digits, a product of two such least."""
    with pytest.raises(InvalidInput, match=r"inputs\[0\].shape"):
        parsed(inputs=[one_input(shape=[2, 1 << 63])])
    with pytest.raises(InvalidInput, match=r"inputs\[0\].shape"):
        parsed(inputs=[one_input(shape=[-(10**4299)])])


def test_a_header_length_cuts_the_body_there() -> None:
    assert split_body(memoryview(b"{}xyz"), 2) == (b"{}", b"xyz")


@pytest.mark.parametrize("length", [6, 1 << 40, -1])
def test_a_header_length_beyond_the_body_is_refused(length: int) -> None:
    with pytest.raises(MalformedRequest, match=f"is {length}, but the body has 5 bytes"):
        split_body(memoryview(b"{}xyz"), length)


def test_too_much_json_is_refused_unread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(infer_wire, "MOST_JSON_BYTES", 3)
    with pytest.raises(PayloadTooLarge, match="Send large inputs as binary"):
        split_body(memoryview(b"{   }"), None)


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"\xff\xfe{\x00}\x00",
        b"[" * 100_000,
        b'{"inputs":' + b"[" * 50_000 + b"]" * 50_000 + b"}",
        b'{"inputs":[{"name":"\\ud800"}]}',
        b'{"inputs":[{"name":"\xff"}]}',
        b'{"inputs":[],"id":NaN}',
        b"{} {}",
    ],
)
def test_what_is_not_json_is_a_problem(text: bytes) -> None:
    with pytest.raises(Problem):
        parse(memoryview(text))


@pytest.mark.parametrize(
    ("request_", "place"),
    [
        ({}, "inputs"),
        ({"inputs": [{"shape": [1], "datatype": "FP32"}]}, "name"),
        ({"inputs": [one_input(shape=[1.5])]}, "shape"),
        ({"inputs": [], "id": 7}, "id"),
        ({"inputs": [], "id": "i" * 257}, "id"),
        ({"inputs": [], "outputs": [{}]}, "name"),
        ({"inputs": [], "parameters": []}, "parameters"),
    ],
)
def test_json_of_another_shape_is_refused_by_place(
    request_: dict[str, object], place: str
) -> None:
    with pytest.raises(Problem, match=place):
        binary_parts(parsed(**request_).inputs, memoryview(b""))


def test_unknown_keys_are_ignored() -> None:
    found = parsed(inputs=[one_input(data=[1], extra=1)], model_name="m", id="4")
    assert found.id == "4"


@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_no_bytes_make_parsing_fail_in_another_way_than_a_problem(text: bytes) -> None:
    with contextlib.suppress(Problem):
        parse(memoryview(text))


def test_each_input_gets_its_bytes_in_order() -> None:
    found = parsed(inputs=[sized(2), one_input(data=[1]), sized(3), sized(0)])
    parts = binary_parts(found.inputs, memoryview(b"abcde"))
    assert parts == [b"ab", None, b"cde", b""]


@pytest.mark.parametrize(
    ("inputs", "words"),
    [
        ([sized(4)], "sum to 4 bytes, but 5 bytes follow"),
        ([sized(6)], "sum to 6 bytes, but 5 bytes follow"),
        ([one_input(data=[1])], "sum to 0 bytes, but 5"),
        ([one_input(data=[1], parameters={"binary_data_size": 5})], "Input 'x'.*got both"),
        ([one_input()], "Input 'x'.*got neither"),
        ([sized(-5)], "number of bytes"),
        ([sized("5")], "number of bytes"),
        ([sized(5.0)], "number of bytes"),
        ([sized(True)], "number of bytes"),
        ([sized(10**4299), sized(9 * 10**4299)], "more bytes than any body has"),
        ([one_input(parameters={"shared_memory_region": "r"})], "shared memory is not offered"),
    ],
)
def test_sizes_that_do_not_fit_are_refused_by_name(inputs: list[object], words: str) -> None:
    with pytest.raises(InvalidInput, match=words):
        binary_parts(parsed(inputs=inputs).inputs, memoryview(b"abcde"))


def test_the_only_bytes_input_takes_the_rest_when_it_names_no_size() -> None:
    found = parsed(inputs=[one_input(datatype="BYTES")])
    assert binary_parts(found.inputs, memoryview(b"abcde")) == [b"abcde"]


def test_parameters_that_are_lists_or_objects_have_no_meaning() -> None:
    found = parsed(inputs=[], parameters={"a": 1, "headers": {"x": []}, "l": [1], "t": "é"})
    assert scalars(found.parameters, "the request") == {"a": 1, "t": "é"}
