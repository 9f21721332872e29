from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.tasks import boxes as geometry

coordinate = st.floats(0, 100, allow_nan=False, width=32)


@st.composite
def detections(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    count = draw(st.integers(0, 25))
    corners = draw(st.lists(st.tuples(*[coordinate] * 4), min_size=count, max_size=count))
    boxes = np.array(corners, float).reshape(-1, 4)
    boxes = np.concatenate(
        [np.minimum(boxes[:, :2], boxes[:, 2:]), np.maximum(boxes[:, :2], boxes[:, 2:])], axis=1
    )
    scores = draw(st.lists(st.floats(0, 1), min_size=count, max_size=count))
    classes = draw(st.lists(st.integers(0, 3), min_size=count, max_size=count))
    return boxes, np.array(scores, float), np.array(classes, int)


def iou(one: Any, other: Any) -> float:
    """The same in plain words."""
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    shared = max(0.0, width) * max(0.0, height)
    area = [(box[2] - box[0]) * (box[3] - box[1]) for box in (one, other)]
    union = sum(area) - shared
    return float(shared / union) if union > 0 else 0.0


def test_areas_and_overlaps_by_hand() -> None:
    boxes = np.array([[0, 0, 10, 10], [5, 0, 15, 10], [20, 20, 10, 10], [3, 3, 3, 9]], float)
    assert geometry.areas(boxes).tolist() == [100, 100, 0, 0]
    assert geometry.intersections(boxes[0], boxes).tolist() == [100, 50, 0, 0]
    assert geometry.overlaps(boxes[0], boxes).tolist() == [1, 50 / 150, 0, 0]
    empty = np.zeros((1, 4))
    assert geometry.overlaps(empty[0], empty).tolist() == [0]


def test_of_boxes_that_overlap_the_surest_of_each_class_is_kept() -> None:
    boxes = np.array([[0, 0, 10, 10], [1, 0, 11, 10], [1, 0, 11, 10], [50, 50, 60, 60]], float)
    kept = geometry.distinct(
        boxes, np.array([0.8, 0.9, 0.7, 0.1]), np.array([0, 0, 1, 0]), iou=0.5, most=10
    )
    assert kept.tolist() == [1, 2, 3]


def test_boxes_far_smaller_than_a_pixel_are_told_apart_like_all_others() -> None:
    boxes = np.array([[0, 0, 1e-30, 1]] * 3)
    kept = geometry.distinct(boxes, np.zeros(3), np.array([1, 0, 1]), iou=0.5, most=10)
    assert kept.tolist() == [0, 1]


def test_at_most_so_many_are_kept_and_of_equals_the_first() -> None:
    boxes = np.array([[10 * n, 0, 10 * n + 9, 9] for n in range(6)], float)
    scores = np.full(6, 0.5)
    kept = geometry.distinct(boxes, scores, np.zeros(6, int), iou=0.5, most=3)
    assert kept.tolist() == [0, 1, 2]
    none = geometry.distinct(np.empty((0, 4)), np.empty(0), np.empty(0, int), iou=0.5, most=3)
    assert none.tolist() == []


@settings(max_examples=80, deadline=None)
@given(detections(), st.floats(0, 1))
def test_what_is_kept_is_distinct_and_what_is_dropped_was_not(
    found: tuple[np.ndarray, np.ndarray, np.ndarray], limit: float
) -> None:
    boxes, scores, classes = found
    kept = geometry.distinct(boxes, scores, classes, iou=limit, most=1000).tolist()
    margin = 1e-6
    for place, one in enumerate(kept):
        for other in kept[:place]:
            assert scores[other] >= scores[one]
            if classes[one] == classes[other]:
                assert iou(boxes[one], boxes[other]) <= limit + margin
    for dropped in set(range(len(boxes))) - set(kept):
        assert any(
            classes[one] == classes[dropped]
            and scores[one] >= scores[dropped]
            and iou(boxes[one], boxes[dropped]) > limit - margin
            for one in kept
        )


@settings(max_examples=50, deadline=None)
@given(detections(), st.randoms())
def test_the_order_in_which_boxes_come_does_not_matter(found: Any, random: Any) -> None:
    boxes, scores, classes = found
    scores = scores + np.arange(len(scores)) * 1e-3  # all different, so that no tie decides
    order = list(range(len(scores)))
    random.shuffle(order)
    kept = geometry.distinct(boxes, scores, classes, iou=0.4, most=1000).tolist()
    again = geometry.distinct(boxes[order], scores[order], classes[order], iou=0.4, most=1000)
    if len(set(scores)) == len(scores):
        assert [order[index] for index in again.tolist()] == kept


@settings(max_examples=50, deadline=None)
@given(detections(), st.tuples(*[coordinate] * 4))
def test_clipped_boxes_lie_within_the_edges(found: Any, corners: Any) -> None:
    edges = (
        min(corners[0], corners[2]), min(corners[1], corners[3]),
        max(corners[0], corners[2]), max(corners[1], corners[3]),
    )  # fmt: skip
    boxes = (found[0] - 50) * 3
    cut = geometry.clipped(boxes, edges)
    assert (cut[:, 0::2] >= edges[0]).all()
    assert (cut[:, 0::2] <= edges[2]).all()
    assert (cut[:, 1::2] >= edges[1]).all()
    assert (cut[:, 1::2] <= edges[3]).all()
    assert (cut[:, :2] <= cut[:, 2:]).all()
    assert geometry.clipped(cut, edges).tolist() == cut.tolist()
    assert (geometry.areas(cut) <= geometry.areas(boxes) + 1e-6).all()


def test_only_so_many_candidates_are_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(geometry, "MOST_CANDIDATES", 2)
    boxes = np.array([[10 * n, 0, 10 * n + 9, 9] for n in range(4)], float)
    scores = np.array([0.1, 0.4, 0.3, 0.2])
    assert geometry.distinct(boxes, scores, np.zeros(4, int), iou=1, most=9).tolist() == [1, 2]
