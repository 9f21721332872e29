"""The wire form of an Open Inference Protocol V2 request: a JSON part, then raw tensors.

Nothing here knows the model. Data and parameters stay unread text until something is known of
them, so that a hostile request cannot make the host build objects it will never use.
"""

from collections.abc import Callable
from typing import Annotated, Any, TypeVar

import msgspec
from msgspec import Meta

from appliance.errors import InvalidInput, MalformedRequest, PayloadTooLarge

#: More JSON than this is refused: read, it takes many times the memory, unlike binary tensors.
MOST_JSON_BYTES = 64 * 1024 * 1024
_MOST_ID_CHARACTERS = 256
_NO_BODY_BYTES = 2**63

Parameters = dict[str, msgspec.Raw]
_T = TypeVar("_T")


class WireInput(msgspec.Struct, frozen=True):
    name: str
    #: Within 64 bits: Python prints no number of more than 4300 digits, so no message could.
    shape: list[Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]]
    datatype: str
    parameters: Parameters | None = None
    data: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


class WireOutput(msgspec.Struct, frozen=True):
    name: str
    parameters: Parameters | None = None


class WireRequest(msgspec.Struct, frozen=True):
    inputs: list[WireInput]
    id: Annotated[str, Meta(max_length=_MOST_ID_CHARACTERS)] | None = None
    parameters: Parameters | None = None
    outputs: list[WireOutput] | None = None


_decode_json = msgspec.json.Decoder(WireRequest).decode


def split_body(body: memoryview, header_bytes: int | None) -> tuple[memoryview, memoryview]:
    """Given a body and the length its header declares, return the JSON part and the rest.

    Without a length everything is JSON. Raise MalformedRequest when the body is shorter,
    PayloadTooLarge when the JSON part is longer than MOST_JSON_BYTES.
    """
    length = len(body) if header_bytes is None else header_bytes
    if not 0 <= length <= len(body):
        raise MalformedRequest(
            f"Inference-Header-Content-Length is {length}, but the body has {len(body)} bytes."
        )
    if length > MOST_JSON_BYTES:
        raise PayloadTooLarge(
            f"The JSON part has {length} bytes; at most {MOST_JSON_BYTES} are taken."
            " Send large inputs as binary tensors."
        )
    return body[:length], body[length:]


def parse(text: memoryview) -> WireRequest:
    """Given the JSON part, return it; raise MalformedRequest or InvalidInput naming the place."""
    return decoded_json(text, _decode_json)


def decoded_json(text: memoryview, decode: Callable[[memoryview], _T]) -> _T:
    """Given JSON and its decoder, return its value; raise as `parse` does."""
    try:
        return decode(text)
    except msgspec.ValidationError as fault:
        raise InvalidInput(f"The request does not follow the protocol: {fault}.") from None
    except UnicodeDecodeError:
        raise MalformedRequest("The request's JSON is not UTF-8 text.") from None
    except (msgspec.DecodeError, RecursionError) as fault:
        raise MalformedRequest(f"The request is not JSON: {fault}.") from None


def binary_parts(inputs: list[WireInput], rest: memoryview) -> list[memoryview | None]:
    """Given the inputs and what follows the JSON, return the bytes of each input that has some.

    Raise InvalidInput unless the sizes that the inputs declare sum to exactly what is there.
    """
    sizes = [_binary_size(one, is_only=len(inputs) == 1, rest=rest) for one in inputs]
    total = sum(size for size in sizes if size is not None)
    if total != len(rest):
        raise InvalidInput(
            f"The binary_data_size of the inputs sum to {total} bytes,"
            f" but {len(rest)} bytes follow the JSON part."
        )
    parts: list[memoryview | None] = []
    offset = 0
    for size in sizes:
        parts.append(None if size is None else rest[offset : offset + size])
        offset += size or 0
    return parts


def _binary_size(one: WireInput, *, is_only: bool, rest: memoryview) -> int | None:
    place = input_place(one.name)
    parameters = scalars(one.parameters, place)
    if any(name.startswith("shared_memory") for name in parameters):
        raise InvalidInput(f"{place}: shared memory is not offered; send the data itself.")
    size = parameters.get("binary_data_size")
    has_data = one.data is not msgspec.UNSET
    if size is None:
        if has_data:
            return None
        if is_only and one.datatype == "BYTES" and len(rest):
            return len(rest)  # OpenVINO Model Server: the only BYTES input takes the rest
        raise InvalidInput(f"{place}: expected 'data' or 'binary_data_size', got neither.")
    if has_data:
        raise InvalidInput(f"{place}: expected 'data' or 'binary_data_size', got both.")
    if type(size) is not int or size < 0:
        raise InvalidInput(f"{place}: 'binary_data_size' is a number of bytes from 0.")
    if size >= _NO_BODY_BYTES:
        raise InvalidInput(f"{place}: 'binary_data_size' is more bytes than any body has.")
    return size


def scalars(parameters: Parameters | None, place: str) -> dict[str, Any]:
    """Given parameters, return those that are text, numbers or booleans.

    Raise MalformedRequest, naming the place, when one cannot be read.
    """
    found = {}
    for name, raw in (parameters or {}).items():
        if bytes(raw)[:1] in (b"{", b"["):
            continue
        try:
            found[name] = msgspec.json.decode(raw)
        except (msgspec.DecodeError, UnicodeDecodeError):
            raise MalformedRequest(
                f"A parameter of {place} is neither text, number nor true or false."
            ) from None
    return found


def flag(parameters: dict[str, Any], name: str, place: str) -> bool | None:
    """Given parameters, return one that is true or false; raise InvalidInput for other values."""
    value = parameters.get(name)
    if value is not None and type(value) is not bool:
        raise InvalidInput(f"The parameter {name!r} of {place} is true or false.")
    return value


def input_place(name: str) -> str:
    """Given an input's name, return how faults name it."""
    return f"Input {name!r}"


def output_place(name: str) -> str:
    """Given an output's name, return how faults name it."""
    return f"Output {name!r}"
