"""Objects as ModelShip's callers ask for them and are told of them."""

import msgspec

from appliance.actions.callers import Caller, require_model
from appliance.actions.choose_model import model_for
from appliance.config import Dialects
from appliance.engine.engine import Engine
from appliance.errors import InvalidInput
from appliance.tasks import object_detection
from appliance.web.dialects import modelship_schemas as schemas
from appliance.web.forms import Form

OBJECTS = "object-detection"
#: The models that ModelShip itself came with: asked for by name, ours answers.
_ITS_OWN_DETECTORS = frozenset({"", "yolo8n", "yolo8s", "yolov8n", "yolov8s"})
_DEFAULT_THRESHOLD = 0.25
#: ModelShip approves what is as sure as this.
_HIGH_QUALITY, _MEDIUM_QUALITY = 0.7, 0.4


def detector_of(engine: Engine, caller: Caller, form: Form, *, settings: Dialects) -> str:
    """Given a form, return the detector it asks for; ModelShip's own names mean ours.

    Raise Forbidden or NotFound, InvalidInput for a model that detects nothing.
    """
    name = form.fields.get("model_name", "")
    if name in _ITS_OWN_DETECTORS:
        return model_for(engine, caller, OBJECTS, configured=settings.detection_model)
    require_model(caller, name)
    if engine.task_of(name, None) != OBJECTS:
        raise InvalidInput(f"The model {name[:64]!r} does not detect objects.")
    return name


def least_confidence(form: Form) -> float:
    """Given a form, return the confidence that objects must have; raise InvalidInput."""
    return form.number("confidence_threshold", _DEFAULT_THRESHOLD, least=0.0, most=1.0)


def detection_params(form: Form) -> dict[str, str]:
    """Given a form, return the parameters of the task it asks for; raise InvalidInput."""
    params = {"threshold": f"{least_confidence(form):g}"}
    if form.flag("use_sahi_slicing"):
        overlap = form.number("overlap_width_ratio", 0.2, least=0.0, most=0.5)
        params |= {"tiles": "auto", "overlap": f"{overlap:g}"}
    return params


def detection_of(one: object_detection.DetectedObject, *, is_sliced: bool) -> schemas.Detection:
    """Given an object, return it in ModelShip's shape; quality is the confidence."""
    x1, y1, x2, y2 = (round(edge) for edge in msgspec.structs.astuple(one.box))
    level = "low" if one.confidence < _MEDIUM_QUALITY else "medium"
    is_high = one.confidence >= _HIGH_QUALITY
    return schemas.Detection(
        class_name=one.label,
        class_id=one.class_id,
        confidence=round(one.confidence, 3),
        quality_score=round(one.confidence, 3),
        quality_level="high" if is_high else level,
        bbox=schemas.BoundingBox(
            x1=x1,
            y1=y1,
            x2=x2,
            y2=y2,
            center_x=(x1 + x2) // 2,
            center_y=(y1 + y2) // 2,
            width=x2 - x1,
            height=y2 - y1,
        ),
        is_high_quality=is_high,
        sahi_detected=is_sliced,
    )


def summary_of(found: tuple[object_detection.DetectedObject, ...]) -> schemas.Summary:
    """Given the objects of a picture, return what they come to."""
    confidences = [one.confidence for one in found]
    counts: dict[str, int] = {}
    for one in found:
        counts[one.label] = counts.get(one.label, 0) + 1
    return schemas.Summary(
        unique_classes=len(counts),
        class_distribution=counts,
        average_confidence=round(sum(confidences) / max(len(confidences), 1), 3),
        max_confidence=round(max(confidences, default=0.0), 3),
        min_confidence=round(min(confidences, default=0.0), 3),
        high_quality_detections=sum(one >= _HIGH_QUALITY for one in confidences),
    )
