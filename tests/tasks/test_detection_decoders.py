"""Every decoder against boxes computed by hand, in the layout that the real exports have."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.library.manifest import DETECTION_DECODERS
from appliance.tasks.boxes import distinct
from appliance.tasks.detection_decoders import DECODERS, Found, is_finite
from appliance.tasks.detection_shapes import Convention, DetectionSettings

#: An input of 64 × 32 pixels and three classes.
HERE = Convention(width=64, height=32, classes=3)
CELLS = 8 * 4 + 4 * 2 + 2 * 1


def convention(*, activation: str = "none", **settings: Any) -> Convention:
    return Convention(
        width=64,
        height=32,
        classes=3,
        activation=activation,
        settings=DetectionSettings(**settings),
    )


def read(
    name: str, *outputs: np.ndarray, threshold: float = 0.5, by: Convention = HERE
) -> list[tuple[list[float], float, int]]:
    found = DECODERS[name].decode([np.asarray(one, np.float32) for one in outputs], by, threshold)
    assert isinstance(found, Found)
    return [
        ([round(float(edge), 3) for edge in box], round(float(score), 3), int(kind))
        for box, score, kind in zip(*found, strict=True)
    ]


def test_the_names_are_those_a_manifest_may_use() -> None:
    assert tuple(DECODERS) == DETECTION_DECODERS


def test_yolox_decodes_each_row_on_its_own_grid() -> None:
    rows = np.zeros((1, CELLS, 8), np.float32)
    # Row 11 of the first grid, which has 8 columns of 8 pixels: cell x 3, y 1.
    rows[0, 11] = [0.5, 0.25, 0.0, math.log(2), 0.9, 0.1, 1.0, 0.2]
    # The second grid starts at 32 and has 4 columns of 16 pixels: row 37 is x 1, y 1.
    rows[0, 37] = [0.0, 0.0, math.log(2), 0.0, 0.8, 0.0, 0.0, 0.75]
    # The third starts at 40 and has 2 columns of 32 pixels: row 41 is x 1, y 0.
    rows[0, 41] = [-0.5, 0.5, 0.0, 0.0, 1.0, 0.9, 0.3, 0.0]
    assert read("yolox", rows) == [
        ([24.0, 2.0, 32.0, 18.0], 0.9, 1),
        ([0.0, 8.0, 32.0, 24.0], 0.6, 2),
        ([0.0, 0.0, 32.0, 32.0], 0.9, 0),
    ]


def test_a_yolox_that_overflows_has_huge_boxes_and_no_infinite_ones() -> None:
    rows = np.zeros((1, CELLS, 8), np.float32)
    rows[0, 0] = [0, 0, 500, -500, 1, 1, 0, 0]
    ((box, score, kind),) = read("yolox", rows)
    assert all(map(math.isfinite, box))
    assert (score, kind) == (1, 0)


def test_yolox_takes_other_strides_from_the_settings() -> None:
    rows = np.zeros((1, 2, 8), np.float32)
    rows[0, 1] = [0.5, 0.5, 0, 0, 1, 1, 0, 0]
    found = read("yolox", rows, by=convention(strides=(32,)))
    assert found == [([32.0, 0.0, 64.0, 32.0], 1.0, 0)]


def test_yolov5_multiplies_objectness_and_class() -> None:
    rows = [
        [32, 16, 20, 10, 0.9, 0.2, 0.9, 0.1],
        [32, 16, 20, 10, 0.9, 0.2, 0.5, 0.1],  # 0.45 is below
        [32, 16, 20, 10, 0.4, 1.0, 1.0, 1.0],
    ]
    assert read("yolov5", np.array([rows])) == [([22.0, 11.0, 42.0, 21.0], 0.81, 1)]


def test_yolov5_without_class_columns_knows_one_class() -> None:
    rows = np.array([[[10, 10, 4, 4, 0.7], [10, 10, 4, 4, 0.2]]])
    assert read("yolov5", rows) == [([8.0, 8.0, 12.0, 12.0], 0.7, 0)]


@pytest.mark.parametrize("is_transposed", [False, True])
def test_yolov8_has_no_objectness_and_comes_either_way_round(is_transposed: bool) -> None:
    columns = np.zeros((7, 9), np.float32)
    columns[:, 4] = [32, 16, 20, 10, 0.2, 0.6, 0.1]
    columns[:, 8] = [10, 10, 4, 4, 0.0, 0.1, 0.95]
    columns[:, 2] = [1, 1, 1, 1, 0.4, 0.49, 0.3]
    output = columns.T if is_transposed else columns
    assert read("yolov8", output[None]) == [
        ([22.0, 11.0, 42.0, 21.0], 0.6, 1),
        ([8.0, 8.0, 12.0, 12.0], 0.95, 2),
    ]


@pytest.mark.parametrize("threshold", [0.0, 0.3, 0.5, 0.9, 1.0])
def test_logits_become_confidences_and_the_threshold_is_of_those(threshold: float) -> None:
    logits = np.array([-80.0, -1.0, 0.0, 0.1, 2.5, 4.0, 80.0])
    columns = np.zeros((7, 7), np.float32)
    columns[:4] = 8
    columns[4:] = -90
    columns[5] = logits
    confidences = [1 / (1 + math.exp(-logit)) for logit in logits]
    found = read("yolov8", columns[None], threshold=threshold, by=convention(activation="sigmoid"))
    expected = [
        round(one, 3) for one in confidences if one >= threshold or round(one, 9) == 1 == threshold
    ]
    assert [score for _, score, _ in found] == pytest.approx(expected, abs=1e-3)
    rows = np.concatenate([columns[:4], np.full((1, 7), 90.0), columns[4:]]).T
    found = read("yolov5", rows[None], threshold=threshold, by=convention(activation="sigmoid"))
    assert len(found) == len(expected) or threshold in (0.0, 1.0)


def test_boxes_told_as_parts_of_the_input_become_pixels() -> None:
    columns = np.zeros((7, 3), np.float32)
    columns[:, 0] = [0.5, 0.5, 0.25, 0.5, 0, 0, 0.9]
    found = read("yolov8", columns[None], by=convention(boxes="relative"))
    assert found == [([24.0, 8.0, 40.0, 24.0], 0.9, 2)]


def test_yolov8_with_suppression_inside_has_corners_score_and_class() -> None:
    rows = [[1, 2, 30, 20, 0.9, 2], [1, 2, 3, 4, 0.4, 1], [0, 0, 0, 0, 0, 0]]
    assert read("yolov8-nms", np.array([rows])) == [([1.0, 2.0, 30.0, 20.0], 0.9, 2)]


def test_ssd_ends_at_the_first_negative_picture() -> None:
    rows = [
        [0, 1, 0.9, 0.25, 0.5, 0.5, 1.0],
        [0, 2, 0.3, 0, 0, 1, 1],
        [-1, 0, 0, 0, 0, 0, 0],
        [0, 1, 0.99, 0, 0, 1, 1],  # left over from an earlier inference
    ]
    assert read("ssd", np.array([[rows]])) == [([16.0, 16.0, 32.0, 32.0], 0.9, 1)]
    whole = np.array([[rows[:2]]])
    assert len(read("ssd", whole, threshold=0.0)) == 2


def test_detr_drops_what_is_no_object() -> None:
    logits = np.log(np.array([[[0.1, 0.7, 0.1, 0.1], [0.1, 0.1, 0.1, 0.7]]]))
    boxes = np.array([[[0.5, 0.5, 0.5, 0.25], [0.1, 0.1, 0.1, 0.1]]])
    found = read("detr", logits, boxes, by=convention(activation="softmax"))
    assert found == [([16.0, 12.0, 48.0, 20.0], 0.7, 1)]


def test_detr_by_sigmoid_has_no_class_for_nothing() -> None:
    logits = np.array([[[-9.0, -9.0, 3.0], [-9.0, -9.0, -9.0]]])
    boxes = np.array([[[0.5, 0.5, 0.5, 0.25], [0.1, 0.1, 0.1, 0.1]]])
    found = read("detr", logits, boxes, by=convention(activation="sigmoid"))
    assert found == [([16.0, 12.0, 48.0, 20.0], 0.953, 2)]


def test_detr_in_one_output_has_boxes_before_scores() -> None:
    rows = np.array([[[0.5, 0.5, 0.5, 0.25, 0.1, 0.8, 0.0], [0.1, 0.1, 0.1, 0.1, 0.2, 0.1, 0.0]]])
    assert read("detr", rows) == [([16.0, 12.0, 48.0, 20.0], 0.8, 1)]


def test_rtdetr_has_centre_size_score_and_class() -> None:
    rows = [[0.39, 0.64, 0.38, 0.12, 0.9, 2], [0.35, 0.42, 0.37, 0.25, 0.2, 0]]
    assert read("rtdetr", np.array([rows])) == [([12.8, 18.56, 37.12, 22.4], 0.9, 2)]


#: Small outputs, and what the original programs made of them: `non_max_suppression` of Ultralytics
#: 8.4.190 and of yolov5 7.0.14 (threshold 0.3, overlap 0.5), and `post_process_object_detection`
#: of Transformers 5.23.0 (DETR and RT-DETR, threshold 0.4), all on an input of 64 × 32.
PLACES = [
    [42, 13, 11, 11],
    [17, 19, 13, 12],
    [17, 42, 9, 13],
    [44, 33, 14, 15],
    [43, 14, 12, 10],
    [15, 17, 12, 13],
    [17, 41, 10, 12],
    [46, 33, 13, 14],
]
SCORES = [
    [0.89, 0.59, 0.47],
    [0.77, 0.03, 0.71],
    [0.37, 0.09, 0.66],
    [0.93, 0.21, 0.63],
    [0.8, 0.53, 0.42],
    [0.69, 0.03, 0.64],
    [0.33, 0.08, 0.59],
    [0.84, 0.19, 0.57],
]
OBJECTNESS = [[0.92], [0.7], [0.74], [0.57], [0.85], [0.65], [0.94], [0.64]]
BY_YOLOV8 = [
    ([37.0, 25.5, 51.0, 40.5], 0.93, 0),
    ([36.5, 7.5, 47.5, 18.5], 0.89, 0),
    ([10.5, 13.0, 23.5, 25.0], 0.77, 0),
    ([12.5, 35.5, 21.5, 48.5], 0.66, 2),
]
BY_YOLOV5 = [
    ([36.5, 7.5, 47.5, 18.5], 0.819, 0),
    ([12.0, 35.0, 22.0, 47.0], 0.555, 2),
    ([10.5, 13.0, 23.5, 25.0], 0.539, 0),
    ([39.5, 26.0, 52.5, 40.0], 0.538, 0),
]
QUERIES = [
    [0.39, 0.64, 0.38, 0.12],
    [0.35, 0.42, 0.37, 0.25],
    [0.5, 0.64, 0.34, 0.37],
    [0.69, 0.58, 0.37, 0.31],
    [0.39, 0.52, 0.32, 0.18],
]
LOGITS = [
    [2.2, -1.0, 2.0, 1.1],
    [-3.0, -2.0, -4.0, 2.0],
    [2.3, -6.1, -2.7, 2.1],
    [3.5, -6.5, -1.5, 1.0],
    [-1.8, 4.8, -3.6, 1.1],
]
BY_DETR = [
    ([12.8, 18.56, 37.12, 22.4], 0.456, 0),
    ([21.12, 14.56, 42.88, 26.4], 0.548, 0),
    ([32.32, 13.6, 56.0, 23.52], 0.918, 0),
    ([14.72, 13.76, 35.2, 19.52], 0.974, 1),
]
BY_RTDETR = [
    ([14.72, 13.76, 35.2, 19.52], 0.992, 1),
    ([32.32, 13.6, 56.0, 23.52], 0.971, 0),
    ([21.12, 14.56, 42.88, 26.4], 0.909, 0),
    ([12.8, 18.56, 37.12, 22.4], 0.9, 0),
    ([21.12, 14.56, 42.88, 26.4], 0.891, 3),
]
Rows = list[tuple[list[float], float, int]]


@pytest.mark.parametrize(
    ("name", "output", "expected"),
    [
        ("yolov8", np.hstack([PLACES, SCORES]).T, BY_YOLOV8),
        ("yolov5", np.hstack([PLACES, OBJECTNESS, SCORES]), BY_YOLOV5),
    ],
)
def test_suppression_leaves_what_the_originals_leave(
    name: str, output: np.ndarray, expected: Rows
) -> None:
    found = DECODERS[name].decode([output[None].astype(np.float32)], HERE, 0.3)
    kept = distinct(*found, iou=0.5, most=100)
    for place, (box, score, kind) in zip(kept, expected, strict=True):
        assert found.boxes[place].tolist() == pytest.approx(box, abs=1e-3)
        assert found.scores[place] == pytest.approx(score, abs=1e-3)
        assert found.classes[place] == kind


@pytest.mark.parametrize(
    ("activation", "classes", "expected"), [("softmax", 3, BY_DETR), ("sigmoid", 4, BY_RTDETR)]
)
def test_detr_finds_what_the_originals_find(activation: str, classes: int, expected: Rows) -> None:
    """By sigmoid one box may be told for two classes; in all as many as there are boxes."""
    by = Convention(width=64, height=32, classes=classes, activation=activation)
    found = read("detr", np.array([LOGITS]), np.array([QUERIES]), threshold=0.4, by=by)
    assert [box for box, _, _ in found] == [box for box, _, _ in expected]
    assert [score for _, score, _ in found] == pytest.approx(
        [one[1] for one in expected], abs=1e-3
    )
    assert [kind for _, _, kind in found] == [kind for _, _, kind in expected]


def test_geti_has_corners_and_score_beside_the_classes() -> None:
    boxes = np.array([[[1, 2, 30, 20, 0.9], [1, 2, 3, 4, 0.2]]])
    assert read("geti", boxes, np.array([[2, 0]])) == [([1.0, 2.0, 30.0, 20.0], 0.9, 2)]
    assert read("geti", boxes[0], np.array([2, 0]))[0][2] == 2
    assert read("geti", boxes)[0][2] == 0


def empty_outputs(name: str) -> list[np.ndarray]:
    empty: dict[str, list[np.ndarray]] = {
        "yolox": [np.zeros((1, CELLS, 8))],
        "yolov5": [np.zeros((1, 0, 8))],
        "yolov8": [np.zeros((1, 7, 20))],
        "yolov8-nms": [np.zeros((1, 0, 6))],
        "ssd": [np.zeros((1, 1, 0, 7))],
        "detr": [np.zeros((1, 0, 3)), np.zeros((1, 0, 4))],
        "rtdetr": [np.zeros((1, 0, 6))],
        "geti": [np.zeros((1, 0, 5)), np.zeros((1, 0))],
    }
    return empty[name]


@pytest.mark.parametrize("name", list(DECODERS))
def test_nothing_found_is_an_empty_answer(name: str) -> None:
    found = DECODERS[name].decode(empty_outputs(name), HERE, 0.5)
    assert found.boxes.shape == (0, 4)
    assert found.scores.shape == found.classes.shape == (0,)


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(["yolox", "yolov5", "yolov8", "detr"]),
    st.integers(0, 2**32 - 1),
    st.floats(0, 1),
    st.sampled_from(["none", "sigmoid"]),
)
def test_every_threshold_finds_just_what_reaches_it(
    name: str, seed: int, threshold: float, activation: str
) -> None:
    """Dropping rows early changes nothing: it is the same as decoding all and looking then."""
    random = np.random.default_rng(seed)
    shapes = {
        "yolox": (1, CELLS, 8),
        "yolov5": (1, 30, 8),
        "yolov8": (1, 7, 30),
        "detr": (1, 30, 7),
    }
    output = random.uniform(0, 1, shapes[name])
    by = convention(activation=activation)
    everything = DECODERS[name].decode([output], by, 0.0)
    some = DECODERS[name].decode([output], by, threshold)
    expected = everything.scores >= threshold
    near = np.abs(everything.scores - threshold) < 1e-9
    if not near.any():
        assert some.boxes.tolist() == everything.boxes[expected].tolist()
        assert some.classes.tolist() == everything.classes[expected].tolist()


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_outputs_that_are_no_numbers_are_noticed(value: float) -> None:
    output = np.ones((1, 10, 8), np.float32)
    assert is_finite(output)
    output[0, 3, 3] = value
    assert not is_finite(output)
    assert is_finite(np.full((1, 10), 3e38, np.float32)), "large numbers are numbers"
    assert is_finite(np.arange(5))
    assert is_finite(np.empty((0, 5), np.float32))
