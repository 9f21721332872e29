"""An Open Inference Protocol V2 request, read against the tensors of one model.

Each fault names the tensor, what was expected and what came.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np

from appliance.errors import InvalidInput, PayloadTooLarge, Problem, UnsupportedMedia
from appliance.host import tensor_codec
from appliance.host.infer_wire import (
    WireInput,
    WireOutput,
    WireRequest,
    binary_parts,
    flag,
    input_place,
    output_place,
    parse,
    scalars,
    split_body,
)
from appliance.host.tensor_codec import Array
from appliance.host.tensor_spec import (
    BINARY_ONLY,
    TensorSpec,
    element_count,
    is_batchable,
    shape_text,
)
from appliance.identifiers import new_id

#: Given one encoded picture, its array as the model takes it, without the batch dimension.
DecodePicture = Callable[[bytes], Array]
#: Given a picture's pixels u8[height, width, 3] as OpenCV has them (BGR), the same.
PlacePixels = Callable[[Array], Array]
_SEQUENCES = ("sequence_id", "sequence_start", "sequence_end")


@dataclass(frozen=True, slots=True)
class RequestedOutput:
    """One output as the client wants it; `classes` 0 is the tensor itself."""

    name: str
    datatype: str
    is_binary: bool
    classes: int = 0


@dataclass(frozen=True, slots=True)
class InferRequest:
    """A request that fits the model: an array for each input, and which outputs go back how."""

    id: str
    arrays: dict[str, Array]
    outputs: tuple[RequestedOutput, ...]
    batch: int
    parameters: dict[str, Any]


def decode_request(
    body: memoryview,
    header_bytes: int | None,
    inputs: Sequence[TensorSpec],
    outputs: Sequence[TensorSpec],
    *,
    most_batch: int,
    request_id: str = "",
    decode_picture: DecodePicture | None = None,
    place_pixels: PlacePixels | None = None,
) -> InferRequest:
    """Given a body and the value of Inference-Header-Content-Length, return the request it holds.

    `request_id` names a request whose client gave no id. Where `decode_picture` is given, a 4-D
    input also takes BYTES: encoded pictures. Raise MalformedRequest, InvalidInput or
    PayloadTooLarge naming what does not fit.
    """
    reader = _Reader(
        inputs,
        outputs,
        most_batch=most_batch,
        decode_picture=decode_picture,
        place_pixels=place_pixels,
    )
    if header_bytes == 0:
        return reader.raw_request(body, request_id or new_id())
    text, rest = split_body(body, header_bytes)
    return reader.request(parse(text), rest, request_id)


def fitted_request(
    parsed: WireRequest,
    rest: memoryview,
    inputs: Sequence[TensorSpec],
    outputs: Sequence[TensorSpec],
    *,
    most_batch: int,
    request_id: str = "",
    decode_picture: DecodePicture | None = None,
    place_pixels: PlacePixels | None = None,
) -> InferRequest:
    """Given a request made of another dialect's, and its binary parts, do as `decode_request`."""
    reader = _Reader(
        inputs,
        outputs,
        most_batch=most_batch,
        decode_picture=decode_picture,
        place_pixels=place_pixels,
    )
    return reader.request(parsed, rest, request_id)


class _Reader:
    """Reads one request against the tensors of one model."""

    def __init__(
        self,
        inputs: Sequence[TensorSpec],
        outputs: Sequence[TensorSpec],
        *,
        most_batch: int,
        decode_picture: DecodePicture | None,
        place_pixels: PlacePixels | None,
    ) -> None:
        self._inputs = {spec.name: spec for spec in inputs}
        self._outputs = {spec.name: spec for spec in outputs}
        self._is_batchable = is_batchable(inputs, outputs)
        self._most_batch = most_batch
        self._decode_picture = decode_picture
        self._place_pixels = place_pixels

    def request(self, parsed: WireRequest, rest: memoryview, request_id: str) -> InferRequest:
        """Given the JSON part and what follows it, return the request."""
        parameters = scalars(parsed.parameters, "the request")
        reserved = next((name for name in parameters if name.startswith("triton_")), None)
        if reserved is not None:
            raise InvalidInput(f"The parameter {reserved!r} is reserved; leave it out.")
        if any(parameters.get(name) for name in _SEQUENCES):
            # Answered as if it were alone, a part of a sequence would be answered wrongly.
            raise InvalidInput(
                "Tensor requests are answered each by itself, so sequence_id, sequence_start and"
                " sequence_end are not taken. A model that remembers is fed at /api/v1/streams."
            )
        self._check_names([one.name for one in parsed.inputs])
        parts = binary_parts(parsed.inputs, rest)
        arrays = {
            one.name: self._array(one, part)
            for one, part in zip(parsed.inputs, parts, strict=True)
        }
        return InferRequest(
            id=parsed.id or request_id or new_id(),
            arrays=arrays,
            outputs=self._requested(parsed.outputs or [], parameters),
            batch=self._batch({name: array.shape for name, array in arrays.items()}),
            parameters=parameters,
        )

    def raw_request(self, body: memoryview, request_id: str) -> InferRequest:
        """Given the bytes of the only input, return a request for all outputs in binary."""
        if len(self._inputs) != 1:
            raise InvalidInput(
                f"A raw request needs a model with one input; this one has {len(self._inputs)}:"
                f" {', '.join(self._inputs)}."
            )
        (spec,) = self._inputs.values()
        place = input_place(spec.name)
        shape = self._raw_shape(spec, len(body))
        flat = tensor_codec.from_binary(
            body, spec.datatype, count=element_count(shape), place=place
        )
        return InferRequest(
            id=request_id,
            arrays={spec.name: flat.reshape(shape)},
            outputs=self._requested([], {"binary_data_output": True}),
            batch=1,
            parameters={},
        )

    def _raw_shape(self, spec: TensorSpec, body_bytes: int) -> tuple[int, ...]:
        place = input_place(spec.name)
        shape = [1, *spec.shape[1:]] if self._is_batchable else list(spec.shape)
        free = [axis for axis, size in enumerate(shape) if size == -1]
        if len(free) > 1 or (spec.datatype == "BYTES" and (free or element_count(shape) != 1)):
            raise InvalidInput(
                f"{place}: a raw request cannot say which shape it has for"
                f" {spec.datatype} {shape_text(spec.shape)}; send the JSON part with it."
            )
        if free:
            row = element_count(size for size in shape if size != -1) * spec.element_bytes
            if not row or not body_bytes or body_bytes % row:
                raise InvalidInput(
                    f"{place}: expected a multiple of {row} bytes for {spec.datatype}"
                    f" {shape_text(shape)}, got {body_bytes}."
                )
            shape[free[0]] = body_bytes // row
        return tuple(shape)

    def _check_names(self, names: list[str]) -> None:
        for position, name in enumerate(names):
            if name not in self._inputs:
                raise InvalidInput(
                    f"There is no input {name[:100]!r}; the model has {', '.join(self._inputs)}."
                )
            if name in names[:position]:
                raise InvalidInput(f"{input_place(name)} is given more than once.")
        missing = [name for name in self._inputs if name not in names]
        if missing:
            raise InvalidInput(
                f"Expected {len(self._inputs)} inputs, got {len(names)}:"
                f" {', '.join(missing)} missing."
            )

    def _array(self, one: WireInput, part: memoryview | None) -> Array:
        spec = self._inputs[one.name]
        place = input_place(one.name)
        if self._decode_picture and one.datatype == "BYTES" and spec.datatype != "BYTES":
            return self._pictures(one, part, spec)
        if self._place_pixels and _is_whole_picture(one, spec):
            return self._placed(one, part, spec)
        if one.datatype != spec.datatype:
            raise InvalidInput(
                f"{place}: expected datatype {spec.datatype}, got {one.datatype[:40]}."
            )
        self._check_shape(one.shape, spec)
        return self._flat(one, part, spec.datatype).reshape(one.shape)

    @staticmethod
    def _flat(one: WireInput, part: memoryview | None, datatype: str) -> Array:
        count, place = element_count(one.shape), input_place(one.name)
        if part is not None:
            return tensor_codec.from_binary(part, datatype, count=count, place=place)
        assert not isinstance(one.data, msgspec.UnsetType)  # binary_parts refused it
        return tensor_codec.from_json(one.data, datatype, count=count, place=place)

    def _check_shape(self, shape: list[int], spec: TensorSpec) -> None:
        place = input_place(spec.name)
        expected = (-1, *spec.shape[1:]) if self._is_batchable else spec.shape
        is_fitting = len(shape) == len(expected) and all(
            got >= 1 if wanted == -1 else got == wanted
            for got, wanted in zip(shape, expected, strict=True)
        )
        if not is_fitting:
            raise InvalidInput(
                f"{place}: expected shape {shape_text(expected)}, got {shape_text(shape)[:200]}."
            )
        self._check_batch(shape[0] if shape and self._is_batchable else 1, place)

    def _check_batch(self, batch: int, place: str) -> None:
        if batch > self._most_batch:
            raise PayloadTooLarge(
                f"{place}: a batch may have {self._most_batch} rows (limits.tensor_batch),"
                f" got {batch}."
            )

    def _pictures(self, one: WireInput, part: memoryview | None, spec: TensorSpec) -> Array:
        """Read encoded pictures into an input of pixels, as OpenVINO Model Server does."""
        place = input_place(one.name)
        if len(spec.shape) != 4 or part is None or len(one.shape) != 1 or one.shape[0] < 1:
            raise InvalidInput(
                f"{place}: expected {spec.datatype} {shape_text(spec.shape)}, or encoded pictures"
                f" as binary BYTES of shape [1]; got {one.datatype} {shape_text(one.shape)[:200]}."
            )
        if not self._is_batchable and one.shape[0] != 1:
            raise InvalidInput(f"{place}: expected one picture, got {one.shape[0]}.")
        self._check_batch(one.shape[0], place)
        elements = tensor_codec.byte_elements(part, count=one.shape[0], place=place)
        rows = [self._picture(encoded, spec) for encoded in elements]
        if any(row.shape != rows[0].shape for row in rows):
            raise InvalidInput(f"{place}: pictures of one request must have the same size here.")
        pixels = np.stack(rows)
        self._check_shape(list(pixels.shape), spec)
        return pixels

    def _placed(self, one: WireInput, part: memoryview | None, spec: TensorSpec) -> Array:
        """Read a picture's pixels, of any size, into an input that takes another size or layout.

        So openvino-model-api's adapter sends them: it leaves preparing them to the server.
        """
        assert self._place_pixels is not None  # _array asked
        flat = self._flat(one, part, one.datatype)
        if flat.dtype != np.uint8 and not _is_octets(flat):
            raise InvalidInput(
                f"{input_place(one.name)}: expected shape {shape_text(spec.shape)}, or a picture's"
                f" pixels as whole numbers from 0 to 255; got {shape_text(one.shape)} with others."
            )
        self._check_batch(one.shape[0], input_place(one.name))
        pixels = flat.reshape(one.shape).astype(np.uint8)
        placed = np.stack([self._place_pixels(row) for row in pixels])
        self._check_shape(list(placed.shape), spec)
        return placed.astype(tensor_codec.dtype_of(spec.datatype), copy=False)

    def _picture(self, encoded: bytes, spec: TensorSpec) -> Array:
        assert self._decode_picture is not None  # _array asked
        try:
            pixels = self._decode_picture(encoded)
        except Problem as problem:
            # To the protocol an unreadable picture is bad input like any other.
            kind = InvalidInput if isinstance(problem, UnsupportedMedia) else type(problem)
            raise kind(f"{input_place(spec.name)}: {problem.detail}") from None
        return np.asarray(pixels, tensor_codec.dtype_of(spec.datatype))

    def _batch(self, shapes: dict[str, tuple[int, ...]]) -> int:
        if not self._is_batchable:
            return 1
        batches = {name: shape[0] for name, shape in shapes.items()}
        if len(set(batches.values())) > 1:
            shown = ", ".join(f"{name}: {batch}" for name, batch in batches.items())
            raise InvalidInput(f"All inputs must have the same batch size, got {shown}.")
        return next(iter(batches.values()), 1)

    def _requested(
        self, wanted: list[WireOutput], parameters: dict[str, Any]
    ) -> tuple[RequestedOutput, ...]:
        all_binary = flag(parameters, "binary_data_output", "the request") or False
        if not wanted:
            wanted = [WireOutput(name) for name in self._outputs]
        names = [one.name for one in wanted]
        found = []
        for position, one in enumerate(wanted):
            if one.name not in self._outputs:
                raise InvalidInput(
                    f"There is no output {one.name[:100]!r};"
                    f" the model has {', '.join(self._outputs)}."
                )
            if one.name in names[:position]:
                raise InvalidInput(f"{output_place(one.name)} is asked for more than once.")
            found.append(_requested_output(one, self._outputs[one.name], all_binary))
        return tuple(found)


def _is_whole_picture(one: WireInput, spec: TensorSpec) -> bool:
    """Return whether this is pixels [N, height, width, 3] that the input does not take as such."""
    shape = one.shape
    if len(spec.shape) != 4 or len(shape) != 4 or shape[3] != 3 or min(shape) < 1:
        return False
    is_fitting = all(
        got == wanted or wanted == -1
        for got, wanted in zip(shape[1:], spec.shape[1:], strict=True)
    )
    return not is_fitting and one.datatype in (spec.datatype, "UINT8")


def _is_octets(flat: Array) -> bool:
    """Return whether every value is a whole number from 0 to 255; scaled pixels mostly are not."""
    return bool(np.all((flat >= 0) & (flat <= 255) & (flat == np.rint(flat))))


def _requested_output(one: WireOutput, spec: TensorSpec, all_binary: bool) -> RequestedOutput:
    place = output_place(one.name)
    parameters = scalars(one.parameters, place)
    is_binary = flag(parameters, "binary_data", place)
    if is_binary is None:
        is_binary = all_binary
    classes = parameters.get("classification", 0)
    if type(classes) is not int or classes < 0:
        raise InvalidInput(f"{place}: 'classification' is a number of classes from 1.")
    if classes and spec.datatype == "BYTES":
        raise InvalidInput(f"{place}: text has no classes; leave 'classification' out.")
    if not is_binary and not classes and spec.datatype in BINARY_ONLY:
        raise InvalidInput(
            f"{place}: {spec.datatype} cannot be sent as JSON; ask for it with binary_data."
        )
    return RequestedOutput(one.name, spec.datatype, is_binary, classes)
