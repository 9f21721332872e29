"""Elements of tensors as bytes and as JSON, by the rules of the Open Inference Protocol V2.

Both directions know nothing of models or requests: they take an array, a type and a place to name
in the fault, so that every fault reads `input 'x': expected …, got …`.
"""

import struct
from collections.abc import Iterator
from typing import Any

import msgspec
import numpy as np

from appliance.errors import InvalidInput, MalformedRequest
from appliance.host.tensor_spec import BINARY_ONLY, DATATYPE_BYTES

Array = np.ndarray[Any, Any]

_DTYPES: dict[str, np.dtype[Any]] = {
    "BOOL": np.dtype(np.bool_),
    "UINT8": np.dtype("u1"),
    "UINT16": np.dtype("<u2"),
    "UINT32": np.dtype("<u4"),
    "UINT64": np.dtype("<u8"),
    "INT8": np.dtype("i1"),
    "INT16": np.dtype("<i2"),
    "INT32": np.dtype("<i4"),
    "INT64": np.dtype("<i8"),
    "FP16": np.dtype("<f2"),
    "BF16": np.dtype("<f4"),  # numpy has no bfloat16: its values live in float32, which holds all
    "FP32": np.dtype("<f4"),
    "FP64": np.dtype("<f8"),
    "BYTES": np.dtype(object),
}
_ELEMENT_LENGTH = struct.Struct("<I")
_ANY = msgspec.json.Decoder()
_FLAT_FLOATS = msgspec.json.Decoder(list[float])
_FLAT_INTEGERS = msgspec.json.Decoder(list[int])


def dtype_of(datatype: str) -> "np.dtype[Any]":
    """Given a datatype of the protocol, return the numpy type its arrays have here."""
    return _DTYPES[datatype]


# ---- binary ----------------------------------------------------------------------------------


def from_binary(data: memoryview, datatype: str, *, count: int, place: str) -> Array:
    """Given the raw bytes of `count` elements, return them as a flat, aligned array.

    The array shares the bytes where their address allows it. Raise InvalidInput when the bytes are
    not that many elements.
    """
    if datatype == "BYTES":
        return _object_array(list(byte_elements(data, count=count, place=place)))
    expected = count * DATATYPE_BYTES[datatype]
    if len(data) != expected:
        raise InvalidInput(
            f"{place}: expected {expected} bytes ({count} elements of {datatype}),"
            f" got {len(data)}."
        )
    if datatype == "BF16":
        return _widened(np.frombuffer(data, "<u2"))
    if datatype == "BOOL":
        octets = np.frombuffer(data, np.uint8)
        if octets.size and octets.max() > 1:
            raise InvalidInput(f"{place}: a BOOL is the byte 0 or 1, got {octets.max()}.")
        return octets.view(np.bool_)
    # An unaligned pointer is undefined behaviour in vector code, and JSON may have any length.
    return np.require(np.frombuffer(data, _DTYPES[datatype]), requirements=["ALIGNED"])


def byte_elements(data: memoryview, *, count: int, place: str) -> Iterator[bytes]:
    """Given length-prefixed elements, yield each; raise InvalidInput unless there are `count`."""
    if count * _ELEMENT_LENGTH.size > len(data):
        raise InvalidInput(
            f"{place}: expected {count} BYTES elements, each behind a length of 4 bytes,"
            f" got {len(data)} bytes in all."
        )
    offset = 0
    for position in range(count):
        start = offset + _ELEMENT_LENGTH.size
        if start > len(data):
            raise InvalidInput(
                f"{place}: expected {count} BYTES elements, got {position} before the data ended."
            )
        (length,) = _ELEMENT_LENGTH.unpack_from(data, offset)
        offset = start + length
        if offset > len(data):
            raise InvalidInput(
                f"{place}: element {position} says it has {length} bytes,"
                f" but only {len(data) - start} are left."
            )
        yield bytes(data[start:offset])
    if offset != len(data):
        raise InvalidInput(
            f"{place}: expected {count} BYTES elements, got {len(data) - offset} bytes more."
        )


def to_binary(array: Array, datatype: str) -> bytes | memoryview:
    """Given an array, return its elements row by row as the protocol's raw bytes."""
    if datatype == "BYTES":
        elements = [_as_bytes(element) for element in array.ravel()]
        return b"".join(
            part for element in elements for part in (_ELEMENT_LENGTH.pack(len(element)), element)
        )
    if datatype == "BF16":
        return _narrowed(array).tobytes()
    flat = np.ascontiguousarray(array, _DTYPES[datatype]).reshape(-1)
    return flat.view(np.uint8).data if flat.size else b""


def _widened(halves: Array) -> Array:
    """bfloat16 is the upper half of a float32, so widening is exact."""
    wide: Array = (halves.astype("<u4") << np.uint32(16)).view("<f4")
    return wide


def _narrowed(array: Array) -> Array:
    """Round float32 to bfloat16, ties to even, NaN kept quiet (as Eigen and PyTorch do it)."""
    bits = np.ascontiguousarray(array, "<f4").view("<u4")
    rounded = (bits + (np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1)))) >> np.uint32(
        16
    )
    return np.where(np.isnan(array), np.uint32(0x7FC0), rounded).astype("<u2")


# ---- JSON ------------------------------------------------------------------------------------


def from_json(raw: msgspec.Raw, datatype: str, *, count: int, place: str) -> Array:
    """Given JSON data, nested or flat, return `count` elements as a flat array.

    Raise InvalidInput for another number of elements, for values that are not of the type, and for
    types that move as binary only.
    """
    if datatype in BINARY_ONLY:
        raise InvalidInput(
            f"{place}: {datatype} cannot be sent as JSON; send it as a binary tensor."
        )
    text = bytes(raw)
    if datatype != "BYTES":
        _check_commas(text, count=count, place=place)
    numbers = _flat_numbers(text, datatype)
    elements = _flattened(text, place=place) if numbers is None else numbers
    if len(elements) != count:
        raise InvalidInput(f"{place}: expected {count} elements, got {len(elements)}.")
    if numbers is None and datatype != "BYTES":
        _check_elements(elements, datatype, place=place)
    if datatype == "BYTES":
        return _object_array([_text_bytes(element, place=place) for element in elements])
    return _numbers(elements, datatype, place=place)


def to_json(array: Array, datatype: str, *, place: str) -> tuple[list[Any], int]:
    """Given an array, return its elements for JSON and how many of them were NaN or infinite.

    JSON has no such numbers, so they become null. Raise InvalidInput for types that move as binary
    only.
    """
    if datatype in BINARY_ONLY:
        raise InvalidInput(f"{place}: {datatype} cannot be sent as JSON; ask for binary data.")
    if datatype == "BYTES":
        return [_as_text(element, place=place) for element in array.ravel()], 0
    flat = np.asarray(array, _DTYPES[datatype]).ravel()
    elements: list[Any] = flat.tolist()
    if flat.dtype.kind != "f":
        return elements, 0
    is_finite = np.isfinite(flat)
    strange = int(flat.size - np.count_nonzero(is_finite))
    if strange:
        for position in np.flatnonzero(~is_finite):
            elements[position] = None
    return elements, strange


def _check_commas(text: bytes, *, count: int, place: str) -> None:
    """Refuse too many elements before they are made into objects, which take 10 times the memory.

    Arrays of numbers, however nested, have one comma less than elements.
    """
    commas = text.count(b",")
    if commas + 1 > max(count, 1):
        raise InvalidInput(f"{place}: expected {count} elements, got {commas + 1}.")


def _flat_numbers(text: bytes, datatype: str) -> list[Any] | None:
    """Read lists of numbers, however nested, in one typed step; return None for everything else.

    The text is known to be JSON, so without its brackets it is the same numbers in the same order.
    """
    kind = _DTYPES[datatype].kind
    if kind not in "fiu":
        return None
    flat = b"[" + text.translate(None, b"[]") + b"]"
    try:
        return _FLAT_FLOATS.decode(flat) if kind == "f" else _FLAT_INTEGERS.decode(flat)
    except msgspec.DecodeError:
        return None


def _flattened(text: bytes, *, place: str) -> list[Any]:
    try:
        values = _ANY.decode(text)
    except UnicodeDecodeError:
        raise MalformedRequest(f"{place}: the data is not UTF-8 text.") from None
    except (msgspec.DecodeError, RecursionError) as fault:
        raise MalformedRequest(f"{place}: the data cannot be read: {fault}.") from None
    return list(_leaves(values, place=place))


def _leaves(values: Any, *, place: str) -> Iterator[Any]:
    """Yield the elements of nested lists in order; a lone value is one element."""
    waiting = [iter(values if isinstance(values, list) else (values,))]
    while waiting:
        for value in waiting[-1]:
            if isinstance(value, list):
                waiting.append(iter(value))
                break
            if value is None or isinstance(value, dict):
                shown = "null" if value is None else "an object"
                raise InvalidInput(f"{place}: {shown} is not an element of a tensor.")
            yield value
        else:
            waiting.pop()


def _check_elements(elements: list[Any], datatype: str, *, place: str) -> None:
    kind = _DTYPES[datatype].kind
    if kind == "b":
        wrong = [value for value in elements if type(value) is not bool and value not in (0, 1)]
    else:
        allowed = (int, float) if kind == "f" else (int,)
        wrong = [value for value in elements if type(value) not in allowed]
    if wrong:
        raise _wrong_element(wrong[0], datatype, place=place)


def _numbers(elements: list[Any], datatype: str, *, place: str) -> Array:
    try:
        with np.errstate(over="raise"):
            return np.array(elements, _DTYPES[datatype])
    except (OverflowError, FloatingPointError):
        raise InvalidInput(f"{place}: a value does not fit into {datatype}.") from None


def _wrong_element(value: Any, datatype: str, *, place: str) -> InvalidInput:
    shown = msgspec.json.encode(value)[:40].decode("utf-8", "replace")
    return InvalidInput(f"{place}: expected elements of {datatype}, got {shown}.")


def _text_bytes(element: Any, *, place: str) -> bytes:
    if not isinstance(element, str):
        raise _wrong_element(element, "BYTES (text in JSON)", place=place)
    return element.encode("utf-8")


def _as_bytes(element: Any) -> bytes:
    return element if isinstance(element, bytes) else str(element).encode("utf-8")


def _as_text(element: Any, *, place: str) -> str:
    try:
        return element.decode("utf-8") if isinstance(element, bytes) else str(element)
    except UnicodeDecodeError:
        raise InvalidInput(
            f"{place}: these bytes are not UTF-8 text; ask for binary data."
        ) from None


def _object_array(elements: list[bytes]) -> Array:
    array = np.empty(len(elements), object)
    array[:] = elements
    return array
