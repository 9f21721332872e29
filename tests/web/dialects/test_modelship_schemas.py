"""The names in ModelShip's JSON are those its clients read."""

import msgspec
import pytest

from appliance.web.dialects import modelship_schemas as schemas

#: Source: ModelShip's replies, of the time of its guide.
READ: dict[type[msgspec.Struct], set[str]] = {
    schemas.ImageReply: {"predicted_label", "confidence", "processing_time", "classification_id"},
    schemas.Detection: {"class_name", "confidence", "quality_score", "bbox", "is_high_quality"},
    schemas.BoundingBox: {"x1", "y1", "x2", "y2", "center_x", "center_y", "width", "height"},
    schemas.DetectReply: {"detections", "summary", "processing_time", "model_used"},
    schemas.TextReply: {"predicted_label", "confidence", "classification_type", "status"},
    schemas.BatchReply: {"job_id", "status", "total_items", "message"},
    schemas.JobReply: {"job_id", "status", "completed_items", "progress_percentage"},
    schemas.Result: {"filename", "predicted_label", "confidence", "status", "error_message"},
}


@pytest.mark.parametrize("kind", READ, ids=lambda kind: kind.__name__)
def test_fields_have_the_names_that_are_read(kind: type[msgspec.Struct]) -> None:
    assert {field.encode_name for field in msgspec.structs.fields(kind)} >= READ[kind]


@pytest.mark.parametrize("kind", ["image", "text"])
def test_a_batch_is_of_pictures_or_of_texts(kind: str) -> None:
    assert msgspec.convert({"job_type": kind}, schemas.BatchQuery).job_type == kind
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"job_type": kind + "s"}, schemas.BatchQuery)
