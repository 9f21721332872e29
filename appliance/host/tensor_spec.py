"""What the Open Inference Protocol says of tensors, without numpy, so that the front may ask."""

from collections.abc import Iterable
from math import prod
from typing import Any

import msgspec

#: Bytes of one element, by the protocol's name of its type; 0 is "each element says its own".
#: Source: Open Inference Protocol V2, "Tensor Data Types"; BF16 is Triton's addition.
DATATYPE_BYTES = {
    "BOOL": 1,
    "UINT8": 1,
    "UINT16": 2,
    "UINT32": 4,
    "UINT64": 8,
    "INT8": 1,
    "INT16": 2,
    "INT32": 4,
    "INT64": 8,
    "FP16": 2,
    "BF16": 2,
    "FP32": 4,
    "FP64": 8,
    "BYTES": 0,
}

#: JSON has no numbers of these types, so the protocol moves them as binary tensors only.
BINARY_ONLY = frozenset({"FP16", "BF16"})


class TensorSpec(msgspec.Struct, frozen=True):
    """One tensor of a model; -1 in `shape` is a size the caller chooses."""

    name: str
    datatype: str
    shape: tuple[int, ...]

    @property
    def element_bytes(self) -> int:
        """Return the bytes of one element; 0 for BYTES, whose elements differ."""
        return DATATYPE_BYTES[self.datatype]


def tensor_specs(described: Iterable[dict[str, Any]]) -> tuple[TensorSpec, ...]:
    """Given tensors as `{"name", "datatype", "shape"}`, return them as specifications."""
    return tuple(
        TensorSpec(one["name"], one["datatype"], tuple(one["shape"])) for one in described
    )


def is_batchable(inputs: Iterable[TensorSpec], outputs: Iterable[TensorSpec]) -> bool:
    """Given a model's tensors, return whether rows can be added to a request along the first axis.

    That holds when the first size of every tensor is 1 or free: then a request of any batch can be
    split into rows and the answers put one below the other.
    """
    return all(spec.shape and spec.shape[0] in (1, -1) for spec in (*inputs, *outputs))


def shape_text(shape: Iterable[int]) -> str:
    """Given a shape, return it as clients write it, such as `[-1,3,224,224]`."""
    return "[" + ",".join(str(size) for size in shape) + "]"


def element_count(shape: Iterable[int]) -> int:
    """Given a shape without free sizes, return its number of elements."""
    return prod(shape)
