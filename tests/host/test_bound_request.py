"""The request that keeps its tensors bound."""

import numpy as np
import pytest

from appliance.host.bound_request import BoundRequest
from appliance.host.openvino_import import ov


def compiled(shape: list[int]) -> "ov.CompiledModel":
    from openvino import opset13 as ops

    entry = ops.parameter(shape, np.float32, name="x")
    doubled = ops.multiply(entry, ops.constant(np.float32(2)))
    doubled.output(0).tensor.set_names({"y"})
    return ov.Core().compile_model(ov.Model([doubled], [entry]), "CPU")


def ones(*shape: int, value: float = 1) -> "dict[str, np.ndarray]":
    return {"x": np.full(shape, value, np.float32)}


def test_each_call_is_answered_from_its_own_input_and_leaves_the_callers_array_alone() -> None:
    request = BoundRequest(compiled([1, 3]), ["x"], ["y"])
    for value in (1, 5, -2):
        arrays = ones(1, 3, value=value)
        assert request.infer(arrays)["y"].tolist() == [[2 * value] * 3]
        assert arrays["x"].tolist() == [[value] * 3]


def test_a_wrong_shape_is_refused_and_the_next_call_is_answered() -> None:
    request = BoundRequest(compiled([1, 3]), ["x"], ["y"])
    with pytest.raises(RuntimeError):
        request.infer(ones(1, 4))
    for value in (3, 4):
        assert request.infer(ones(1, 3, value=value))["y"].tolist() == [[2 * value] * 3]


def test_a_missing_tensor_is_not_answered_from_the_last_call() -> None:
    request = BoundRequest(compiled([1, 3]), ["x"], ["y"])
    request.infer(ones(1, 3, value=9))
    with pytest.raises((RuntimeError, KeyError)):
        request.infer({"z": np.ones((1, 3), np.float32)})


def test_a_variable_shape_follows_the_input() -> None:
    request = BoundRequest(compiled([-1, 3]), ["x"], ["y"])
    assert request.infer(ones(2, 3))["y"].shape == (2, 3)
    assert request.infer(ones(5, 3))["y"].shape == (5, 3)


def test_a_large_input_is_bound_instead_of_copied() -> None:
    request = BoundRequest(compiled([1, 200_000]), ["x"], ["y"])
    for value in (1, 7):
        assert float(request.infer(ones(1, 200_000, value=value))["y"][0, -1]) == 2 * value


def test_a_large_input_that_may_not_be_written_is_answered_too() -> None:
    request = BoundRequest(compiled([1, 200_000]), ["x"], ["y"])
    for value in (1, 7):
        arrays = ones(1, 200_000, value=value)
        arrays["x"].flags.writeable = False
        assert float(request.infer(arrays)["y"][0, -1]) == 2 * value
        assert float(request.infer(ones(1, 200_000, value=5))["y"][0, -1]) == 10


def test_a_large_input_of_another_type_is_not_misread() -> None:
    request = BoundRequest(compiled([1, 200_000]), ["x"], ["y"])
    request.infer(ones(1, 200_000))
    try:
        found = request.infer({"x": np.full((1, 200_000), 3, np.int32)})["y"]
    except RuntimeError:
        return
    assert float(found[0, 0]) == 6
