"""Scores of a detector: average precision, and what it finds at the threshold it works with."""

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
import numpy as np

from appliance.host.jobs.box_labels import TrueBox
from appliance.host.jobs.label_index import LabelIndex, some
from appliance.tasks.detection_metrics import DetectionScore, DetectionTally


class WorkingPoint(msgspec.Struct, frozen=True, kw_only=True):
    """What callers meet who choose no threshold: boxes count as right at an overlap of half.

    `precision` is the share of told boxes that are right, `recall` that of objects found.
    """

    threshold: float
    told: int
    right: int
    objects: int
    precision: float | None
    recall: float | None


class BoxScores:
    """Counts picture by picture. Threads: one only."""

    def __init__(self, labels: Sequence[str], *, working_threshold: float) -> None:
        self._index = LabelIndex(labels)
        self._threshold = working_threshold
        self._all = DetectionTally(labels)
        self._working = DetectionTally(labels)
        self._told = 0

    def check(self, labels: Iterable[str]) -> list[str]:
        """Given the labels of the data, return notes on those that are left out.

        Raise InvalidInput when the model knows none.
        """
        strangers = self._index.unknown(labels)
        if not strangers:
            return []
        return [f"The model does not know {some(strangers)}: boxes with these were left out."]

    def add(self, truth: Sequence[TrueBox], result: dict[str, Any]) -> None:
        """Given what is in a picture and the detector's result for it, count both."""
        size = np.array([result["width"], result["height"]] * 2, float)
        known = [(self._index.find(box.label), box) for box in truth]
        kept = [(number, box) for number, box in known if number is not None]
        edges = [np.asarray(box.edges) * (size if box.is_relative else 1.0) for _, box in kept]
        classes = [number for number, _ in kept]
        for tally, least in ((self._all, 0.0), (self._working, self._threshold)):
            found = [one for one in result["objects"] if one["confidence"] >= least]
            tally.add(
                truth_boxes=np.array(edges).reshape(-1, 4),
                truth_classes=np.array(classes, int),
                boxes=np.array([_corners(one["box"]) for one in found], float).reshape(-1, 4),
                scores=np.array([one["confidence"] for one in found], float),
                classes=np.array([one["class_id"] for one in found], int),
            )
        self._told += len(found)

    def score(self) -> DetectionScore:
        """Return the average precision of all pictures so far."""
        return self._all.score()

    def working_point(self) -> WorkingPoint:
        """Return what is told and found at the threshold that the model works with."""
        counted = self._working.score()
        right = round(sum(one.recall50 * one.objects for one in counted.classes))
        return WorkingPoint(
            threshold=self._threshold,
            told=self._told,
            right=right,
            objects=counted.objects,
            precision=right / self._told if self._told else None,
            recall=right / counted.objects if counted.objects else None,
        )


def _corners(box: dict[str, float]) -> tuple[float, float, float, float]:
    return box["x1"], box["y1"], box["x2"], box["y2"]
