"""Objects as ModelShip's callers ask for them and are told of them."""

import pytest

from appliance.config import Dialects
from appliance.errors import Forbidden, InvalidInput, NotFound
from appliance.tasks.object_detection import Box, DetectedObject
from appliance.web.dialects.modelship_boxes import (
    OBJECTS,
    detection_of,
    detection_params,
    detector_of,
    least_confidence,
    summary_of,
)
from appliance.web.forms import Form
from tests.actions.examples import StubEngine, a_device, a_status

ENGINE = StubEngine(a_status("boxes", task=OBJECTS), a_status("zoo", task=OBJECTS), a_status("x"))


def asked(**fields: str) -> Form:
    return Form(fields, ())


def detector(scope: tuple[str, ...] = (), *, configured: str = "", **fields: str) -> str:
    settings = Dialects(detection_model=configured)
    caller = a_device(models=scope)
    return detector_of(ENGINE, caller, asked(**fields), settings=settings)  # type: ignore[arg-type]


def an_object(confidence: float) -> DetectedObject:
    box = Box(x1=0.4, y1=9.6, x2=100.5, y2=200)
    return DetectedObject(label="car", class_id=2, confidence=confidence, box=box)


def test_its_own_names_mean_our_detector() -> None:
    assert detector() == detector(model_name="yolov8n") == "boxes"
    assert detector(model_name="yolo8s", configured="zoo") == "zoo"
    assert detector(model_name="zoo") == "zoo"


def test_a_model_that_is_none_is_refused() -> None:
    with pytest.raises(InvalidInput, match="does not detect objects"):
        detector(model_name="x")
    with pytest.raises(NotFound):
        detector(model_name="gone")
    with pytest.raises(Forbidden):
        detector(("boxes",), model_name="zoo")


def test_fields_become_the_tasks_parameters() -> None:
    assert detection_params(asked()) == {"threshold": "0.25"}
    sliced = asked(use_sahi_slicing="1", confidence_threshold="0.5", overlap_width_ratio="0.3")
    assert detection_params(sliced) == {"threshold": "0.5", "tiles": "auto", "overlap": "0.3"}
    with pytest.raises(InvalidInput, match="from 0 to 1"):
        least_confidence(asked(confidence_threshold="2"))


def test_quality_is_the_confidence_and_boxes_are_whole_pixels() -> None:
    found = [detection_of(an_object(share), is_sliced=True) for share in (0.7, 0.4, 0.39)]
    assert [one.quality_level for one in found] == ["high", "medium", "low"]
    assert (found[0].bbox.x1, found[0].bbox.width, found[0].bbox.center_y) == (0, 100, 105)
    assert found[0].sahi_detected


def test_a_picture_without_objects_has_a_summary_of_nothing() -> None:
    summary = summary_of(())
    assert (summary.unique_classes, summary.average_confidence, summary.max_confidence) == (
        0,
        0,
        0,
    )
