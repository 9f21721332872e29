"""Builds the shipped text models: somebody else's encoder, our heads, one OpenVINO graph each.

The command line starts it as a program of its own, because only hosts load OpenVINO: the source
folder and the target folder as arguments, one line of JSON with the reason when it fails.
"""

import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from appliance.errors import ModelInvalid, Problem
from appliance.host import bert_encoder
from appliance.host.bert_encoder import BertShape, Encoder
from appliance.host.openvino_import import ov
from appliance.library.checksums import write_sums
from appliance.library.manifest import read_manifest
from appliance.library.safetensors import TensorPlace, read_places
from appliance.library.text_package import CONFIG, RECIPES, TOKENIZER, WEIGHTS

Array = np.ndarray[Any, Any]
HEAD = "head.safetensors"
_NUMPY_TYPES = {"F32": "<f4", "F16": "<f2", "I64": "<i8", "I32": "<i4"}
_ops = ov.opset13


def build_all(source: Path, target: Path) -> list[Path]:
    """Given the checked files of the package, write `<target>/<model>/<version>` for each model.

    Return their directories. Raise ModelInvalid when the encoder is not as its shape says.
    """
    weights = tensors_of(source / WEIGHTS)
    shape = msgspec.json.decode((source / CONFIG).read_bytes(), type=BertShape)
    return [
        build(recipe, target, weights=weights, shape=shape, tokenizer=source / TOKENIZER)
        for recipe in sorted(path.parent for path in RECIPES.glob("*/manifest.toml"))
    ]


def build(
    recipe: Path,
    target: Path,
    *,
    weights: Mapping[str, Array],
    shape: BertShape,
    tokenizer: Path,
) -> Path:
    """Given a recipe and an encoder's weights, write the version and return its directory.

    Weights are stored as f16, half the size: computed in f32 as ever, embeddings keep a cosine
    above 0.99999 to those of the original (scripts/train/check_text_embedding.py).
    """
    manifest = read_manifest(recipe)
    directory = target / manifest.name / str(manifest.version)
    shutil.copytree(
        recipe, directory, copy_function=shutil.copyfile, ignore=shutil.ignore_patterns(HEAD)
    )
    head = recipe / HEAD
    model = text_network(
        weights, shape, head=tensors_of(head) if head.is_file() else None, name=manifest.name
    )
    ov.save_model(model, directory / "model.xml", compress_to_fp16=True)
    shutil.copyfile(tokenizer, directory / "tokenizer.json")
    write_sums(directory)
    return directory


def text_network(
    weights: Mapping[str, Array],
    shape: BertShape,
    *,
    head: Mapping[str, Array] | None = None,
    name: str = "text",
) -> "ov.Model":
    """Given an encoder's weights, return the graph from tokens to its mean, or to a head's scores.

    A head has `weight` [classes, values] and `bias` [classes] over the means of the last layers,
    one after the other, as many as its width asks for. Raise ModelInvalid when they do not fit.
    """
    try:
        encoder = bert_encoder.encoder(weights, shape)
        result = _embedding(encoder) if head is None else _scores(encoder, head, shape)
    except KeyError as fault:
        raise ModelInvalid(f"The encoder's weights lack {fault}: it is no BERT.") from None
    result.output(0).set_names({"embedding" if head is None else "scores"})
    return ov.Model([result], [encoder.ids, encoder.mask], name)


def _embedding(encoder: Encoder) -> Any:
    return bert_encoder.mean_pooled(encoder.states[-1], encoder.mask)


def _scores(encoder: Encoder, head: Mapping[str, Array], shape: BertShape) -> Any:
    layers, rest = divmod(head["weight"].shape[1], shape.hidden_size)
    if rest or not 0 < layers <= len(encoder.states):
        raise ModelInvalid(
            f"The head takes {head['weight'].shape[1]} values, which is no number of layers of"
            f" {shape.hidden_size}."
        )
    means = pooled_layers(encoder, layers)
    return bert_encoder.linear(_ops.concat(means, 1), head["weight"], head["bias"])


def pooled_layers(encoder: Encoder, count: int) -> Sequence[Any]:
    """Given an encoder, return the means over tokens of its last layers, the last one last."""
    return [bert_encoder.mean_pooled(state, encoder.mask) for state in encoder.states[-count:]]


def tensors_of(path: Path) -> dict[str, Array]:
    """Given a .safetensors file, return its tensors, which stay in the file until they are used.

    Raise ModelInvalid when it cannot be read.
    """
    return {name: _tensor(path, place) for name, place in read_places(path).items()}


def _tensor(path: Path, place: TensorPlace) -> Array:
    if not place.bytes:
        return np.zeros(place.shape, _NUMPY_TYPES[place.element_type])
    return np.memmap(
        path, _NUMPY_TYPES[place.element_type], "r", offset=place.offset, shape=place.shape
    )


def main() -> None:
    """Build from the folder and into the folder the arguments name; end with 0, or 1 and why."""
    source, target = map(Path, sys.argv[-2:])
    try:
        build_all(source, target)
    except Problem as problem:
        print(problem.detail)
        sys.exit(1)
    except OSError as fault:
        print(f"The models cannot be written to {target}: {fault.strerror}.")
        sys.exit(1)


if __name__ == "__main__":
    main()
