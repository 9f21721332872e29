"""How good a detector is on labelled pictures: average precision as COCO defines it.

The rules are those of COCO's evaluation (Lin et al. 2014; `COCOeval` in pycocotools): in each
picture and class the surest detections first take the object that they overlap most, if by enough;
precision is made monotonous and read at 101 recalls; classes without objects do not count.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from appliance.tasks import boxes as geometry

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

#: From 0.50 to 0.95 in steps of 0.05.
THRESHOLDS = tuple(round(0.5 + 0.05 * step, 2) for step in range(10))
#: Of each class in each picture, as COCO counts.
MOST_DETECTIONS = 100
_RECALLS = 101


class ClassPrecision(msgspec.Struct, frozen=True, kw_only=True):
    """One class: how many objects it has, and its average precision from 0 to 1.

    `ap50` is at an overlap of 0.5, `ap` the mean over 0.5 to 0.95; `recall50` is the part of the
    objects found at all at 0.5.
    """

    class_id: int
    label: str
    objects: int
    ap50: float
    ap: float
    recall50: float


class DetectionScore(msgspec.Struct, frozen=True, kw_only=True):
    """Mean average precision over the classes that have objects, and each of them."""

    map50: float
    map50_95: float
    pictures: int
    objects: int
    detections: int
    classes: tuple[ClassPrecision, ...]


class _Matches(NamedTuple):
    """Detections of one class in one picture: scores [n], and at each threshold hits [10, n]."""

    scores: "Array"
    hits: "Array"


class DetectionTally:
    """Counts picture by picture and keeps only scores and hits. Threads: one only."""

    def __init__(self, labels: Sequence[str]) -> None:
        self._labels = labels
        self._matches: dict[int, list[_Matches]] = {}
        self._objects: dict[int, int] = {}
        self._pictures = 0

    def add(
        self,
        *,
        truth_boxes: "Array",
        truth_classes: "Array",
        boxes: "Array",
        scores: "Array",
        classes: "Array",
    ) -> None:
        """Given what is in a picture and what was detected, boxes [n, 4] as corners, count it."""
        import numpy as np

        truth_boxes, boxes = (
            np.asarray(given, float).reshape(-1, 4) for given in (truth_boxes, boxes)
        )
        scores = np.asarray(scores, float)
        truth_classes, classes = np.asarray(truth_classes, int), np.asarray(classes, int)
        self._pictures += 1
        for kind in np.unique(np.concatenate([truth_classes, classes])).tolist():
            objects = truth_boxes[truth_classes == kind]
            mine = (classes == kind).nonzero()[0]
            order = mine[np.argsort(-scores[mine], kind="stable")][:MOST_DETECTIONS]
            self._objects[kind] = self._objects.get(kind, 0) + len(objects)
            matches = _Matches(scores[order], _hits(boxes[order], objects))
            self._matches.setdefault(kind, []).append(matches)

    def score(self) -> DetectionScore:
        """Return the score of all pictures so far."""
        kinds = sorted(kind for kind, count in self._objects.items() if count)
        classes = tuple(self._class(kind) for kind in kinds)
        return DetectionScore(
            map50=_mean([one.ap50 for one in classes]),
            map50_95=_mean([one.ap for one in classes]),
            pictures=self._pictures,
            objects=sum(self._objects.values()),
            detections=sum(len(one.scores) for many in self._matches.values() for one in many),
            classes=classes,
        )

    def _class(self, kind: int) -> ClassPrecision:
        import numpy as np

        scores = np.concatenate([one.scores for one in self._matches[kind]])
        hits = np.concatenate([one.hits for one in self._matches[kind]], axis=1)
        hits = hits[:, np.argsort(-scores, kind="stable")]
        precisions = [average_precision(row, self._objects[kind]) for row in hits]
        return ClassPrecision(
            class_id=kind,
            label=self._labels[kind] if 0 <= kind < len(self._labels) else f"class {kind}",
            objects=self._objects[kind],
            ap50=precisions[0],
            ap=_mean(precisions),
            recall50=float(hits[0].sum()) / self._objects[kind],
        )


def average_precision(hits: "Array", objects: int) -> float:
    """Given which detections hit, the surest first, and how many objects there are, return the
    mean of the best precision at or beyond each of 101 recalls from 0 to 1.
    """
    import numpy as np

    if not objects or not len(hits):
        return 0.0
    found = np.cumsum(hits)
    recalls = found / objects
    precisions = found / np.arange(1, len(hits) + 1)
    best_beyond = np.maximum.accumulate(precisions[::-1])[::-1]
    places = np.searchsorted(recalls, np.linspace(0.0, 1.0, _RECALLS), side="left")
    reached = best_beyond[places[places < len(hits)]]
    return float(reached.sum() / _RECALLS)


def _hits(boxes: "Array", objects: "Array") -> "Array":
    """Given detections, the surest first, and objects of one class, return hits [10, n]."""
    import numpy as np

    hits = np.zeros((len(THRESHOLDS), len(boxes)), bool)
    if not len(objects):
        return hits
    least = np.array(THRESHOLDS)
    free = np.ones((len(THRESHOLDS), len(objects)), bool)
    rows = np.arange(len(THRESHOLDS))
    for number, box in enumerate(boxes):
        shares = np.where(free, geometry.overlaps(box, objects)[None], -1.0)
        # Of objects overlapped alike COCO takes the last.
        taken = len(objects) - 1 - shares[:, ::-1].argmax(axis=1)
        hit = shares[rows, taken] >= least
        hits[:, number] = hit
        free[rows[hit], taken[hit]] = False
    return hits


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else 0.0
