"""What detectors differ in: how their outputs must be shaped, and what a manifest says of it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

Shape = Sequence[int]


class DetectionSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`[settings]` in the manifest of a detector: what holds where a caller does not choose."""

    threshold: Annotated[float, Meta(ge=0, le=1)] = 0.25
    iou: Annotated[float, Meta(ge=0, le=1)] = 0.45
    #: Whether the graph tells boxes in pixels of its input or as parts of its width and height.
    boxes: Literal["pixels", "relative"] = "pixels"
    #: YOLOX: how many pixels of the input one cell of each grid covers.
    strides: tuple[Annotated[int, Meta(ge=1, le=1024)], ...] = (8, 16, 32)
    #: How many tiles one picture may be cut into: a slow model must still answer in time.
    most_tiles: Annotated[int, Meta(ge=1, le=64)] = 40


@dataclass(frozen=True, slots=True)
class Convention:
    """What a decoder must know of the model: width and height of its input, number of labels
    (0 when it has none), activation still to be applied to scores, and its settings.
    """

    width: int
    height: int
    classes: int = 0
    activation: str = "none"
    settings: DetectionSettings = field(default_factory=DetectionSettings)


def is_upright(shape: Shape, classes: int) -> bool:
    """Return whether rows of [N, 4 + classes] are boxes, rather than its columns.

    Where the labels do not say which it is, there are more boxes than classes.
    """
    if classes and (shape[0] == 4 + classes) != (shape[1] == 4 + classes):
        return shape[1] == 4 + classes
    return shape[1] < shape[0]


def columns_fault(before: int) -> Callable[[Sequence[Shape], Convention], str]:
    """Return the check of an output [1, N, before + classes]."""

    def fault(shapes: Sequence[Shape], convention: Convention) -> str:
        shape = shapes[0]
        if not _is_batch_of(shape, 2) or (shape[-1] >= 0 and shape[-1] < before):
            return f"must be [1, N, {before} + classes], not {[*shape]}"
        return _count_fault(shape[-1] - before, shape[-1], convention)

    return fault


def yolox_fault(shapes: Sequence[Shape], convention: Convention) -> str:
    """Return what is wrong with [1, N, 5 + classes] for YOLOX, or nothing."""
    fault = columns_fault(5)(shapes, convention)
    strides = convention.settings.strides
    cells = sum((convention.width // s) * (convention.height // s) for s in strides)
    if not fault and shapes[0][-2] not in (-1, cells):
        return (
            f"has {shapes[0][-2]} rows, but an input of {convention.width}×{convention.height}"
            f" has {cells} cells at the strides {[*strides]} of [settings]"
        )
    return fault


def yolov8_fault(shapes: Sequence[Shape], convention: Convention) -> str:
    """Return what is wrong with [1, 4 + classes, N] or its transpose, or nothing."""
    shape = shapes[0]
    if not _is_batch_of(shape, 2):
        return f"must be [1, 4 + classes, N], not {[*shape]}"
    rows, columns = shape[-2:]
    if -1 in (rows, columns):
        return ""
    channels = columns if is_upright((rows, columns), convention.classes) else rows
    if channels < 5:
        return f"must be [1, 4 + classes, N], not {[*shape]}"
    return _count_fault(channels - 4, channels, convention)


def rows_fault(columns: int) -> Callable[[Sequence[Shape], Convention], str]:
    """Return the check of a list of boxes: [N, columns] after any dimensions of 1."""

    def fault(shapes: Sequence[Shape], convention: Convention) -> str:
        shape = shapes[0]
        is_right = _is_batch_of(shape, 2) and shape[-1] in (columns, -1)
        return "" if is_right else f"must be [1, N, {columns}], not {[*shape]}"

    return fault


def detr_fault(shapes: Sequence[Shape], convention: Convention) -> str:
    """Return what is wrong with scores and boxes, or with both in one, or nothing."""
    if len(shapes) == 1:
        return columns_fault(4)(shapes, convention)
    logits, boxes = shapes
    if not _is_batch_of(boxes, 2) or boxes[-1] not in (4, -1) or not _is_batch_of(logits, 2):
        return (
            "must be the scores [1, N, classes] and the one after it the boxes [1, N, 4], not"
            f" {[*logits]} and {[*boxes]}"
        )
    count = logits[-1] - (1 if convention.activation == "softmax" else 0)
    is_extra = convention.activation != "softmax" and count == convention.classes + 1
    return "" if is_extra else _count_fault(count, logits[-1], convention)


def _is_batch_of(shape: Shape, dimensions: int) -> bool:
    """Return whether a shape has so many dimensions after those of a batch of one."""
    return len(shape) >= dimensions and all(size in (1, -1) for size in shape[:-dimensions])


def _count_fault(count: int, size: int, convention: Convention) -> str:
    if size < 0 or not convention.classes or count == convention.classes:
        return ""
    return f"has {count} classes, but there are {convention.classes} labels"
