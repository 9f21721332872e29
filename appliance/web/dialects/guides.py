"""Routes of the systems this appliance replaces, thin: their paths and shapes, our answers.

Source: the vehicle classifier's guide. Unlike the original, there is no 200 without predictions.
"""

from typing import Any

import falcon
import msgspec

from appliance import errors
from appliance.actions.predict import Predictor, Request
from appliance.clock import Clock, utc_text
from appliance.config import Limits
from appliance.errors import InvalidInput
from appliance.tasks import image_classification
from appliance.web import uploads
from appliance.web.operation import Access, operation

VEHICLE_MODEL = "vehicle-type"
_SURE_FROM = 0.8
_LISTED = 5


class ConfidenceMetrics(msgspec.Struct, frozen=True, kw_only=True):
    """How sure the model is of one attribute, in the guide's terms."""

    confidence: float
    rank_1_accuracy: float
    rank_2_accuracy: float
    uncertainty: float
    is_confident: bool


class Attribute(msgspec.Struct, frozen=True, kw_only=True):
    """One attribute of a vehicle, such as its type."""

    attribute_name: str
    predicted_value: str
    confidence: float
    raw_probabilities: dict[str, float]
    confidence_metrics: ConfidenceMetrics


class Classification(msgspec.Struct, frozen=True, kw_only=True):
    """The `data` of the guide's reply."""

    image_path: str
    timestamp: str
    predictions: dict[str, Attribute]
    overall_confidence: float
    processing_time_ms: float
    model_version: str
    prediction_id: str


class VehicleReply(msgspec.Struct, frozen=True, kw_only=True):
    """The guide's reply to one picture."""

    status: str
    timestamp: str
    data: Classification


class VehicleClassifier:
    """POST /api/vehicle/classify."""

    def __init__(self, predictor: Predictor, limits: Limits, clock: Clock) -> None:
        self._predictor = predictor
        self._limits = limits
        self._clock = clock

    @operation(
        summary="Classify a vehicle's picture (vehicle classifier's own route)",
        access=Access.DEVICE,
        consumes={
            "multipart/form-data": {
                "type": "object",
                "properties": {"file": {"type": "string", "format": "binary"}},
                "required": ["file"],
                "additionalProperties": False,
            }
        },
        result=VehicleReply,
        problems=(
            errors.NotFound,
            errors.PayloadTooLarge,
            errors.UnsupportedMedia,
            errors.InvalidInput,
            errors.Overloaded,
            errors.DeadlineExceeded,
        ),
        tag="Guides",
    )
    def on_post(self, request: falcon.Request, response: falcon.Response) -> VehicleReply:
        """Answer the guide's shape with the vehicle model's attributes."""
        if uploads.media_type(request.content_type) != "multipart/form-data":
            raise errors.UnsupportedMedia(
                "Send a multipart form with the picture as its part 'file'."
            )
        upload = uploads.only_file(request, most_bytes=self._limits.input_bytes)
        answer = self._predictor.predict(
            Request(
                caller=request.context.caller,
                model=VEHICLE_MODEL,
                version=None,
                params={"top_k": str(_LISTED)},
                content_type=upload.content_type,
                body=upload.body,
                request_id=request.context.request_id,
                received_monotonic=request.context.received_monotonic,
            )
        )
        result = msgspec.json.decode(answer.result, type=image_classification.Classification)
        attributes = {head.head: _attribute(head) for head in result.predictions if head.top}
        if not attributes:
            raise InvalidInput("The model has no prediction for this picture.")
        now = utc_text(self._clock.wall_seconds())
        confidences = [attribute.confidence for attribute in attributes.values()]
        return VehicleReply(
            status="success",
            timestamp=now,
            data=Classification(
                image_path=upload.name,
                timestamp=now,
                predictions=attributes,
                overall_confidence=sum(confidences) / len(confidences),
                processing_time_ms=answer.timing.total_ms,
                model_version=f"{answer.model}@{answer.version}",
                prediction_id=answer.id,
            ),
        )


def _attribute(head: image_classification.HeadPrediction) -> Attribute:
    confidences = [candidate.confidence for candidate in head.top]
    best: Any = head.top[0]
    return Attribute(
        attribute_name=head.head,
        predicted_value=best.label,
        confidence=best.confidence,
        raw_probabilities={candidate.label: candidate.confidence for candidate in head.top},
        confidence_metrics=ConfidenceMetrics(
            confidence=best.confidence,
            rank_1_accuracy=best.confidence,
            rank_2_accuracy=round(sum(confidences[:2]), 6),
            uncertainty=round(1 - best.confidence, 6),
            is_confident=best.confidence >= _SURE_FROM,
        ),
    )
