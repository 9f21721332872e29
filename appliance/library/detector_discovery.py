"""Which family a detector is of, read off the shapes of its outputs and one trial.

Families differ in how many boxes they tell: one for each cell of the grids at strides 8, 16 and 32
(YOLOX, YOLOv8), three for each (YOLOv5), or a fixed number (SSD, DETR, suppression inside).
"""

import msgspec

from appliance.library.model_facts import TensorFacts

#: The usual grids, then those with a coarser one (P6), a finer one (P2), and tiny nets' two.
_STRIDES = ((8, 16, 32), (8, 16, 32, 64), (4, 8, 16, 32), (16, 32))
#: An offset inside a cell is below a few; a centre in pixels goes up to the picture's size.
_LARGEST_OFFSET = 24.0
_RELATIVE = 2.0
_MOST_FIXED = 1000


class Detector(msgspec.Struct, frozen=True, kw_only=True):
    """A detector's decoder, how many classes it tells apart (0: not known) and its conventions.

    `outputs` are tensor names in the decoder's order; `question` says what must be asked instead.
    """

    decoder: str
    outputs: tuple[str, ...]
    classes: int = 0
    activation: str = "none"
    boxes: str = "pixels"
    strides: tuple[int, ...] = ()
    question: str = ""


def find_detector(
    outputs: tuple[TensorFacts, ...], size: tuple[int, int], *, labels: int = 0
) -> Detector | None:
    """Given the outputs, the input's width and height and how many labels there are (0: unknown),
    return the family, or None when the outputs are not those of a detector that is known.
    """
    if len(outputs) == 2:
        return _pair(*outputs, labels=labels) or _pair(outputs[1], outputs[0], labels=labels)
    if len(outputs) != 1:
        return None
    only = outputs[0]
    shape = only.shape
    if len(shape) == 4 and shape[-1] == 7 and shape[1] == 1:
        return Detector(decoder="ssd", outputs=(only.name,))
    if len(shape) != 3 or shape[0] not in (1, -1):
        return None
    return _one(only, size, labels)


def _one(only: TensorFacts, size: tuple[int, int], labels: int) -> Detector | None:
    _, rows, columns = only.shape
    for strides in _STRIDES:
        cells = sum((size[0] // stride) * (size[1] // stride) for stride in strides)
        if columns == cells and rows >= 5:
            return _yolov8(only, rows, is_upright=False)
        if rows == 3 * cells and columns >= 6:
            return _with_objectness(only, "yolov5", strides)
        if rows == cells and columns >= 5:
            return _one_each_cell(only, columns, strides, labels)
    if columns == 6 and 0 < rows <= _MOST_FIXED:
        relative = _is_relative(only.column_boxes)
        return Detector(decoder="yolov8-nms", outputs=(only.name,), boxes=_unit(relative))
    if columns == 5 and 0 < rows <= _MOST_FIXED:
        return Detector(decoder="geti", outputs=(only.name,), classes=1)
    return None


def _one_each_cell(
    only: TensorFacts, columns: int, strides: tuple[int, ...], labels: int
) -> Detector:
    """Tell [1, cells, 5 + classes] of YOLOX from [1, cells, 4 + classes] of a turned YOLOv8."""
    is_turned = columns - 4 == labels or (not labels and columns == 84)
    if is_turned:
        return _yolov8(only, columns, is_upright=True)
    if only.column_boxes is None:
        question = (
            "The output may be that of YOLOX or a decoded one, and the model could not be tried."
            " Say --decoder yolox or --decoder yolov5."
        )
        return msgspec.structs.replace(_with_objectness(only, "yolox", strides), question=question)
    is_raw = max(map(abs, only.column_boxes)) <= _LARGEST_OFFSET and not _is_relative(
        only.column_boxes
    )
    # Decoded boxes of noise still spread over the picture; raw ones stay within a few cells.
    return _with_objectness(only, "yolox" if is_raw else "yolov5", strides)


def _with_objectness(only: TensorFacts, decoder: str, strides: tuple[int, ...]) -> Detector:
    is_yolox = decoder == "yolox"
    return Detector(
        decoder=decoder,
        outputs=(only.name,),
        classes=only.shape[2] - 5,
        activation=_activation(only.column_scores),
        boxes=_unit(not is_yolox and _is_relative(only.column_boxes)),
        strides=strides if is_yolox and strides != _STRIDES[0] else (),
    )


def _yolov8(only: TensorFacts, channels: int, *, is_upright: bool) -> Detector:
    boxes, scores = (
        (only.column_boxes, only.column_scores)
        if is_upright
        else (only.row_boxes, only.row_scores)
    )
    return Detector(
        decoder="yolov8",
        outputs=(only.name,),
        classes=channels - 4,
        activation=_activation(scores),
        boxes=_unit(_is_relative(boxes)),
    )


def _pair(first: TensorFacts, second: TensorFacts, *, labels: int) -> Detector | None:
    """Return the family of two outputs if `first` holds boxes and `second` what they are."""
    names = (first.name, second.name)
    if (
        first.shape[-1:] == (5,)
        and second.shape == first.shape[:-1]
        and len(first.shape) in (2, 3)
    ):
        return Detector(
            decoder="geti", outputs=names, boxes=_unit(_is_relative(first.column_boxes))
        )
    is_detr = (
        len(first.shape) == len(second.shape) == 3
        and first.shape[2] == 4
        and first.shape[1] == second.shape[1]
        and second.shape[2] != 4
    )
    if not is_detr:
        return None
    scores, question = second.shape[2], ""
    is_done = second.low is not None and second.low >= 0 and (second.high or 0) <= 1
    activation = "none" if is_done else "softmax" if labels == scores - 1 else "sigmoid"
    if not labels and not is_done:
        question = (
            "Whether its scores exclude each other cannot be seen. Say --activation softmax (DETR)"
            " or --activation sigmoid (Deformable DETR, RT-DETR), or send its labels."
        )
    return Detector(
        decoder="detr",
        outputs=names[::-1],
        classes=scores - 1 if activation == "softmax" else scores,
        activation=activation,
        question=question,
    )


def _activation(scores: tuple[float, float] | None) -> str:
    if scores is None or (scores[0] >= -1e-3 and scores[1] <= 1.001):
        return "none"
    return "sigmoid"


def _is_relative(boxes: tuple[float, float] | None) -> bool:
    return boxes is not None and boxes[0] > -1.0 and 0.3 < boxes[1] <= _RELATIVE


def _unit(is_relative: bool) -> str:
    return "relative" if is_relative else "pixels"
