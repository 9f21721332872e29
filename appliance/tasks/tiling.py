"""Large pictures in overlapping tiles, so that small objects are not shrunk out of sight.

The idea is that of SAHI (Akyon et al. 2022): detect in tiles and in the whole, then merge. What a
tile's inner edge cuts through is a fragment: it gives way to a box that was seen whole, and is
joined with the other half where the object is seen whole nowhere.
"""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from appliance.errors import InvalidInput
from appliance.tasks import boxes as geometry
from appliance.tasks.detection_decoders import Found
from appliance.tasks.placement import Edges, Size

if TYPE_CHECKING:
    import numpy as np

    from appliance.tasks.boxes import Array

#: `auto` makes tiles of at most this many input sizes: halved pixels keep most small objects.
_SHRINKAGE = 1.5
#: Up to this many input sizes, tiles would find little more than the whole picture does.
_WHOLE_SHRINKAGE = 2.0
MOST_A_SIDE = 8
#: A box this near to an inner edge of its tile, in parts of the tile's side, goes on beyond it.
_EDGE = 0.015
#: A fragment that lies by so much inside a box seen whole belongs to the same object.
_INSIDE = 0.5
#: Two fragments that fill their common outline by so much are two parts of one object.
_FILLED = 0.75


def grid(
    tiles: str, width: float, height: float, target: Size, *, most: int = MOST_A_SIDE**2
) -> tuple[int, int]:
    """Given the parameter `tiles`, a part's size and the input's, return columns and rows.

    Raise InvalidInput when more than `most` tiles are asked for; `auto` then takes fewer.
    """
    if tiles != "auto":
        columns, rows = map(int, tiles.split("x"))
        if columns * rows > most:
            raise InvalidInput(
                f"This model looks at {most} tiles of one picture at most, not {columns * rows}"
                " (most_tiles in its manifest).",
                pointer="/query/tiles",
            )
        return columns, rows
    if width <= target[0] * _WHOLE_SHRINKAGE and height <= target[1] * _WHOLE_SHRINKAGE:
        return 1, 1
    columns = min(MOST_A_SIDE, math.ceil(width / (target[0] * _SHRINKAGE)))
    rows = min(MOST_A_SIDE, math.ceil(height / (target[1] * _SHRINKAGE)))
    while columns * rows > most:
        is_narrow = columns > 1 and (rows == 1 or width * rows <= height * columns)
        columns, rows = (columns - 1, rows) if is_narrow else (columns, rows - 1)
    return columns, rows


def tiles_of(part: Edges, columns: int, rows: int, overlap: float) -> list[Edges]:
    """Given a part of a picture, return equal tiles that cover it, row by row.

    Neighbours share `overlap` of their side; edges are whole pixels.
    """
    across = _spans(part[0], part[2], columns, overlap)
    down = _spans(part[1], part[3], rows, overlap)
    return [(left, top, right, bottom) for top, bottom in down for left, right in across]


def fragments(
    boxes: "Array", tile: Edges, part: Edges
) -> "np.ndarray[tuple[int], np.dtype[np.bool_]]":
    """Given boxes found in a tile of a part, return which of them an inner edge cuts through."""
    import numpy as np

    found = np.zeros(len(boxes), bool)
    for side in range(4):
        if tile[side] == part[side]:
            continue
        margin = max(2.0, _EDGE * (tile[side % 2 + 2] - tile[side % 2]))
        found |= np.abs(boxes[:, side] - tile[side]) <= margin
    return found


def merged(found: Found, is_fragment: "Array", *, iou: float, most: int) -> Found:
    """Given what all tiles found, in pixels of the picture, return each object once.

    Those seen whole come before fragments; at most `most` are returned.
    """
    import numpy as np

    whole = (~is_fragment).nonzero()[0]
    kept = geometry.distinct(
        found.boxes[whole], found.scores[whole], found.classes[whole], iou=iou, most=most
    )
    boxes, scores, classes = ([*column[whole[kept]]] for column in found)
    seen_whole = len(boxes)
    cut = is_fragment.nonzero()[0]
    for index in cut[np.argsort(-found.scores[cut], kind="stable")][: 2 * most]:
        box, kind = found.boxes[index], found.classes[index]
        same = [place for place, other in enumerate(classes) if other == kind]
        place = _same_object(box, boxes, same, seen_whole)
        if place is None:
            boxes.append(box)
            scores.append(found.scores[index])
            classes.append(kind)
        elif place >= seen_whole:
            boxes[place] = _outline(box, boxes[place])
    return _first(boxes, scores, classes, most)


def _first(
    boxes: "Sequence[Array]", scores: Sequence[float], classes: Sequence[int], most: int
) -> Found:
    import numpy as np

    order = np.argsort(-np.array(scores, float), kind="stable")[:most]
    return Found(
        np.array(boxes, float).reshape(-1, 4)[order],
        np.array(scores, float)[order],
        np.array(classes, int)[order],
    )


def _same_object(
    box: "Array", boxes: "Sequence[Array]", same: Sequence[int], seen_whole: int
) -> int | None:
    """Return the place of the kept box of the same class that a fragment is a part of, or None."""
    import numpy as np

    if not same:
        return None
    others = np.stack([boxes[place] for place in same])
    own, sizes = geometry.areas(box[None])[0], geometry.areas(others)
    shared = geometry.intersections(box, others)
    outlines = geometry.areas(_outline(box, others))
    is_part = shared >= _INSIDE * own
    is_other_half = (shared > 0) & (own + sizes - shared >= _FILLED * outlines)
    is_other_half &= np.array(same) >= seen_whole
    fitting = (is_part | is_other_half).nonzero()[0]
    return same[fitting[0]] if fitting.size else None


def _outline(box: "Array", others: "Array") -> "Array":
    import numpy as np

    low, high = np.minimum(box, others), np.maximum(box, others)
    return np.concatenate([low[..., :2], high[..., 2:]], axis=-1)


def _spans(start: float, end: float, count: int, overlap: float) -> list[tuple[int, int]]:
    length = (end - start) / (count - (count - 1) * overlap)
    step = length * (1 - overlap)
    spans = []
    for number in range(count):
        first = math.floor(start + number * step)
        last = math.ceil(start + number * step + length)
        spans.append((max(int(start), first), min(int(end), max(last, first + 1))))
    return spans
