"""Answers in TensorFlow Serving's shapes."""

import json
from typing import Any

import numpy as np
import pytest

from appliance.errors import InvalidInput
from appliance.host.tensorflow_response import write

A = np.array([[1.0, 2.0], [3.0, 4.0]], np.float32)


def told(verb: str, outputs: dict[str, Any], rows: int | None = None, **labels: Any) -> Any:
    return json.loads(write(verb, outputs, rows=rows, labels=labels))


def test_one_output_goes_without_its_name() -> None:
    assert told("predict", {"a": A}) == {"outputs": A.tolist()}
    assert told("predict", {"a": A}, rows=2) == {"predictions": A.tolist()}


def test_several_outputs_are_named_by_row_or_by_column() -> None:
    outputs = {"a": A, "b": A[:, 0]}
    assert told("predict", outputs) == {"outputs": {"a": A.tolist(), "b": [1.0, 3.0]}}
    assert told("predict", outputs, rows=2)["predictions"][1] == {"a": [3.0, 4.0], "b": 3.0}


def test_an_output_without_rows_is_refused_by_row() -> None:
    with pytest.raises(InvalidInput, match="columns"):
        write("predict", {"a": A}, rows=3, labels={})
    with pytest.raises(InvalidInput, match="columns"):
        write("predict", {"a": np.float32(1).reshape(())}, rows=1, labels={})


def test_bytes_are_text_or_base64() -> None:
    values = np.array([b"a", b"\xff", "b"], object)
    assert told("predict", {"a": values}) == {"outputs": ["a", {"b64": "/w=="}, "b"]}
    assert told("predict", {"a_bytes": values[:1]}) == {"outputs": [{"b64": "YQ=="}]}
    assert told("predict", {"a": np.empty((0,), object)}) == {"outputs": []}


def test_numbers_json_lacks_are_null() -> None:
    values = np.array([np.nan, np.inf, 1], np.float32)
    assert told("predict", {"a": values}) == {"outputs": [None, None, 1.0]}


def test_classes_go_by_label_or_by_number() -> None:
    assert told("classify", {"a": A}, a=("cat",))["result"][0] == [["cat", 1.0], ["1", 2.0]]
    two = told("classify", {"a": A, "b": A}, b=("cat", "dog"))
    assert two["result"][1] == [["cat", 3.0], ["dog", 4.0]]


def test_a_value_is_one_number_for_each_row() -> None:
    assert told("regress", {"a": A[:, :1]}) == {"result": [1.0, 3.0]}
    for outputs in ({"a": A}, {"a": A[:, 0], "b": A[:, 0]}, {}):
        with pytest.raises(InvalidInput, match="not clear"):
            write("regress", outputs, rows=2, labels={})
