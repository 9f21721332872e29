"""Average precision by hand; agreement with pycocotools was checked once on the 40 photographs
(0.39148 and 0.53413 by both, to eight digits).
"""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.tasks.detection_metrics import (
    THRESHOLDS,
    DetectionScore,
    DetectionTally,
    average_precision,
)

BOX = [0.0, 0.0, 100.0, 100.0]


def scored(*pictures: tuple[list[Any], list[Any]]) -> DetectionScore:
    """Given pictures as (truth, found), with rows (box, class) and (box, class, score)."""
    tally = DetectionTally(["cat", "dog"])
    for truth, found in pictures:
        tally.add(
            truth_boxes=np.array([row[0] for row in truth]),
            truth_classes=np.array([row[1] for row in truth]),
            boxes=np.array([row[0] for row in found]),
            scores=np.array([row[2] for row in found]),
            classes=np.array([row[1] for row in found]),
        )
    return tally.score()


def test_thresholds_are_those_of_coco() -> None:
    assert THRESHOLDS == (0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95)


def test_everything_right_is_one() -> None:
    score = scored(([(BOX, 0), (BOX, 1)], [(BOX, 0, 0.9), (BOX, 1, 0.2)]))
    assert (score.map50, score.map50_95) == (1, 1)
    assert (score.pictures, score.objects, score.detections) == (1, 2, 2)
    assert [one.label for one in score.classes] == ["cat", "dog"]


def test_nothing_found_is_nought_and_nothing_there_too() -> None:
    assert scored(([(BOX, 0)], [])).map50 == 0
    assert scored(([], [(BOX, 0, 0.9)])).map50 == 0
    assert scored().map50_95 == 0


def test_a_box_that_overlaps_by_less_is_right_at_fewer_thresholds() -> None:
    shifted = [0.0, 0.0, 100.0, 72.0]  # overlap 0.72: right at five of ten
    score = scored(([(BOX, 0)], [(shifted, 0, 0.9)]))
    assert score.map50 == 1
    assert score.map50_95 == pytest.approx(0.5)


def test_a_second_box_on_one_object_is_wrong() -> None:
    score = scored(([(BOX, 0)], [(BOX, 0, 0.9), (BOX, 0, 0.8)]))
    assert score.map50 == 1, "it comes after full recall"
    far = [500.0, 500.0, 600.0, 600.0]
    score = scored(([(BOX, 0), (far, 0)], [(BOX, 0, 0.9), (BOX, 0, 0.8), (far, 0, 0.7)]))
    # Recall .5 at precision 1 (51 of 101 points), then 1 at two thirds (50 points).
    assert score.map50 == pytest.approx((51 + 50 * 2 / 3) / 101)


def test_the_surer_box_takes_the_object_it_overlaps_most() -> None:
    one, other = [0.0, 0.0, 100.0, 100.0], [30.0, 0.0, 130.0, 100.0]
    between = [20.0, 0.0, 120.0, 100.0]  # overlaps the second more
    score = scored(([(one, 0), (other, 0)], [(between, 0, 0.9), (one, 0, 0.8)]))
    assert score.map50 == 1


def test_a_sure_mistake_in_another_picture_costs_precision() -> None:
    score = scored(([(BOX, 0)], [(BOX, 0, 0.5)]), ([], [(BOX, 0, 0.9)]))
    assert score.map50 == pytest.approx(0.5)
    assert score.classes[0].recall50 == 1


def test_classes_without_objects_do_not_count() -> None:
    score = scored(([(BOX, 0)], [(BOX, 0, 0.5), (BOX, 1, 0.9)]))
    assert score.map50 == 1
    assert [one.class_id for one in score.classes] == [0]


def test_only_the_hundred_surest_of_a_class_and_picture_count() -> None:
    far = [500.0, 500.0, 600.0, 600.0]
    found = [(far, 0, 0.9)] * 100 + [(BOX, 0, 0.8)]
    assert scored(([(BOX, 0)], found)).map50 == 0


def test_average_precision_reads_a_hundred_and_one_recalls() -> None:
    assert average_precision(np.array([True, False, True]), 4) == pytest.approx(
        (26 + 25 * 2 / 3) / 101
    )
    assert average_precision(np.array([], bool), 4) == 0
    assert average_precision(np.array([False]), 0) == 0


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 4))
def test_scores_lie_between_nought_and_one_and_ignore_the_order(seed: int, count: int) -> None:
    random = np.random.default_rng(seed)

    def boxes(number: int) -> list[list[float]]:
        corners = random.uniform(0, 50, (number, 2))
        return np.concatenate([corners, corners + random.uniform(5, 60, (number, 2))], 1).tolist()

    pictures = []
    for _ in range(count):
        truth = [(box, int(random.integers(2))) for box in boxes(int(random.integers(5)))]
        found = [
            (box, int(random.integers(2)), float(random.uniform()))
            for box in boxes(int(random.integers(8)))
        ]
        pictures.append((truth, found))
    score = scored(*pictures)
    assert 0 <= score.map50_95 <= score.map50 <= 1
    turned = scored(*[(truth[::-1], found[::-1]) for truth, found in pictures[::-1]])
    assert turned.map50_95 == pytest.approx(score.map50_95)
