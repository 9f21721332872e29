"""Reads .safetensors: eight bytes of length, a header in JSON, then the bytes of the tensors.

Format: github.com/huggingface/safetensors, README "Format". Nothing in such a file is code.
"""

import math
from pathlib import Path
from typing import Annotated, NamedTuple

import msgspec
from msgspec import Meta

from appliance.errors import ModelInvalid

#: The format's own bound on its header.
_MOST_HEADER_BYTES = 100_000_000
_LENGTH_BYTES = 8
#: Element types that are read, with their size in bytes.
ELEMENT_BYTES = {"F32": 4, "F16": 2, "I64": 8, "I32": 4}
_Size = Annotated[int, Meta(ge=0)]


class _Entry(msgspec.Struct, frozen=True):
    dtype: str
    shape: tuple[_Size, ...]
    data_offsets: tuple[_Size, _Size]


class TensorPlace(NamedTuple):
    """Where a tensor's bytes lie in the file, little-endian and in C order."""

    element_type: str
    shape: tuple[int, ...]
    offset: int
    bytes: int


def read_places(path: Path) -> dict[str, TensorPlace]:
    """Given a .safetensors file, return where each of its tensors lies.

    Raise ModelInvalid when it is cut off, contradicts itself or holds types not read here.
    """
    total = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(_LENGTH_BYTES), "little")
        begin = _LENGTH_BYTES + length
        if total < _LENGTH_BYTES or length > _MOST_HEADER_BYTES or begin > total:
            raise _invalid(path, "its header is longer than the file")
        header = file.read(length)
    try:
        raw = msgspec.json.decode(header, type=dict[str, msgspec.Raw])
        raw.pop("__metadata__", None)
        entries = {name: msgspec.json.decode(one, type=_Entry) for name, one in raw.items()}
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as fault:
        raise _invalid(path, f"its header is no JSON of tensors: {fault}") from None
    return {
        name: _place(path, name, entry, begin=begin, end=total) for name, entry in entries.items()
    }


def _place(path: Path, name: str, entry: _Entry, *, begin: int, end: int) -> TensorPlace:
    if entry.dtype not in ELEMENT_BYTES:
        raise _invalid(path, f"the tensor {name[:100]!r} has the element type {entry.dtype[:20]}")
    first, last = entry.data_offsets
    count = math.prod(entry.shape) * ELEMENT_BYTES[entry.dtype]
    if last - first != count or begin + last > end:
        raise _invalid(path, f"the tensor {name[:100]!r} lies outside of the file")
    return TensorPlace(entry.dtype, entry.shape, begin + first, count)


def _invalid(path: Path, why: str) -> ModelInvalid:
    return ModelInvalid(f"{path.name} cannot be read as .safetensors: {why}.")
