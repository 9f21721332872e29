from typing import Any

import msgspec
import numpy as np
import pytest

from appliance.host.bert_encoder import BertShape, encoder, linear, mean_pooled
from appliance.host.openvino_import import ov
from tests.tiny_bert import CONFIG, LAYERS, states, tiny_weights

SHAPE = msgspec.convert(CONFIG, BertShape)


def compiled(outputs: list[Any], inputs: list[Any]) -> Any:
    model = ov.Model(outputs, inputs, "test")
    return ov.Core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})


@pytest.fixture(scope="module")
def run() -> Any:
    graph = encoder(tiny_weights(), SHAPE)
    pooled = mean_pooled(graph.states[-1], graph.mask)
    model = compiled([*graph.states, pooled], [graph.ids, graph.mask])
    return lambda ids, mask: [*model([np.array(ids), np.array(mask)]).values()]


def test_every_state_is_that_of_the_published_architecture(run: Any) -> None:
    tokens = [2, 4, 6, 8, 9, 3]
    found = run([tokens], [[1] * len(tokens)])
    wanted = states(tiny_weights(), tokens)
    assert len(wanted) == LAYERS + 1
    for got, expected in zip(found, wanted, strict=False):
        np.testing.assert_allclose(got[0], expected, atol=2e-5)
    np.testing.assert_allclose(found[-1][0], wanted[-1].mean(0), atol=2e-5)


def test_padding_changes_nothing(run: Any) -> None:
    alone = run([[2, 4, 3]], [[1, 1, 1]])[-1]
    beside = run([[2, 4, 3, 0, 0], [2, 5, 6, 7, 3]], [[1, 1, 1, 0, 0], [1] * 5])[-1]
    np.testing.assert_allclose(alone[0], beside[0], atol=1e-5)


def test_a_text_without_tokens_is_finite(run: Any) -> None:
    assert np.isfinite(run([[0, 0]], [[0, 0]])[-1]).all()


def test_a_missing_weight_is_named() -> None:
    weights = tiny_weights()
    del weights["encoder.layer.1.output.dense.bias"]
    with pytest.raises(KeyError, match=r"encoder.layer.1.output.dense.bias"):
        encoder(weights, SHAPE)


def test_linear_is_weight_times_value_plus_bias() -> None:
    value = ov.opset13.parameter([1, 2], np.float32)
    model = compiled([linear(value, np.array([[1, 2], [3, 4.0]]), np.array([5, 6]))], [value])
    assert model([np.array([[1, 1]], np.float32)])[0].tolist() == [[8, 13]]
