"""An Open Inference Protocol V2 answer: named arrays as JSON, raw bytes or the best classes."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import numpy as np

from appliance.errors import Internal
from appliance.host import tensor_codec
from appliance.host.infer_request import InferRequest, RequestedOutput
from appliance.host.infer_wire import output_place
from appliance.host.tensor_codec import Array

_encode_json = msgspec.json.Encoder().encode


class _OutputTensor(msgspec.Struct, frozen=True, omit_defaults=True):
    name: str
    datatype: str
    shape: tuple[int, ...]
    parameters: dict[str, int] = {}
    data: list[Any] | msgspec.UnsetType = msgspec.UNSET


class _Response(msgspec.Struct, frozen=True):
    model_name: str
    model_version: str
    id: str
    outputs: list[_OutputTensor]


def encode_response(
    request: InferRequest,
    outputs: Mapping[str, Array],
    *,
    model: str,
    version: str,
    labels: Mapping[str, Sequence[str]],
) -> tuple[bytes, int | None]:
    """Given the model's arrays by name, return the body and the bytes of its JSON part.

    The latter is None where all of it is JSON.

    `labels` holds, by output name, the label of each class. NaN and infinities become null in
    JSON, and the output's parameter `non_finite` says how many there were. Raise InvalidInput when
    bytes that are not text were asked for as JSON.
    """
    tensors: list[_OutputTensor] = []
    parts: list[bytes | memoryview] = []
    for wanted in request.outputs:
        if wanted.name not in outputs:
            raise Internal(f"The model gave no output {wanted.name!r}.")
        array, datatype = outputs[wanted.name], wanted.datatype
        if wanted.classes:
            array = best_classes(array, wanted.classes, labels=labels.get(wanted.name, ()))
            datatype = "BYTES"
        tensor, part = _output_tensor(wanted, array, datatype)
        tensors.append(tensor)
        if part is not None:
            parts.append(part)
    json_part = _encode_json(
        _Response(model_name=model, model_version=version, id=request.id, outputs=tensors)
    )
    if not any(wanted.is_binary for wanted in request.outputs):
        return json_part, None
    return b"".join((json_part, *parts)), len(json_part)


def _output_tensor(
    wanted: RequestedOutput, array: Array, datatype: str
) -> tuple[_OutputTensor, bytes | memoryview | None]:
    if wanted.is_binary:
        part = tensor_codec.to_binary(array, datatype)
        size = {"binary_data_size": len(part)}
        return _OutputTensor(wanted.name, datatype, array.shape, parameters=size), part
    data, strange = tensor_codec.to_json(array, datatype, place=output_place(wanted.name))
    flags = {"non_finite": strange} if strange else {}
    return _OutputTensor(wanted.name, datatype, array.shape, parameters=flags, data=data), None


def best_classes(array: Array, count: int, *, labels: Sequence[str]) -> Array:
    """Given scores, return the `count` highest of each row as `value:index[:label]`, best first.

    The first axis is the batch where there is more than one; equal scores keep the order of their
    classes and NaN comes last. Source: Triton's classification extension.
    """
    rows = array.reshape(array.shape[0], -1) if array.ndim > 1 else array.reshape(1, -1)
    shown = min(count, rows.shape[1])
    order = np.argsort(-rows.astype(np.float64), axis=1, kind="stable")[:, :shown]
    texts = [
        _class_text(row[index], int(index), labels)
        for row, indexes in zip(rows, order, strict=True)
        for index in indexes
    ]
    found = np.empty(len(texts), object)
    found[:] = texts
    return found.reshape((array.shape[0], shown) if array.ndim > 1 else (shown,))


def _class_text(value: Any, index: int, labels: Sequence[str]) -> bytes:
    shown = f"{value:f}" if isinstance(value, np.floating) else str(int(value))
    label = f":{labels[index]}" if index < len(labels) else ""
    return f"{shown}:{index}{label}".encode()
