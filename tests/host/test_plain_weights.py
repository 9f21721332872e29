from typing import Any

import numpy as np
import pytest

from appliance.host.openvino_import import ov
from appliance.host.plain_weights import with_plain_weights

RANDOM = np.random.default_rng(3)


def packed(shape: tuple[int, ...], kind: type[Any] = np.int8) -> Any:
    """Return weights as a file with quantised weights has them: integers, a shift and a scale."""
    ops = ov.opset13
    whole = RANDOM.integers(0, 100, shape).astype(kind)
    shifted = ops.subtract(ops.convert(ops.constant(whole), np.float32), np.float32(50))
    scale = RANDOM.random((shape[0],) + (1,) * (len(shape) - 1)) / 400 + 0.001
    return ops.multiply(shifted, ops.constant(scale.astype(np.float32)))


def convolutions(
    layers: int = 4, kind: type[Any] = np.int8, *, channels: int = 64, quantised: bool = False
) -> Any:
    ops = ov.opset13
    entry = value = ops.parameter([1, channels, 4, 4], np.float32, name="image")
    for _ in range(layers):
        if quantised:
            low, high = np.float32(0), np.float32(1)
            value = ops.fake_quantize(value, low, high, low, high, 256)
        value = ops.convolution(
            value, packed((channels, channels, 1, 1), kind), [1, 1], [0, 0], [0, 0], [1, 1]
        )
        value = ops.sigmoid(value)
    return ov.Model([value], [entry])


def small_constants(model: Any) -> int:
    return sum(
        operation.get_type_name() == "Constant" and operation.get_element_type().get_size() == 1
        for operation in model.get_ops()
    )


@pytest.mark.parametrize("kind", [np.int8, np.uint8])
def test_weights_become_the_numbers_that_they_mean(kind: type[Any]) -> None:
    model = convolutions(kind=kind)
    image = RANDOM.random((1, 64, 4, 4), np.float32)
    alone = {"NUM_STREAMS": "1", "INFERENCE_PRECISION_HINT": "f32"}
    before = ov.Core().compile_model(model.clone(), "CPU", alone)(image)[0]
    assert small_constants(model) == 4
    plain = with_plain_weights(model)
    assert small_constants(plain) == 0
    after = ov.Core().compile_model(plain, "CPU", alone)(image)[0]
    np.testing.assert_allclose(after, before, rtol=1e-4, atol=1e-5)


def test_streams_that_are_compiled_at_once_answer_as_one_does() -> None:
    model = convolutions(layers=24, channels=512)
    image = RANDOM.random((1, 512, 4, 4), np.float32)
    alone = {"NUM_STREAMS": "1", "INFERENCE_PRECISION_HINT": "f32"}
    expected = ov.Core().compile_model(model.clone(), "CPU", alone)(image)[0]
    plain = with_plain_weights(model)
    for _ in range(6):  # without plain weights one in five is wrong on two cores
        settings = {"NUM_STREAMS": "2", "INFERENCE_PRECISION_HINT": "f32"}
        told = ov.Core().compile_model(plain.clone(), "CPU", settings)(image)[0]
        np.testing.assert_allclose(told, expected, rtol=1e-3, atol=1e-4)


def test_a_model_that_computes_with_integers_keeps_them() -> None:
    assert small_constants(with_plain_weights(convolutions(quantised=True))) == 4


def test_a_model_without_small_weights_is_left_as_it_is() -> None:
    ops = ov.opset13
    entry = ops.parameter([1, 3], np.float32)
    half = ops.convert(ops.constant(np.ones((1, 3), np.float16)), np.float32)
    model = ov.Model([ops.add(entry, half)], [entry])
    assert with_plain_weights(model) is model
    assert "Convert" in {operation.get_type_name() for operation in model.get_ops()}
