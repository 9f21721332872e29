"""What an ONNX file says about itself without being loaded: metadata and weights kept elsewhere.

Field numbers: onnx.proto of the ONNX project. Weights outside the file are how a hostile model
reads files of the host (CVE-2024-27318 and its successors), so they are found before OpenVINO is.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import IO

from appliance.errors import ModelInvalid
from appliance.library.protobuf_walk import LENGTH, Field, fields, text_of

_GRAPH, _METADATA, _FUNCTIONS = 7, 14, 25
_NODE, _INITIALIZER, _SPARSE_INITIALIZER, _FUNCTION_NODE = 1, 5, 15, 7
_ATTRIBUTE = 5
_ATTRIBUTE_TENSOR, _ATTRIBUTE_GRAPH, _ATTRIBUTE_TENSORS, _ATTRIBUTE_GRAPHS = 5, 6, 10, 11
_ATTRIBUTE_SPARSE, _ATTRIBUTE_SPARSES = 22, 23
_EXTERNAL_DATA = 13
_MOST_DEPTH = 16
_MOST_METADATA = 256


def metadata_of(path: Path) -> dict[str, str]:
    """Given an ONNX file, return its metadata_props; raise ModelInvalid when it is damaged."""
    found: dict[str, str] = {}
    with path.open("rb") as file:
        for entry in _of(file, _whole(path), _METADATA):
            if len(found) < _MOST_METADATA:
                key, value = _key_and_value(file, entry)
                found[key] = value
    return found


def external_files(path: Path) -> frozenset[str]:
    """Given an ONNX file, return the names of the files in which it keeps weights, as it has them.

    Raise ModelInvalid when the file is damaged or nested too deep.
    """
    with path.open("rb") as file:
        return frozenset(
            location
            for tensor in _tensors(file, _whole(path))
            for location in _locations(file, tensor)
        )


def _whole(path: Path) -> Field:
    return Field(0, LENGTH, 0, path.stat().st_size)


def _of(file: IO[bytes], message: Field, *numbers: int) -> Iterator[Field]:
    for field in fields(file, message.start, message.end):
        if field.number in numbers and field.wire == LENGTH:
            yield field


def _tensors(file: IO[bytes], model: Field) -> Iterator[Field]:
    for part in _of(file, model, _GRAPH, _FUNCTIONS):
        if part.number == _GRAPH:
            yield from _graph_tensors(file, part, _MOST_DEPTH)
        else:
            for node in _of(file, part, _FUNCTION_NODE):
                yield from _node_tensors(file, node, _MOST_DEPTH)


def _graph_tensors(file: IO[bytes], graph: Field, depth: int) -> Iterator[Field]:
    if depth == 0:
        raise ModelInvalid("The model's graphs are nested too deep to be looked through.")
    for part in _of(file, graph, _NODE, _INITIALIZER, _SPARSE_INITIALIZER):
        if part.number == _NODE:
            yield from _node_tensors(file, part, depth)
        elif part.number == _INITIALIZER:
            yield part
        else:
            yield from _of(file, part, 1, 2)  # values and indices


def _node_tensors(file: IO[bytes], node: Field, depth: int) -> Iterator[Field]:
    for attribute in _of(file, node, _ATTRIBUTE):
        for part in _of(
            file,
            attribute,
            *(_ATTRIBUTE_TENSOR, _ATTRIBUTE_TENSORS, _ATTRIBUTE_GRAPH, _ATTRIBUTE_GRAPHS),
            *(_ATTRIBUTE_SPARSE, _ATTRIBUTE_SPARSES),
        ):
            if part.number in (_ATTRIBUTE_GRAPH, _ATTRIBUTE_GRAPHS):
                yield from _graph_tensors(file, part, depth - 1)
            elif part.number in (_ATTRIBUTE_SPARSE, _ATTRIBUTE_SPARSES):
                yield from _of(file, part, 1, 2)
            else:
                yield part


def _locations(file: IO[bytes], tensor: Field) -> Iterator[str]:
    for entry in _of(file, tensor, _EXTERNAL_DATA):
        key, value = _key_and_value(file, entry)
        if key == "location":
            yield value


def _key_and_value(file: IO[bytes], entry: Field) -> tuple[str, str]:
    texts = {part.number: text_of(file, part) for part in _of(file, entry, 1, 2)}
    return texts.get(1, ""), texts.get(2, "")
