"""Where a part of a picture lies in a model's input, and the way back from there.

The decoder of pictures and the mapping of boxes both ask here, so they cannot disagree.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from appliance.errors import InvalidInput

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

Size = tuple[int, int]
Crop = tuple[int, int, int, int]
Edges = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class Placement:
    """`source` (left, top, right, bottom in pixels of the upright picture) fills `inner` (width,
    height) of the model's input, whose left top corner lies at `offset`.
    """

    source: Edges
    inner: Size
    offset: Size = (0, 0)

    @property
    def scale(self) -> tuple[float, float]:
        """How many pixels of the input one pixel of the picture takes, across and down."""
        left, top, right, bottom = self.source
        return (self.inner[0] / (right - left), self.inner[1] / (bottom - top))

    def to_picture(self, boxes: "Array") -> "Array":
        """Given boxes [n, 4] as x1, y1, x2, y2 on the input, return them on the picture."""
        import numpy as np

        shift, scale = np.array([*self.offset, *self.offset]), np.array([*self.scale, *self.scale])
        origin = np.array([*self.source[:2], *self.source[:2]])
        return (boxes - shift) / scale + origin  # type: ignore[no-any-return]


def place(source: Edges, target: Size, *, resize: str, pad_position: str = "center") -> Placement:
    """Given a part of a picture and the input's width and height, return where the part lies.

    `resize` and `pad_position` are those of the manifest's input.
    """
    if resize == "crop":
        return Placement(_middle(source, target), target)
    if resize != "letterbox":
        return Placement(source, target)
    width, height = source[2] - source[0], source[3] - source[1]
    scale = min(target[0] / width, target[1] / height)
    inner = (_bounded(width * scale, target[0]), _bounded(height * scale, target[1]))
    if pad_position == "top-left":
        return Placement(source, inner)
    return Placement(source, inner, ((target[0] - inner[0]) // 2, (target[1] - inner[1]) // 2))


def part_of(size: Size, crop: Crop | None) -> Edges:
    """Given the upright picture's width and height, return the edges of what is wanted of it.

    Raise InvalidInput when `crop` (x, y, width, height) lies outside.
    """
    if crop is None:
        return (0, 0, *size)
    left, top, width, height = crop
    if left < 0 or top < 0 or width < 1 or height < 1:
        raise InvalidInput(
            "crop must be x,y,width,height with x, y ≥ 0 and a size ≥ 1.", pointer="/query/crop"
        )
    if left + width > size[0] or top + height > size[1]:
        raise InvalidInput(
            f"crop reaches outside the upright picture, which is {size[0]}×{size[1]} pixels.",
            pointer="/query/crop",
        )
    return (left, top, left + width, top + height)


def _bounded(length: float, most: int) -> int:
    return min(most, max(1, round(length)))


def _middle(source: Edges, target: Size) -> Edges:
    """Return the largest part in the middle of a box that has the target's aspect ratio."""
    left, top, right, bottom = source
    scale = min((right - left) / target[0], (bottom - top) / target[1])
    x = (right - left - target[0] * scale) / 2
    y = (bottom - top - target[1] * scale) / 2
    # Bounded by the box, because a rounding error beyond the picture is an error to Pillow.
    return (max(left, left + x), max(top, top + y), min(right, right - x), min(bottom, bottom - y))
