"""How good a classifier is: accuracy, precision, recall, who is taken for whom, calibration.

Pure numbers: labels are indices, and -1 as an answer means that the model gave none.
"""

import math
from collections.abc import Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

Counts = NDArray[np.int64]
#: Guo et al. 2017, "On Calibration of Modern Neural Networks", use as many equal bins.
BINS = 15
_Z_95 = 1.959964


class ClassScore(msgspec.Struct, frozen=True, kw_only=True):
    """One class: how often it was there and was answered, and how well; None where undefined."""

    label: str
    items: int
    answers: int
    right: int
    precision: float | None
    recall: float | None
    f1: float | None


class CalibrationBin(msgspec.Struct, frozen=True, kw_only=True):
    """Answers whose confidence lies above `low` and up to `high`."""

    low: float
    high: float
    items: int
    confidence: float
    accuracy: float


class Calibration(msgspec.Struct, frozen=True, kw_only=True):
    """Whether a confidence means what it says: `ece` is the mean gap to the accuracy, 0 to 1."""

    ece: float
    confidence: float
    accuracy: float
    bins: tuple[CalibrationBin, ...]


class ClassificationScore(msgspec.Struct, frozen=True, kw_only=True):
    """All of it; `confusion[true][answered]`, whose last column is "no answer"."""

    items: int
    right: int
    accuracy: float
    accuracy_low: float
    accuracy_high: float
    top5_accuracy: float | None
    balanced_accuracy: float
    macro_f1: float
    labels: tuple[str, ...]
    classes: tuple[ClassScore, ...]
    confusion: tuple[tuple[int, ...], ...]
    calibration: Calibration | None


def score(
    truths: Sequence[int],
    answers: Sequence[int],
    *,
    labels: Sequence[str],
    confidences: Sequence[float] | None = None,
    top5_hits: int | None = None,
) -> ClassificationScore:
    """Given true and answered class of each item (-1: no answer), return the score.

    Classes that neither occur nor are answered are left out of `labels` and the confusion matrix.
    Raise ValueError when there are no items.
    """
    if not truths:
        raise ValueError("there is nothing to score")
    whole = confusion_matrix(truths, answers, len(labels))
    seen = [index for index in range(len(labels)) if whole[index].sum() or whole[:, index].sum()]
    kept = whole[np.ix_(seen, [*seen, len(labels)])]
    names = tuple(labels[index] for index in seen)
    classes = tuple(_class_scores(names, kept))
    right = int(np.trace(kept))
    low, high = wilson_interval(right, len(truths))
    hits = [truth == answer for truth, answer in zip(truths, answers, strict=True)]
    return ClassificationScore(
        items=len(truths),
        right=right,
        accuracy=right / len(truths),
        accuracy_low=low,
        accuracy_high=high,
        top5_accuracy=None if top5_hits is None else top5_hits / len(truths),
        balanced_accuracy=_mean([one.recall for one in classes if one.recall is not None]),
        macro_f1=_mean([one.f1 or 0.0 for one in classes if one.items]),
        labels=names,
        classes=classes,
        confusion=tuple(tuple(int(count) for count in row) for row in kept),
        calibration=None if confidences is None else calibration(confidences, hits),
    )


def confusion_matrix(truths: Sequence[int], answers: Sequence[int], classes: int) -> Counts:
    """Given true and answered classes, return counts [true, answered]; -1 counts in the last
    column, which comes after those of the classes.
    """
    matrix = np.zeros((classes, classes + 1), np.int64)
    columns = np.asarray(answers, np.int64)
    columns = np.where(columns < 0, classes, columns)
    np.add.at(matrix, (np.asarray(truths, np.int64), columns), 1)
    return matrix


def calibration(confidences: Sequence[float], hits: Sequence[bool]) -> Calibration | None:
    """Given each answer's confidence and whether it was right, return the calibration.

    The expected calibration error is the mean distance of confidence and accuracy over equal bins,
    weighted by their items (Naeini et al. 2015). Return None when there are no answers.
    """
    sure, right = np.asarray(confidences, float), np.asarray(hits, float)
    if not sure.size:
        return None
    # A bin holds its upper edge; 0 belongs to the first.
    places = np.clip(np.ceil(sure * BINS).astype(int) - 1, 0, BINS - 1)
    bins = []
    for number in range(BINS):
        inside = places == number
        if inside.any():
            bins.append(
                CalibrationBin(
                    low=number / BINS,
                    high=(number + 1) / BINS,
                    items=int(inside.sum()),
                    confidence=float(sure[inside].mean()),
                    accuracy=float(right[inside].mean()),
                )
            )
    gaps = sum(one.items * abs(one.confidence - one.accuracy) for one in bins)
    return Calibration(
        ece=gaps / sure.size,
        confidence=float(sure.mean()),
        accuracy=float(right.mean()),
        bins=tuple(bins),
    )


def wilson_interval(right: int, items: int) -> tuple[float, float]:
    """Given how many of how many were right, return the 95 % interval of their share.

    Wilson 1927: unlike the usual one it stays inside 0 to 1 for few items.
    """
    if not items:
        return 0.0, 1.0
    share, z2 = right / items, _Z_95**2
    middle = (share + z2 / (2 * items)) / (1 + z2 / items)
    half = _Z_95 * math.sqrt(share * (1 - share) / items + z2 / (4 * items**2)) / (1 + z2 / items)
    return max(0.0, min(share, middle - half)), min(1.0, max(share, middle + half))


def _class_scores(names: Sequence[str], matrix: Counts) -> list[ClassScore]:
    scores = []
    for index, name in enumerate(names):
        items, answers = int(matrix[index].sum()), int(matrix[:, index].sum())
        right = int(matrix[index, index])
        scores.append(
            ClassScore(
                label=name,
                items=items,
                answers=answers,
                right=right,
                precision=right / answers if answers else None,
                recall=right / items if items else None,
                f1=2 * right / (items + answers),
            )
        )
    return scores


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else 0.0
