import pytest

from appliance.errors import InvalidInput
from appliance.host.jobs.box_labels import TrueBox
from appliance.host.jobs.box_scores import BoxScores


def found(*objects: tuple[int, float, tuple[float, float, float, float]]) -> dict[str, object]:
    return {
        "width": 100,
        "height": 50,
        "objects": [
            {
                "label": "x",
                "class_id": kind,
                "confidence": confidence,
                "box": dict(zip(("x1", "y1", "x2", "y2"), edges, strict=True)),
            }
            for kind, confidence, edges in objects
        ],
    }


def test_a_perfect_detector_scores_one() -> None:
    scores = BoxScores(["cat", "dog"], working_threshold=0.25)
    truth = [TrueBox("cat", (0.1, 0.2, 0.5, 0.8), True), TrueBox("1", (60, 5, 90, 45), False)]
    assert scores.check(box.label for box in truth) == []
    scores.add(truth, found((0, 0.9, (10, 10, 50, 40)), (1, 0.8, (60, 5, 90, 45))))
    assert scores.score().map50_95 == pytest.approx(1.0)
    point = scores.working_point()
    assert (point.told, point.right, point.precision, point.recall) == (2, 2, 1.0, 1.0)


def test_what_is_unsure_counts_for_precision_over_all_but_not_at_the_working_threshold() -> None:
    scores = BoxScores(["cat"], working_threshold=0.5)
    truth = [TrueBox("cat", (10, 10, 50, 40), False), TrueBox("cat", (60, 5, 90, 45), False)]
    scores.add(truth, found((0, 0.9, (10, 10, 50, 40)), (0, 0.2, (60, 5, 90, 45))))
    scores.add([], found((0, 0.6, (0, 0, 9, 9))))
    point = scores.working_point()
    assert (point.told, point.right, point.objects) == (2, 1, 2)
    assert (point.precision, point.recall) == (0.5, 0.5)
    assert 0.5 < scores.score().map50 < 1.0


def test_boxes_that_the_model_cannot_know_are_left_out_with_a_note() -> None:
    scores = BoxScores(["cat"], working_threshold=0.25)
    (note,) = scores.check(["cat", "cow"])
    assert "does not know cow" in note
    scores.add([TrueBox("cow", (0, 0, 9, 9), False)], found())
    assert scores.score().objects == 0
    assert scores.working_point().recall is None
    assert scores.working_point().precision is None
    with pytest.raises(InvalidInput):
        scores.check(["cow"])
