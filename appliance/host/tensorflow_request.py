"""TensorFlow Serving's REST bodies, told in the terms of the Open Inference Protocol.

Rows (`instances`), columns (`inputs`) and examples all become one tensor request, so that every
check and every word of refusal is the same. Source: TensorFlow Serving, "RESTful API".
"""

import base64
import binascii
import struct
from collections.abc import Mapping, Sequence
from math import prod
from typing import Any, NamedTuple

import msgspec
import numpy as np

from appliance.errors import InvalidInput, MalformedRequest
from appliance.host.infer_wire import WireInput, WireRequest, decoded_json, input_place, split_body
from appliance.host.tensor_spec import TensorSpec, is_batchable

PREDICT, CLASSIFY, REGRESS = "predict", "classify", "regress"
_SIGNATURES = ("", "serving_default")
_DEEPEST = 16
_STRUCTURE = bytes(byte for byte in range(256) if byte not in b"[],")
_Values = dict[str, msgspec.Raw]


class Asked(NamedTuple):
    """A body as a tensor request; `has_rows` is whether its answer comes row by row."""

    wire: WireRequest
    rest: bytes
    has_rows: bool


class _Body(msgspec.Struct, frozen=True):
    signature_name: str = ""
    instances: list[msgspec.Raw] | msgspec.UnsetType = msgspec.UNSET
    inputs: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    examples: list[_Values] | msgspec.UnsetType = msgspec.UNSET
    context: _Values = {}


class _Bytes(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    b64: str


_body_of = msgspec.json.Decoder(_Body).decode
_values_of = msgspec.json.Decoder(_Values).decode
_elements_of = msgspec.json.Decoder(list[msgspec.Raw]).decode
_bytes_of = msgspec.json.Decoder(_Bytes).decode
_any_of = msgspec.json.Decoder().decode


def read(body: memoryview, verb: str, inputs: Sequence[TensorSpec]) -> Asked:
    """Given a body, what is asked for (`predict`, `classify`, `regress`) and a model's inputs,
    return it as a tensor request.

    Raise MalformedRequest, InvalidInput or PayloadTooLarge naming what does not fit.
    """
    text, _ = split_body(body, None)
    parsed = decoded_json(text, _body_of)
    if parsed.signature_name not in _SIGNATURES:
        raise InvalidInput(
            f"There is no signature {parsed.signature_name[:100]!r}; the model has"
            " 'serving_default'."
        )
    if verb != PREDICT:
        return _from_examples(parsed, inputs)
    has_rows = parsed.instances is not msgspec.UNSET
    if has_rows == (parsed.inputs is not msgspec.UNSET):
        raise InvalidInput("The body needs either 'instances' (rows) or 'inputs' (columns).")
    if isinstance(parsed.instances, list):
        values = _by_column(parsed.instances, inputs)
    else:
        assert not isinstance(parsed.inputs, msgspec.UnsetType)
        values = _named(parsed.inputs, inputs)
    return _asked(values, inputs, has_rows=has_rows)


def _named(value: msgspec.Raw, inputs: Sequence[TensorSpec]) -> _Values:
    """Return values by input; a model with one input takes its value without the name too."""
    if memoryview(value)[:1].tobytes() == b"{" and not (_is_bytes(value) and len(inputs) == 1):
        return _values(value)
    if len(inputs) != 1:
        names = ", ".join(spec.name for spec in inputs)
        raise InvalidInput(f"The model has {len(inputs)} inputs; name each value: {names}.")
    return {inputs[0].name: value}


def _by_column(instances: list[msgspec.Raw], inputs: Sequence[TensorSpec]) -> _Values:
    """Return rows as columns: for each input a list with one element for each row."""
    if not instances:
        raise InvalidInput("'instances' is empty; send at least one row.")
    rows = [_named(instance, inputs) for instance in instances]
    names = rows[0].keys()
    for position, row in enumerate(rows):
        if row.keys() != names:
            raise InvalidInput(
                f"Row {position} of 'instances' has the inputs {', '.join(row)[:200]}, but row 0"
                f" has {', '.join(names)[:200]}."
            )
    return {name: _listed([row[name] for row in rows]) for name in names}


def _from_examples(parsed: _Body, inputs: Sequence[TensorSpec]) -> Asked:
    """Examples are flat: a feature is a value or a list, whatever the shape of its input."""
    if isinstance(parsed.examples, msgspec.UnsetType) or not parsed.examples:
        raise InvalidInput("The body needs 'examples': a list with at least one object.")
    if not is_batchable(inputs, ()):
        raise InvalidInput("This model takes no rows; ask it with ':predict' and 'inputs'.")
    rows = [{**parsed.context, **example} for example in parsed.examples]
    wire: list[WireInput] = []
    parts: list[bytes] = []
    for spec in inputs:
        missing = next((number for number, row in enumerate(rows) if spec.name not in row), None)
        if missing is not None:
            raise InvalidInput(f"Example {missing} has no feature {spec.name!r}.")
        one, part = _feature(spec, [row[spec.name] for row in rows])
        wire.append(one)
        parts.append(part)
    return _request(wire, parts, has_rows=True)


def _feature(spec: TensorSpec, values: list[msgspec.Raw]) -> tuple[WireInput, bytes]:
    """Return one input of all examples, and its bytes where it has some."""
    data, shape = _listed(values), [len(values), *spec.shape[1:]]
    if spec.datatype != "BYTES" and b'"b64"' in bytes(data):
        return _octets(data, spec)  # a picture for each example
    if -1 in shape:
        raise InvalidInput(f"{input_place(spec.name)} has no fixed size; ask with ':predict'.")
    if spec.datatype != "BYTES":
        return WireInput(spec.name, shape, spec.datatype, data=data), b""
    octets, part = _octets(data, spec)
    return msgspec.structs.replace(octets, shape=shape), part


def _asked(values: _Values, inputs: Sequence[TensorSpec], *, has_rows: bool) -> Asked:
    specs = {spec.name: spec for spec in inputs}
    wire: list[WireInput] = []
    parts: list[bytes] = []
    for name, value in values.items():
        spec = specs.get(name)
        if spec is None:
            raise InvalidInput(f"There is no input {name[:100]!r}; the model has {_all(specs)}.")
        if spec.datatype == "BYTES" or b'"b64"' in bytes(value):
            one, part = _octets(value, spec)
            parts.append(part)
        else:
            shape = shape_of(value, input_place(name))
            one = WireInput(name, shape, spec.datatype, data=value)
        wire.append(one)
    return _request(wire, parts, has_rows=has_rows)


def _request(wire: list[WireInput], parts: list[bytes], *, has_rows: bool) -> Asked:
    # Outputs asked for as binary may have any type; they are told as JSON by the answer's rules.
    parameters = {"binary_data_output": msgspec.Raw(b"true")}
    request = WireRequest(inputs=wire, parameters=parameters)
    return Asked(request, b"".join(parts), has_rows=has_rows)


def shape_of(value: msgspec.Raw, place: str) -> list[int]:
    """Given nested lists of numbers as JSON, return their shape.

    Raise InvalidInput, naming the place, for lists of different lengths.
    """
    structure = np.frombuffer(bytes(value).translate(None, _STRUCTURE), np.uint8)
    opens, closes = structure == ord("["), structure == ord("]")
    depth = np.cumsum(opens, dtype=np.int32) - np.cumsum(closes, dtype=np.int32)
    deepest = int(depth.max()) if depth.size else 0
    if deepest > _DEEPEST:
        raise InvalidInput(f"{place}: lists in lists go {deepest} deep; no tensor does.")
    shape: list[int] = []
    for level in range(1, deepest + 1):
        lists = int(np.count_nonzero(opens & (depth == level)))
        commas = int(np.count_nonzero((structure == ord(",")) & (depth == level)))
        shape.append((lists + commas) // lists)
    empty = bytes(value).translate(None, b" \t\r\n").count(b"[]")
    if structure.tobytes() != _pattern(shape) or empty not in (0, prod(shape[:-1])):
        raise InvalidInput(f"{place}: the lists do not all have the same length.")
    return [*shape[:-1], 0] if empty else shape


def _pattern(shape: Sequence[int]) -> bytes:
    """Return the brackets and commas of nested lists of this shape."""
    pattern = b""
    for size in reversed(shape):
        pattern = b"[" + b",".join([pattern] * size) + b"]"
    return pattern


def _octets(value: msgspec.Raw, spec: TensorSpec) -> tuple[WireInput, bytes]:
    """Return texts, or bytes as `{"b64": …}`, as a binary tensor of BYTES.

    Where the model takes pixels these are encoded pictures, as OpenVINO Model Server has it.
    """
    place = input_place(spec.name)
    elements: list[bytes] = []
    shape = _collect(_decoded(value, place), elements, place, depth=0)
    if shape == [] and spec.shape:
        shape = [1]
    if spec.datatype == "BYTES" and len(shape) < len(spec.shape):
        shape += [1] * (len(spec.shape) - len(shape))
    part = b"".join(piece for one in elements for piece in (struct.pack("<I", len(one)), one))
    size = {"binary_data_size": msgspec.Raw(str(len(part)).encode())}
    return WireInput(spec.name, shape, "BYTES", parameters=size), part


def _collect(value: Any, elements: list[bytes], place: str, *, depth: int) -> list[int]:
    """Append the elements of nested lists in order and return the shape of the lists."""
    if not isinstance(value, list):
        elements.append(_octets_of(value, place))
        return []
    if depth == _DEEPEST:
        raise InvalidInput(f"{place}: lists in lists go too deep; no tensor does.")
    shapes = [_collect(one, elements, place, depth=depth + 1) for one in value]
    if any(shape != shapes[0] for shape in shapes):
        raise InvalidInput(f"{place}: the lists do not all have the same length.")
    return [len(shapes), *(shapes[0] if shapes else ())]


def _octets_of(value: Any, place: str) -> bytes:
    if isinstance(value, str):
        return value.encode("utf-8")
    if isinstance(value, Mapping) and value.keys() == {"b64"} and isinstance(value["b64"], str):
        try:
            return base64.b64decode(value["b64"].encode("ascii"), validate=True)
        except (binascii.Error, UnicodeEncodeError):
            raise InvalidInput(f"{place}: a value of 'b64' is not Base64.") from None
    raise InvalidInput(f'{place}: expected text or {{"b64": …}}.')


def _decoded(value: msgspec.Raw, place: str) -> Any:
    try:
        return _any_of(value)
    except UnicodeDecodeError:
        raise MalformedRequest(f"{place}: the data is not UTF-8 text.") from None
    except (msgspec.DecodeError, RecursionError) as fault:
        raise MalformedRequest(f"{place}: the data cannot be read: {fault}.") from None


def _is_bytes(value: msgspec.Raw) -> bool:
    try:
        _bytes_of(value)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return False
    return True


def _values(value: msgspec.Raw) -> _Values:
    try:
        return _values_of(value)
    except (msgspec.DecodeError, UnicodeDecodeError) as fault:
        raise MalformedRequest(f"The inputs cannot be read: {fault}.") from None


def _listed(values: Sequence[msgspec.Raw]) -> msgspec.Raw:
    return msgspec.Raw(b"[" + b",".join(bytes(value) for value in values) + b"]")


def _all(specs: Mapping[str, TensorSpec]) -> str:
    return ", ".join(specs)
