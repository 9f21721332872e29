import contextlib
import copy
import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.errors import InvalidInput, PayloadTooLarge, Problem
from appliance.host.infer_request import InferRequest, decode_request
from appliance.host.open_inference import TensorModel, TensorSpec
from tests.tensor_models import ADD, MOST_BATCH, ONE_OF_EACH, PICTURE, SCORES, UPPER


def decode(
    model: TensorModel, request: object, rest: bytes | None = None, *, header: int | None = None
) -> InferRequest:
    """Decode a request given as an object, or as bytes; `rest` follows its JSON."""
    text = request if isinstance(request, bytes) else json.dumps(request).encode()
    if rest is not None and header is None:
        header = len(text)
    return decode_request(
        memoryview(text + (rest or b"")),
        header,
        model.inputs,
        model.outputs,
        most_batch=model.most_batch,
        request_id="front-1",
        decode_picture=model.decode_picture,
    )


def tensor(
    name: str = "features", shape: Any = (1, 5), datatype: str = "FP32", **more: Any
) -> Any:
    return {"name": name, "shape": list(shape), "datatype": datatype, **more}


def scores(rows: int = 1, **more: Any) -> dict[str, Any]:
    data = list(range(5 * rows))
    return {"inputs": [tensor(shape=(rows, 5), data=data)], **more}


def test_a_request_names_its_arrays_and_keeps_its_id() -> None:
    request = decode(SCORES, scores(2, id="42", parameters={"mine": "x"}))
    assert request.arrays["features"].tolist() == [[0, 1, 2, 3, 4], [5, 6, 7, 8, 9]]
    assert (request.id, request.batch, request.parameters) == ("42", 2, {"mine": "x"})


@pytest.mark.parametrize("given_id", [{}, {"id": ""}, {"id": None}])
def test_a_request_without_id_gets_that_of_its_http_request(given_id: dict[str, Any]) -> None:
    assert decode(SCORES, scores(**given_id)).id == "front-1"


def test_no_outputs_means_all_of_them_as_json() -> None:
    for wanted in ({}, {"outputs": []}, {"outputs": None}):
        body = {"inputs": [tensor("a", (1, 4), data=[0] * 4), tensor("b", (1, 4), data=[0] * 4)]}
        found = decode(ADD, body | wanted).outputs
        assert [(one.name, one.is_binary) for one in found] == [
            ("sum", False),
            ("difference", False),
        ]


def test_what_an_output_says_of_binary_wins_over_the_whole_request() -> None:
    body = {
        "inputs": [tensor("a", (1, 4), data=[0] * 4), tensor("b", (1, 4), data=[0] * 4)],
        "parameters": {"binary_data_output": True},
        "outputs": [{"name": "difference", "parameters": {"binary_data": False}}, {"name": "sum"}],
    }
    found = decode(ADD, body).outputs
    assert [(one.name, one.is_binary) for one in found] == [("difference", False), ("sum", True)]


def test_json_and_binary_inputs_may_be_mixed() -> None:
    array = np.arange(4, dtype="<f4")
    body = {
        "inputs": [
            tensor("b", (1, 4), data=[[1, 2, 3, 4]]),
            tensor("a", (1, 4), parameters={"binary_data_size": 16}),
        ]
    }
    request = decode(ADD, body, array.tobytes())
    assert request.arrays["a"].tolist() == [[0, 1, 2, 3]]
    assert request.arrays["b"].tolist() == [[1, 2, 3, 4]]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"inputs": []}, "Expected 1 inputs, got 0: features missing"),
        ({"inputs": [tensor("feature", data=[])]}, "no input 'feature'; the model has features"),
        ({"inputs": [tensor(data=[0] * 5)] * 2}, "Input 'features' is given more than once"),
        ({"inputs": [tensor(datatype="FP64", data=[0] * 5)]}, "expected datatype FP32, got FP64"),
        ({"inputs": [tensor(datatype="fp32", data=[0] * 5)]}, "expected datatype FP32, got fp32"),
        ({"inputs": [tensor(shape=(5,), data=[0] * 5)]}, r"expected shape \[-1,5\], got \[5\]"),
        (
            {"inputs": [tensor(shape=(1, 6), data=[0] * 6)]},
            r"expected shape \[-1,5\], got \[1,6\]",
        ),
        ({"inputs": [tensor(shape=(0, 5), data=[])]}, r"got \[0,5\]"),
        ({"inputs": [tensor(shape=(-1, 5), data=[])]}, r"got \[-1,5\]"),
        ({"inputs": [tensor(data=[0] * 4)]}, "'features': expected 5 elements, got 4"),
        ({"outputs": [{"name": "score"}]}, "no output 'score'; the model has scores"),
        ({"outputs": [{"name": "scores"}] * 2}, "Output 'scores' is asked for more than once"),
        ({"outputs": [{"name": "scores", "parameters": {"binary_data": 1}}]}, "true or false"),
        ({"outputs": [{"name": "scores", "parameters": {"classification": -1}}]}, "from 1"),
        ({"outputs": [{"name": "scores", "parameters": {"classification": True}}]}, "from 1"),
        ({"parameters": {"binary_data_output": "yes"}}, "'binary_data_output' of the request"),
        ({"parameters": {"triton_enable_empty_final_response": True}}, "is reserved"),
        ({"parameters": {"sequence_id": 7}}, "fed at /api/v1/streams"),
        ({"parameters": {"sequence_id": "seven"}}, "fed at /api/v1/streams"),
        ({"parameters": {"sequence_start": True}}, "fed at /api/v1/streams"),
    ],
)
def test_what_does_not_fit_the_model_is_refused_by_name(
    change: dict[str, Any], words: str
) -> None:
    with pytest.raises(InvalidInput, match=words):
        decode(SCORES, scores() | change)


def test_a_batch_may_be_as_large_as_the_limit_and_no_larger() -> None:
    assert decode(SCORES, scores(MOST_BATCH)).batch == MOST_BATCH
    with pytest.raises(PayloadTooLarge, match=f"may have {MOST_BATCH} rows"):
        decode(SCORES, scores(MOST_BATCH + 1))


def test_inputs_of_different_batches_are_refused() -> None:
    body = {"inputs": [tensor("a", (1, 4), data=[0] * 4), tensor("b", (2, 4), data=[0] * 8)]}
    with pytest.raises(InvalidInput, match="same batch size, got a: 1, b: 2"):
        decode(ADD, body)


def test_a_model_with_a_fixed_first_size_takes_just_that_shape() -> None:
    model = TensorModel(
        name="fixed",
        version=1,
        inputs=[TensorSpec("x", "FP32", (3, -1))],
        outputs=[TensorSpec("y", "FP32", (3,))],
        most_batch=2,
        infer=lambda arrays: arrays,
    )
    body = {"inputs": [tensor("x", (3, 2), data=[0] * 6)]}
    assert decode(model, body).arrays["x"].shape == (3, 2)
    with pytest.raises(InvalidInput, match=r"expected shape \[3,-1\], got \[2,3\]"):
        decode(model, {"inputs": [tensor("x", (2, 3), data=[0] * 6)]})


@pytest.mark.parametrize("datatype", ["FP16", "BF16"])
def test_half_precision_goes_in_and_out_in_binary_only(datatype: str) -> None:
    model = ONE_OF_EACH[datatype]
    sized = tensor("x", (1, 2), datatype, parameters={"binary_data_size": 4})
    ones = np.ones(2, "<f2").tobytes() if datatype == "FP16" else b"\x80\x3f" * 2
    binary_out = {"parameters": {"binary_data_output": True}}
    request = decode(model, {"inputs": [sized]} | binary_out, ones)
    assert request.arrays["x"].tolist() == [[1, 1]]
    with pytest.raises(InvalidInput, match=f"'x': {datatype} cannot be sent as JSON"):
        decode(model, {"inputs": [tensor("x", (1, 2), datatype, data=[1, 1])]} | binary_out)
    with pytest.raises(InvalidInput, match=f"'x_out': {datatype} cannot be sent as JSON"):
        decode(model, {"inputs": [sized]}, ones)


def test_text_has_no_classes() -> None:
    body = {
        "inputs": [tensor("text", (1, 1), "BYTES", data=["a"])],
        "outputs": [{"name": "upper", "parameters": {"classification": 1}}],
    }
    with pytest.raises(InvalidInput, match="text has no classes"):
        decode(UPPER, body)


# ---- raw requests ------------------------------------------------------------------------


def test_a_raw_request_is_one_row_of_the_only_input_and_answers_in_binary() -> None:
    request = decode(SCORES, np.arange(5, dtype="<f4").tobytes(), header=0)
    assert request.arrays["features"].tolist() == [[0, 1, 2, 3, 4]]
    assert [one.is_binary for one in request.outputs] == [True]
    assert (request.id, request.batch) == ("front-1", 1)


def test_a_raw_request_finds_the_one_free_size_from_its_length() -> None:
    request = decode(ONE_OF_EACH["INT16"], bytes(14), header=0)
    assert request.arrays["x"].shape == (1, 7)


def test_a_raw_request_of_text_is_one_element() -> None:
    request = decode(UPPER, b"\x02\x00\x00\x00hi", header=0)
    assert request.arrays["text"].tolist() == [[b"hi"]]


@pytest.mark.parametrize(
    ("model", "body", "words"),
    [
        (SCORES, bytes(19), "expected 20 bytes .*got 19"),
        (ONE_OF_EACH["INT16"], bytes(15), "multiple of 2 bytes"),
        (ONE_OF_EACH["INT16"], b"", "multiple of 2 bytes"),
        (ONE_OF_EACH["BYTES"], bytes(4), "cannot say which shape"),
        (ADD, bytes(16), "one input; this one has 2: a, b"),
    ],
)
def test_a_raw_request_that_does_not_fit_is_refused(
    model: TensorModel, body: bytes, words: str
) -> None:
    with pytest.raises(InvalidInput, match=words):
        decode(model, body, header=0)


# ---- pictures ----------------------------------------------------------------------------


def picture(count: int, **more: Any) -> dict[str, Any]:
    return {"inputs": [tensor("image", (count,), "BYTES", **more)]}


def test_encoded_pictures_become_the_pixels_of_a_picture_input() -> None:
    request = decode(PICTURE, picture(2), b"\x01\x00\x00\x00\x07" + b"\x02\x00\x00\x00\x09\x00")
    image = request.arrays["image"]
    assert image.shape == (2, 2, 2, 3)
    assert image[:, 0, 0, 0].tolist() == [7, 9]
    assert request.batch == 2


def test_a_picture_input_still_takes_pixels() -> None:
    body = {"inputs": [tensor("image", (1, 2, 2, 3), "UINT8", data=[5] * 12)]}
    assert decode(PICTURE, body).arrays["image"].max() == 5


@pytest.mark.parametrize(
    ("body", "rest", "words"),
    [
        (picture(1, data=["x"]), None, "encoded pictures as binary BYTES"),
        (picture(0, parameters={"binary_data_size": 0}), b"", "encoded pictures as binary"),
        (picture(1), b"\x09\x00\x00\x00\x07", "only 1 are left"),
        (picture(1), b"\x01\x00\x00\x00\xff", "Input 'image': This is not a picture."),
    ],
)
def test_pictures_that_cannot_be_read_are_refused(
    body: Any, rest: bytes | None, words: str
) -> None:
    with pytest.raises(InvalidInput, match=words):
        decode(PICTURE, body, rest)


def test_too_many_pictures_are_refused_undecoded() -> None:
    elements = b"\x01\x00\x00\x00\x07" * (MOST_BATCH + 1)
    with pytest.raises(PayloadTooLarge):
        decode(PICTURE, picture(MOST_BATCH + 1), elements)


def test_text_is_not_a_picture_where_no_decoder_is_given() -> None:
    with pytest.raises(InvalidInput, match="expected datatype FP32, got BYTES"):
        decode(SCORES, {"inputs": [tensor(shape=(1,), datatype="BYTES", data=["x"])]})


# ---- anything at all -----------------------------------------------------------------------

_SCALAR = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4)
_ANYTHING = st.recursive(
    _SCALAR,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=6,
)
_FULL = {
    "id": "1",
    "parameters": {"binary_data_output": True, "x": "y"},
    "inputs": [
        tensor("a", (1, 4), data=[1, 2, 3, 4]),
        tensor("b", (1, 4), parameters={"binary_data_size": 16}),
    ],
    "outputs": [
        {"name": "sum", "parameters": {"binary_data": True}},
        {"name": "difference", "parameters": {"classification": 2, "binary_data": False}},
    ],
}


def _places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    found = [path] if path else []
    if isinstance(value, dict):
        return found + [place for key in value for place in _places(value[key], (*path, key))]
    if isinstance(value, list):
        return found + [
            place for key, one in enumerate(value) for place in _places(one, (*path, key))
        ]
    return found


@settings(max_examples=300)
@given(
    place=st.sampled_from(_places(_FULL)),
    replacement=_ANYTHING,
    rest=st.sampled_from([bytes(16), b"", bytes(15), bytes(64)]),
    removes=st.booleans(),
)
def test_no_change_of_a_good_request_fails_in_another_way_than_a_problem(
    place: tuple[Any, ...], replacement: Any, rest: bytes, removes: bool
) -> None:
    body = copy.deepcopy(_FULL)
    target: Any = body
    for step in place[:-1]:
        target = target[step]
    if removes:
        del target[place[-1]]
    else:
        target[place[-1]] = replacement
    try:
        request = decode(ADD, body, rest)
    except Problem:
        return
    assert set(request.arrays) == {"a", "b"}
    assert all(array.shape == (1, 4) for array in request.arrays.values())


@settings(max_examples=300)
@given(
    body=st.binary(max_size=120),
    header=st.none() | st.integers(-2, 130),
    model=st.sampled_from([ADD, SCORES, UPPER, PICTURE, *ONE_OF_EACH.values()]),
)
def test_no_bytes_fail_in_another_way_than_a_problem(
    body: bytes, header: int | None, model: TensorModel
) -> None:
    with contextlib.suppress(Problem):
        decode_request(
            memoryview(body),
            header,
            model.inputs,
            model.outputs,
            most_batch=model.most_batch,
            decode_picture=model.decode_picture,
        )
