import json
from typing import Any

import numpy as np
import pytest

from appliance.errors import Internal, InvalidInput
from appliance.host.infer_request import InferRequest, RequestedOutput
from appliance.host.infer_response import best_classes, encode_response


def encode(
    outputs: dict[str, np.ndarray],
    *wanted: RequestedOutput,
    labels: dict[str, tuple[str, ...]] | None = None,
) -> tuple[dict[str, Any], bytes, int | None]:
    request = InferRequest(id="42", arrays={}, outputs=wanted, batch=1, parameters={})
    body, json_bytes = encode_response(
        request, outputs, model="m", version="3", labels=labels or {}
    )
    cut = len(body) if json_bytes is None else json_bytes
    return json.loads(body[:cut]), body[cut:], json_bytes


def wanted(name: str, datatype: str = "FP32", **more: Any) -> RequestedOutput:
    return RequestedOutput(name, datatype, more.pop("is_binary", False), **more)


def test_json_answers_are_flat_and_name_model_version_and_id() -> None:
    array = np.array([[1, 2], [3, 4]], np.float32)
    answer, rest, json_bytes = encode({"y": array}, wanted("y"))
    assert answer == {
        "model_name": "m",
        "model_version": "3",
        "id": "42",
        "outputs": [{"name": "y", "datatype": "FP32", "shape": [2, 2], "data": [1, 2, 3, 4]}],
    }
    assert (rest, json_bytes) == (b"", None)


def test_binary_outputs_follow_the_json_in_order_and_may_be_mixed_with_json() -> None:
    one, two = np.array([1], np.int64), np.array([2.5, 3], np.float32)
    answer, rest, json_bytes = encode(
        {"a": one, "b": two, "c": one},
        wanted("b", is_binary=True),
        wanted("c", "INT64"),
        wanted("a", "INT64", is_binary=True),
    )
    assert json_bytes is not None
    assert rest == two.tobytes() + one.tobytes()
    first, second, third = answer["outputs"]
    assert first["parameters"] == {"binary_data_size": 8}
    assert "data" not in first
    assert second["data"] == [1]
    assert third["parameters"] == {"binary_data_size": 8}


def test_an_empty_binary_output_still_says_its_size() -> None:
    answer, rest, json_bytes = encode(
        {"y": np.empty((0, 7), np.float32)}, wanted("y", is_binary=True)
    )
    assert answer["outputs"][0]["parameters"] == {"binary_data_size": 0}
    assert answer["outputs"][0]["shape"] == [0, 7]
    assert (rest, json_bytes is None) == (b"", False)


def test_an_output_that_is_not_contiguous_is_sent_row_by_row() -> None:
    array = np.arange(6, dtype=np.float32).reshape(2, 3).T
    _, rest, _ = encode({"y": array}, wanted("y", is_binary=True))
    assert np.frombuffer(rest, np.float32).tolist() == [0, 3, 1, 4, 2, 5]


def test_values_json_has_no_numbers_for_become_null_and_are_flagged() -> None:
    answer, _, _ = encode({"y": np.array([np.nan, 1, np.inf], np.float32)}, wanted("y"))
    assert answer["outputs"][0]["data"] == [None, 1, None]
    assert answer["outputs"][0]["parameters"] == {"non_finite": 2}


def test_classes_are_the_best_of_each_row_with_value_index_and_label() -> None:
    array = np.array([[0.25, 0.5, 0.25], [3, 1, 2]], np.float32)
    answer, _, _ = encode(
        {"y": array}, wanted("y", classes=2), labels={"y": ("bus", "car", "van")}
    )
    (output,) = answer["outputs"]
    assert (output["datatype"], output["shape"]) == ("BYTES", [2, 2])
    assert output["data"] == [
        "0.500000:1:car",
        "0.250000:0:bus",
        "3.000000:0:bus",
        "2.000000:2:van",
    ]


def test_classes_may_be_sent_in_binary() -> None:
    _, rest, _ = encode(
        {"y": np.array([[1, 2]], np.uint8)}, wanted("y", is_binary=True, classes=1)
    )
    assert rest == b"\x03\x00\x00\x002:1"


@pytest.mark.parametrize(
    ("array", "count", "expected"),
    [
        (np.array([1, 3, 2], np.uint8), 2, [b"3:1", b"2:2"]),
        (np.array([1, 3], np.int64), 9, [b"3:1", b"1:0"]),
        (np.array([np.nan, 1, 2], np.float32), 3, [b"2.000000:2", b"1.000000:1", b"nan:0"]),
        (np.array([5, 5, 5], np.int8), 2, [b"5:0", b"5:1"]),
    ],
)
def test_classes_of_one_row(array: np.ndarray, count: int, expected: list[bytes]) -> None:
    assert best_classes(array, count, labels=()).tolist() == expected


def test_classes_beyond_the_labels_have_none() -> None:
    assert best_classes(np.array([1, 2], np.int8), 2, labels=("one",)).tolist() == [
        b"2:1",
        b"1:0:one",
    ]


def test_bytes_that_are_not_text_are_refused_as_json_by_name() -> None:
    with pytest.raises(InvalidInput, match="Output 'y'"):
        encode({"y": np.array([b"\xff"], object)}, wanted("y", "BYTES"))


def test_a_model_that_withholds_an_output_is_our_own_fault() -> None:
    with pytest.raises(Internal, match="no output 'y'"):
        encode({}, wanted("y"))
