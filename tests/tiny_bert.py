"""A BERT of a few weights, and what it computes, written once more in numpy."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np

from tests.tiny_texts import SPECIAL, WORDS, write_safetensors, write_tokenizer

HIDDEN, HEADS, LAYERS, WIDE, LENGTH = 8, 2, 2, 16, 32
CONFIG = {
    "hidden_size": HIDDEN,
    "num_attention_heads": HEADS,
    "num_hidden_layers": LAYERS,
    "layer_norm_eps": 1e-12,
    "model_type": "bert",
}
Array = np.ndarray[Any, Any]


def tiny_weights(seed: int = 0) -> dict[str, Array]:
    """Return random weights under the names of Hugging Face checkpoints."""
    random = np.random.default_rng(seed)
    shapes: dict[str, tuple[int, ...]] = {
        "embeddings.word_embeddings.weight": (len(SPECIAL) + len(WORDS), HIDDEN),
        "embeddings.position_embeddings.weight": (LENGTH, HIDDEN),
        "embeddings.token_type_embeddings.weight": (2, HIDDEN),
    }
    norms = ["embeddings.LayerNorm"]
    for layer in range(LAYERS):
        prefix = f"encoder.layer.{layer}."
        linear = {
            "attention.self.query": (HIDDEN, HIDDEN),
            "attention.self.key": (HIDDEN, HIDDEN),
            "attention.self.value": (HIDDEN, HIDDEN),
            "attention.output.dense": (HIDDEN, HIDDEN),
            "intermediate.dense": (WIDE, HIDDEN),
            "output.dense": (HIDDEN, WIDE),
        }
        for name, shape in linear.items():
            shapes[f"{prefix}{name}.weight"] = shape
            shapes[f"{prefix}{name}.bias"] = shape[:1]
        norms += [f"{prefix}attention.output.LayerNorm", f"{prefix}output.LayerNorm"]
    for name in norms:
        shapes[f"{name}.weight"] = shapes[f"{name}.bias"] = (HIDDEN,)
    return {
        name: random.normal(0, 0.5, shape).astype(np.float32) for name, shape in shapes.items()
    }


def write_package(folder: Path, weights: dict[str, Array] | None = None) -> Path:
    """Write the three files of a tiny encoder, as the real package has them."""
    folder.mkdir(parents=True, exist_ok=True)
    write_safetensors(folder / "model.safetensors", weights or tiny_weights())
    (folder / "config.json").write_text(json.dumps(CONFIG))
    write_tokenizer(folder / "tokenizer.json")
    return folder


def states(weights: dict[str, Array], ids: list[int]) -> list[Array]:
    """Given one text's tokens, return the states [tokens, HIDDEN] before and after each layer."""
    table = weights["embeddings.word_embeddings.weight"][ids].astype(np.float64)
    table = table + weights["embeddings.position_embeddings.weight"][: len(ids)]
    table = table + weights["embeddings.token_type_embeddings.weight"][0]
    state = _norm(table, weights, "embeddings.LayerNorm")
    found = [state]
    for layer in range(LAYERS):
        prefix = f"encoder.layer.{layer}."
        query, key, value = (
            _linear(state, weights, f"{prefix}attention.self.{name}")
            for name in ("query", "key", "value")
        )
        width = HIDDEN // HEADS
        mixed = np.zeros_like(state)
        for head in range(HEADS):
            part = slice(head * width, (head + 1) * width)
            scores = query[:, part] @ key[:, part].T / math.sqrt(width)
            powers = np.exp(scores - scores.max(1, keepdims=True))
            mixed[:, part] = powers / powers.sum(1, keepdims=True) @ value[:, part]
        attended = _linear(mixed, weights, f"{prefix}attention.output.dense")
        middle = _norm(attended + state, weights, f"{prefix}attention.output.LayerNorm")
        wide = _linear(middle, weights, f"{prefix}intermediate.dense")
        wide = wide * 0.5 * (1 + np.vectorize(math.erf)(wide / math.sqrt(2)))
        narrow = _linear(wide, weights, f"{prefix}output.dense")
        state = _norm(narrow + middle, weights, f"{prefix}output.LayerNorm")
        found.append(state)
    return found


def _linear(value: Array, weights: dict[str, Array], name: str) -> Array:
    found: Array = value @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]
    return found


def _norm(value: Array, weights: dict[str, Array], name: str) -> Array:
    centred = value - value.mean(1, keepdims=True)
    centred = centred / np.sqrt(centred.var(1, keepdims=True) + CONFIG["layer_norm_eps"])
    found: Array = centred * weights[f"{name}.weight"] + weights[f"{name}.bias"]
    return found
