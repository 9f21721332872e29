"""What detectors answer, read as boxes: one function for each family of exported models.

Each decoder gets the model's outputs in the order of the manifest and returns what reaches the
threshold, in pixels of the model's input. Only that is computed: the thousands of rows of
background are dropped by their score first.
"""

import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from appliance.tasks import detection_shapes as shapes
from appliance.tasks.detection_shapes import Convention, Shape, is_upright

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

#: exp(20) strides are more than any picture has; beyond, numbers would only overflow.
_LARGEST_EXPONENT = 20.0


class Found(NamedTuple):
    """Boxes [n, 4] as x1, y1, x2, y2 in pixels, their scores [n] and classes [n]."""

    boxes: "Array"
    scores: "Array"
    classes: "Array"


@dataclass(frozen=True, slots=True)
class Decoder:
    """How one family is read.

    `outputs` is how many the graph may have; `is_distinct` says that it already drops all but one
    box of each object. `fault` says in words what is wrong with the shapes, or nothing.
    """

    decode: "Callable[[Sequence[Array], Convention, float], Found]"
    fault: Callable[[Sequence[Shape], Convention], str]
    outputs: tuple[int, ...] = (1,)
    is_distinct: bool = False
    activations: tuple[str, ...] = ("none",)


def yolox(outputs: "Sequence[Array]", convention: Convention, threshold: float) -> Found:
    """Read [1, N, 5 + classes]: centre and size on the grid of each stride, objectness, classes.

    The rule is that of YOLOX (Ge et al. 2021, demo_postprocess in its repository): centre =
    (value + cell) × stride, size = exp(value) × stride.
    """
    import numpy as np

    rows = _rows(outputs[0])
    chosen, scores, classes = _objects(rows, convention, threshold)
    cells, strides = _grid(convention.width, convention.height, convention.settings.strides)
    told = rows[chosen, :4].astype(np.float64)
    centres = (told[:, :2] + cells[chosen]) * strides[chosen]
    sizes = np.exp(np.minimum(told[:, 2:], _LARGEST_EXPONENT)) * strides[chosen]
    return Found(_cornered(centres, sizes), scores, classes)


def yolov5(outputs: "Sequence[Array]", convention: Convention, threshold: float) -> Found:
    """Read [1, N, 5 + classes]: centre, size, objectness, classes; a decoded YOLOX is alike."""
    rows = _rows(outputs[0])
    chosen, scores, classes = _objects(rows, convention, threshold)
    return Found(_centred(rows[chosen, :4], convention), scores, classes)


def yolov8(outputs: "Sequence[Array]", convention: Convention, threshold: float) -> Found:
    """Read [1, 4 + classes, N] or its transpose, as YOLOv8 to v12 export it: no objectness."""
    columns = _rows(outputs[0])
    if is_upright(columns.shape, convention.classes):
        columns = columns.T
    least = _before_activation(threshold, convention.activation)
    best = columns[4:].max(axis=0)
    chosen = (best >= least).nonzero()[0]
    classes = columns[4:, chosen].argmax(axis=0)
    scores = _activated(best[chosen], convention.activation)
    return Found(_centred(columns[:4, chosen].T, convention), scores, classes)


def yolov8_nms(outputs: "Sequence[Array]", convention: Convention, threshold: float) -> Found:
    """Read [1, N, 6]: corners, score, class, of a graph with non-maximum suppression inside."""
    rows = _rows(outputs[0])
    rows = rows[rows[:, 4] >= threshold]
    return Found(_scaled(rows[:, :4], convention), rows[:, 4], rows[:, 5].astype(int))


def ssd(outputs: "Sequence[Array]", convention: Convention, threshold: float) -> Found:
    """Read [1, 1, N, 7]: picture, class, score, corners as parts of the input.

    The first row whose picture is negative ends the list (OpenVINO, DetectionOutput-8).
    """
    import numpy as np

    rows = outputs[0].reshape(-1, 7)
    ends = (rows[:, 0] < 0).nonzero()[0]
    rows = rows[: ends[0]] if ends.size else rows
    rows = rows[rows[:, 2] >= threshold].astype(np.float64)
    sides = np.array([convention.width, convention.height] * 2)
    return Found(rows[:, 3:] * sides, rows[:, 2], rows[:, 1].astype(int))


def detr(outputs: "Sequence[Array]", convention: Convention, threshold: float) -> Found:
    """Read class scores [1, N, C] and boxes [1, N, 4], or both in one [1, N, 4 + C].

    Boxes are centre and size as parts of the input. With softmax the last class is "no object"
    (DETR, Carion et al. 2020); with sigmoid there is none, and one box may be told once for each
    of several classes, in all as many as there are boxes (Deformable DETR, Zhu et al. 2021).
    """
    import numpy as np

    if len(outputs) == 1:
        rows = _rows(outputs[0])
        boxes, logits = rows[:, :4], rows[:, 4:]
    else:
        logits, boxes = _rows(outputs[0]), _rows(outputs[1])
    scores = _activated(logits, convention.activation)
    if convention.activation == "softmax" or scores.shape[1] == convention.classes + 1 > 1:
        scores = scores[:, :-1]
    chosen, classes = _likely(scores, threshold, may_share=convention.activation == "sigmoid")
    found = scores[chosen, classes].astype(np.float64)
    return Found(_parted(boxes[chosen], convention), found, classes)


def rtdetr(outputs: "Sequence[Array]", convention: Convention, threshold: float) -> Found:
    """Read [1, N, 6]: centre and size as parts of the input, score, class (RT-DETR whose graph
    picks the best classes itself, as Ultralytics exports it).
    """
    rows = _rows(outputs[0])
    rows = rows[rows[:, 4] >= threshold]
    return Found(_parted(rows[:, :4], convention), rows[:, 4], rows[:, 5].astype(int))


def geti(outputs: "Sequence[Array]", convention: Convention, threshold: float) -> Found:
    """Read corners and score [1, N, 5] and classes [1, N], as Geti and its training extensions
    export detectors; a graph without the second output knows one class.
    """
    import numpy as np

    rows = outputs[0].reshape(-1, 5)
    labels = outputs[1].reshape(-1) if len(outputs) > 1 else np.zeros(len(rows), int)
    chosen = (rows[:, 4] >= threshold).nonzero()[0]
    scores = rows[chosen, 4].astype(np.float64)
    return Found(_scaled(rows[chosen, :4], convention), scores, labels[chosen].astype(int))


def is_finite(output: "Array") -> bool:
    """Return whether an output holds numbers only, no NaN or infinity."""
    import numpy as np

    # One sum is finite only when all its numbers are: cheaper than asking each of a million.
    with np.errstate(over="ignore", invalid="ignore"):
        return bool(np.isfinite(output.sum()) or np.isfinite(output).all())


def _objects(
    rows: "Array", convention: Convention, threshold: float
) -> "tuple[Array, Array, Array]":
    """Given rows [N, 5 + classes], return the indices, scores and classes of those that reach the
    threshold: score = objectness × best class, so that no row below it in either can.
    """
    import numpy as np

    objectness = _activated(rows[:, 4], convention.activation)
    chosen = (objectness >= threshold).nonzero()[0]
    scores = objectness[chosen].astype(np.float64)
    if rows.shape[1] == 5:
        return chosen, scores, np.zeros(len(chosen), int)
    classes = _activated(rows[chosen, 5:], convention.activation)
    best = classes.argmax(axis=1)
    scores = scores * classes[np.arange(len(chosen)), best]
    enough = scores >= threshold
    return chosen[enough], scores[enough], best[enough]


@functools.lru_cache(maxsize=8)
def _grid(width: int, height: int, strides: tuple[int, ...]) -> "tuple[Array, Array]":
    """Return the cell (x, y) of every row, [N, 2], and its stride, [N, 1]; never to be changed."""
    import numpy as np

    cells, sizes = [], []
    for stride in strides:
        down, across = height // stride, width // stride
        y, x = np.mgrid[:down, :across]
        cells.append(np.stack([x.ravel(), y.ravel()], axis=1))
        sizes.append(np.full((down * across, 1), stride))
    return np.concatenate(cells).astype(np.float64), np.concatenate(sizes).astype(np.float64)


def _likely(scores: "Array", threshold: float, *, may_share: bool) -> "tuple[Array, Array]":
    """Given scores [n, classes], return rows and classes of those that reach the threshold: the
    best of each row, or where a row may have several, the n best of all.
    """
    import numpy as np

    if not may_share:
        best = scores.argmax(axis=1)
        chosen = (scores[np.arange(len(best)), best] >= threshold).nonzero()[0]
        return chosen, best[chosen]
    rows, classes = (scores >= threshold).nonzero()
    order = np.argsort(-scores[rows, classes], kind="stable")[: len(scores)]
    return rows[order], classes[order]


def _rows(output: "Array") -> "Array":
    """Return an output without its batch dimension."""
    return output.reshape(output.shape[-2:])


def _cornered(centres: "Array", sizes: "Array") -> "Array":
    import numpy as np

    return np.concatenate([centres - sizes / 2, centres + sizes / 2], axis=1)


def _centred(boxes: "Array", convention: Convention) -> "Array":
    """Given centres and sizes [n, 4], return corners in pixels."""
    boxes = _scaled(boxes, convention)
    return _cornered(boxes[:, :2], boxes[:, 2:])


def _parted(boxes: "Array", convention: Convention) -> "Array":
    """Given centres and sizes [n, 4] as parts of the input, return corners in pixels."""
    import numpy as np

    boxes = boxes.astype(np.float64) * np.array([convention.width, convention.height] * 2)
    return _cornered(boxes[:, :2], boxes[:, 2:])


def _scaled(boxes: "Array", convention: Convention) -> "Array":
    import numpy as np

    boxes = boxes.astype(np.float64)
    if convention.settings.boxes == "relative":
        boxes *= np.array([convention.width, convention.height] * 2)
    return boxes


def _activated(scores: "Array", activation: str) -> "Array":
    """Given scores [...] or [n, classes], return confidences of the same shape."""
    import numpy as np

    if activation == "none":
        return scores
    scores = scores.astype(np.float64)
    if activation == "sigmoid":
        return 1.0 / (1.0 + np.exp(-np.clip(scores, -60, 60)))  # type: ignore[no-any-return]
    powers = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)  # type: ignore[no-any-return]


def _before_activation(threshold: float, activation: str) -> float:
    """Return the score that becomes the threshold, so that only what passes is computed."""
    if activation != "sigmoid":
        return threshold
    if threshold in (0.0, 1.0):
        return -math.inf if threshold == 0.0 else 60.0
    return math.log(threshold / (1.0 - threshold))


_PLAIN = ("none", "sigmoid")

DECODERS: dict[str, Decoder] = {
    "yolox": Decoder(yolox, shapes.yolox_fault, activations=_PLAIN),
    "yolov5": Decoder(yolov5, shapes.columns_fault(5), activations=_PLAIN),
    "yolov8": Decoder(yolov8, shapes.yolov8_fault, activations=_PLAIN),
    "yolov8-nms": Decoder(yolov8_nms, shapes.rows_fault(6), is_distinct=True),
    "ssd": Decoder(ssd, shapes.rows_fault(7), is_distinct=True),
    "detr": Decoder(
        detr,
        shapes.detr_fault,
        outputs=(1, 2),
        is_distinct=True,
        activations=("none", "sigmoid", "softmax"),
    ),
    "rtdetr": Decoder(rtdetr, shapes.rows_fault(6), is_distinct=True),
    "geti": Decoder(geti, shapes.rows_fault(5), outputs=(1, 2), is_distinct=True),
}
