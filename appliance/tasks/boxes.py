"""Boxes as rows x1, y1, x2, y2: how much they overlap, and which of them mean the same object."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

#: More boxes than that are not compared with each other; the least sure are left out.
MOST_CANDIDATES = 5_000


def clipped(boxes: "Array", edges: tuple[float, float, float, float]) -> "Array":
    """Given boxes [n, 4], return them cut to what lies within left, top, right and bottom.

    A box outside is left without area.
    """
    import numpy as np

    least, most = np.array([*edges[:2]] * 2, float), np.array([*edges[2:]] * 2, float)
    return np.clip(boxes, least, most)


def areas(boxes: "Array") -> "Array":
    """Given boxes [n, 4], return the area of each; one turned inside out has none."""
    import numpy as np

    sides = np.maximum(boxes[:, 2:] - boxes[:, :2], 0.0)
    return sides[:, 0] * sides[:, 1]  # type: ignore[no-any-return]


def intersections(box: "Array", others: "Array") -> "Array":
    """Given one box [4] and others [n, 4], return the area it shares with each."""
    import numpy as np

    width = np.minimum(others[:, 2], box[2]) - np.maximum(others[:, 0], box[0])
    height = np.minimum(others[:, 3], box[3]) - np.maximum(others[:, 1], box[1])
    return np.maximum(width, 0.0) * np.maximum(height, 0.0)  # type: ignore[no-any-return]


def overlaps(box: "Array", others: "Array") -> "Array":
    """Given one box [4] and others [n, 4], return intersection over union with each."""
    return _shares(box, others, areas(others))


def distinct(
    boxes: "Array", scores: "Array", classes: "Array", *, iou: float, most: int
) -> "Array":
    """Given boxes [n, 4] with scores and classes, return the indices of at most `most` to keep.

    Greedy non-maximum suppression within each class: from the surest down, a box is dropped when
    its intersection over union with a kept one of its class is above `iou`. Of equally sure boxes
    the first one wins.
    """
    import numpy as np

    order = np.argsort(-scores, kind="stable")[:MOST_CANDIDATES]
    kept: list[int] = []
    left, kinds = boxes[order], classes[order]
    sizes = areas(left)
    while order.size and len(kept) < most:
        kept.append(int(order[0]))
        rest = (_shares(left[0], left[1:], sizes[1:]) <= iou) | (kinds[1:] != kinds[0])
        order, left = order[1:][rest], left[1:][rest]
        kinds, sizes = kinds[1:][rest], sizes[1:][rest]
    return np.array(kept, int)


def _shares(box: "Array", others: "Array", sizes: "Array") -> "Array":
    import numpy as np

    shared = intersections(box, others)
    own = max(box[2] - box[0], 0.0) * max(box[3] - box[1], 0.0)
    union = sizes + own - shared
    return np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)  # type: ignore[no-any-return]
