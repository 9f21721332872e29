"""What is known of a network once it was read: shapes, sizes and how its outputs behave."""

import msgspec


class TensorFacts(msgspec.Struct, frozen=True, kw_only=True):
    """One input or output; a size that varies is -1.

    Of outputs also what one trial on noise gave: the least and greatest value, whether rows add up
    to one as probabilities do, and the same bounds for the first four columns ([..., :4]) or rows
    ([..., :4, :]), where detectors have boxes, and for the rest.
    """

    name: str
    type: str
    shape: tuple[int, ...]
    low: float | None = None
    high: float | None = None
    sums_to_one: bool = False
    column_boxes: tuple[float, float] | None = None
    column_scores: tuple[float, float] | None = None
    row_boxes: tuple[float, float] | None = None
    row_scores: tuple[float, float] | None = None


class ModelFacts(msgspec.Struct, frozen=True, kw_only=True):
    """One network. `metadata` is what its file says in words, `weights_bytes` after conversion."""

    format: str
    inputs: tuple[TensorFacts, ...]
    outputs: tuple[TensorFacts, ...]
    operations: int
    weights_bytes: int
    metadata: dict[str, str] = {}
    labels: tuple[str, ...] = ()


def channels_of(shape: tuple[int, ...]) -> str:
    """Given the shape of an input, return its layout if it is one picture's, else nothing."""
    if len(shape) != 4 or shape[0] not in (1, -1):
        return ""
    first, last = shape[1] in (1, 3), shape[3] in (1, 3)
    if first == last:
        return ""
    return "NCHW" if first else "NHWC"


def picture_size(shape: tuple[int, ...], layout: str) -> tuple[int, int]:
    """Given the shape of a picture's input and its layout, return width and height."""
    return shape[layout.index("W")], shape[layout.index("H")]


def classes_of(shape: tuple[int, ...]) -> int:
    """Given an output's shape, return how many scores it has if it is one row of them, else 0."""
    sizes = [size for size in shape[1:] if size != 1]
    if not shape or shape[0] not in (1, -1) or len(sizes) != 1 or sizes[0] < 2:
        return 0
    return sizes[0]
