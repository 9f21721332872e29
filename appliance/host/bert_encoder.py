"""The encoder of a BERT as an OpenVINO graph, written with opset calls: no torch, no converter.

Architecture: Devlin et al., "BERT: Pre-training of Deep Bidirectional Transformers" (2018), after
layer normalisation and with exact GELU; tensor names are those of the Hugging Face checkpoints.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import msgspec
import numpy as np

from appliance.host.openvino_import import ov

Array = np.ndarray[Any, Any]
_ops = ov.opset13


class BertShape(msgspec.Struct, frozen=True, kw_only=True):
    """What the checkpoint's config.json says of the encoder; its other fields are ignored."""

    hidden_size: int
    num_attention_heads: int
    num_hidden_layers: int
    layer_norm_eps: float = 1e-12


class Encoder(NamedTuple):
    """A graph's inputs i64[N, L] and the states f32[N, L, hidden] before and after each layer."""

    ids: Any
    mask: Any
    states: Sequence[Any]


def encoder(weights: Mapping[str, Array], shape: BertShape) -> Encoder:
    """Given a checkpoint's weights f32 by name, return the graph; raise KeyError for one missing.

    Every text is one segment, so that of the second is not in the graph. Texts and their length in
    tokens are variable; `mask` is 1 for tokens and 0 for padding.
    """
    ids = _input("input_ids")
    mask = _input("attention_mask")
    state = _embedded(ids, weights, shape)
    bias = _ops.multiply(
        _ops.subtract(np.float32(1), _ops.convert(mask, np.float32)), np.float32(-10_000)
    )
    bias = _ops.unsqueeze(bias, np.array([1, 2], np.int64))
    states = [state]
    for number in range(shape.num_hidden_layers):
        state = _layer(state, bias, _Layer(weights, f"encoder.layer.{number}.", shape))
        states.append(state)
    return Encoder(ids, mask, states)


def mean_pooled(state: Any, mask: Any) -> Any:
    """Given states f32[N, L, hidden] and mask i64[N, L], return their mean over tokens.

    A text without any token becomes zeros.
    """
    shares = _ops.unsqueeze(_ops.convert(mask, np.float32), np.array(2, np.int64))
    total = _ops.reduce_sum(_ops.multiply(state, shares), np.array(1, np.int64), keep_dims=False)
    count = _ops.reduce_sum(shares, np.array(1, np.int64), keep_dims=False)
    return _ops.divide(total, _ops.maximum(count, np.float32(1e-9)))


def linear(value: Any, weight: Array, bias: Array) -> Any:
    """Given a value [..., i], weight [o, i] and bias [o], return [..., o]."""
    product = _ops.matmul(value, np.ascontiguousarray(weight, np.float32), False, True)
    return _ops.add(product, np.asarray(bias, np.float32))


def _input(name: str) -> Any:
    parameter = _ops.parameter([-1, -1], np.int64, name=name)
    parameter.output(0).set_names({name})
    return parameter


def _embedded(ids: Any, weights: Mapping[str, Array], shape: BertShape) -> Any:
    words = _ops.gather(weights["embeddings.word_embeddings.weight"], ids, np.array(0, np.int64))
    positions = (
        weights["embeddings.position_embeddings.weight"]
        + weights["embeddings.token_type_embeddings.weight"][0]
    )
    length = _ops.gather(_ops.shape_of(ids), np.array([1], np.int64), np.array(0, np.int64))
    zero, one = np.array([0], np.int64), np.array([1], np.int64)
    placed = _ops.slice(positions, zero, length, one, zero)
    return _normalised(_ops.add(words, placed), weights, "embeddings.LayerNorm.", shape)


class _Layer(NamedTuple):
    """The weights of one layer."""

    weights: Mapping[str, Array]
    prefix: str
    shape: BertShape

    def linear(self, value: Any, name: str) -> Any:
        prefix = f"{self.prefix}{name}."
        return linear(value, self.weights[prefix + "weight"], self.weights[prefix + "bias"])

    def normalised(self, value: Any, name: str) -> Any:
        return _normalised(value, self.weights, f"{self.prefix}{name}.", self.shape)


def _layer(state: Any, bias: Any, layer: _Layer) -> Any:
    attended = layer.linear(_attended(state, bias, layer), "attention.output.dense")
    middle = layer.normalised(_ops.add(attended, state), "attention.output.LayerNorm")
    wide = _ops.gelu(layer.linear(middle, "intermediate.dense"), "erf")
    narrow = _ops.add(layer.linear(wide, "output.dense"), middle)
    return layer.normalised(narrow, "output.LayerNorm")


def _attended(state: Any, bias: Any, layer: _Layer) -> Any:
    heads = layer.shape.num_attention_heads
    width = layer.shape.hidden_size // heads
    queries, keys, values = (
        _ops.transpose(
            _ops.reshape(
                layer.linear(state, f"attention.self.{name}"),
                np.array([0, 0, heads, width], np.int64),
                special_zero=True,
            ),
            np.array([0, 2, 1, 3], np.int64),
        )
        for name in ("query", "key", "value")
    )
    mixed = _ops.scaled_dot_product_attention(queries, keys, values, bias, causal=False)
    return _ops.reshape(
        _ops.transpose(mixed, np.array([0, 2, 1, 3], np.int64)),
        np.array([0, 0, heads * width], np.int64),
        special_zero=True,
    )


def _normalised(value: Any, weights: Mapping[str, Array], prefix: str, shape: BertShape) -> Any:
    """Return the value with mean 0 and variance 1 along its last axis, scaled and shifted."""
    centred = _ops.mvn(value, np.array([-1], np.int64), True, shape.layer_norm_eps, "inside_sqrt")
    return _ops.add(_ops.multiply(centred, weights[prefix + "weight"]), weights[prefix + "bias"])
