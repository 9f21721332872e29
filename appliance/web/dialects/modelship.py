"""ModelShip's routes: a picture or a text in, its reply shapes out, our models behind them.

Source: ModelShip's guide and the replies of that time. Unlike the original, what is not served is
told as such, and nothing is made up: an object's quality is its confidence, and where no model of
a kind is installed no rule of thumb answers in its place.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import falcon
import msgspec

from appliance import errors
from appliance.actions.callers import Caller, require_model
from appliance.actions.choose_model import models_for, scene_model_for
from appliance.actions.predict import Answer, Predictor, Request
from appliance.config import Dialects, Limits
from appliance.engine.engine import Engine
from appliance.engine.status import ModelStatus
from appliance.errors import InvalidInput, NotFound, Problem
from appliance.tasks import image_classification, object_detection, text_classification
from appliance.web.dialects import modelship_schemas as schemas
from appliance.web.dialects.modelship_boxes import (
    OBJECTS,
    detection_of,
    detection_params,
    detector_of,
    least_confidence,
    summary_of,
)
from appliance.web.forms import Form, read_form
from appliance.web.openapi import DetailError, Route
from appliance.web.operation import Access, operation
from appliance.web.resources.predict import server_timing

PREFIX = "/api/classify"
SENTIMENT, EMBEDDING = "sentiment", "embedding"
_TOKEN_KINDS = frozenset({"INT32", "INT64", "BYTES"})
IMAGE, TEXT = "image-classification", "text-classification"
_PROBLEMS = (
    errors.NotFound,
    errors.PayloadTooLarge,
    errors.UnsupportedMedia,
    errors.InvalidInput,
    errors.Overloaded,
    errors.DeadlineExceeded,
    errors.InsufficientStorage,
)
_BINARY = {"type": "string", "format": "binary"}


def _form(**fields: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    return {"multipart/form-data": {"type": "object", "properties": fields}}


_TEXT_FORM = _form(
    text={"description": "What is classified."},
    classification_type={"description": "The text model's name; sentiment unless given."},
    custom_categories={"description": "Any labels, with commas between them."},
    include_metadata={"type": "boolean"},
)


def error_body(problem: Problem, request_id: str = "") -> tuple[int, str, bytes]:
    """Given a problem, return status, media type and body of its answer, as FastAPI has them."""
    detail = DetailError(problem.detail or problem.title)
    return problem.status, "application/json", msgspec.json.encode(detail)


def routes(
    engine: Engine, predictor: Predictor, *, limits: Limits, settings: Dialects
) -> tuple[Route, ...]:
    """Given the engine and the predictor, return the routes that answer at once."""
    classify = Classify(engine, predictor, limits=limits, settings=settings)
    return (
        Route("/api/classify/image", classify, "image"),
        Route("/api/classify/image/detect", classify, "detect"),
        Route("/api/classify/annotated/{file_name}", classify, "annotated"),
        Route("/api/classify/text", classify, "text"),
        Route("/api/classify/models", classify, "models"),
    )


class WantedText(NamedTuple):
    """A kind of text classification, and the parameters it needs."""

    kind: str
    params: dict[str, str]


class Classify:
    """Pictures and texts, one at a time. Threads: any; it holds no state."""

    def __init__(
        self, engine: Engine, predictor: Predictor, *, limits: Limits, settings: Dialects
    ) -> None:
        self._engine = engine
        self._predictor = predictor
        self._limits = limits
        self._settings = settings

    @operation(
        summary="Classify a picture (ModelShip)",
        access=Access.DEVICE,
        any_query=True,
        consumes=_form(file=_BINARY),
        result=schemas.ImageReply,
        problems=(*_PROBLEMS, errors.Conflict),
        tag="Guides",
        dialect="modelship",
    )
    def on_post_image(
        self, request: falcon.Request, response: falcon.Response
    ) -> schemas.ImageReply:
        """Answer the surest label of the picture, in percent."""
        upload = self._read(request).file("file")
        model = scene_model_for(
            self._engine, request.context.caller, configured=self._settings.scene_model
        )
        answer = self._predicted(
            request, response, model, upload.body, content_type="application/octet-stream"
        )
        result = msgspec.json.decode(answer.result, type=image_classification.Classification)
        head = next((one for one in result.predictions if one.label is not None), None)
        if head is None:
            raise InvalidInput("The model has no label for this picture.")
        return schemas.ImageReply(
            classification_id=answer.id,
            predicted_label=head.label or "",
            confidence=percent(head.confidence),
            processing_time=seconds(answer),
            model_used=f"{answer.model}@{answer.version}",
            metadata={
                "filename": upload.name,
                "predictions": [
                    {"label": one.label, "confidence": percent(one.confidence)} for one in head.top
                ],
            },
        )

    @operation(
        summary="Detect objects in a picture (ModelShip)",
        access=Access.DEVICE,
        any_query=True,
        consumes=_form(
            file=_BINARY,
            project_id={"description": "Comes back in the answer."},
            model_name={"description": "A detector; ModelShip's own names mean the first."},
            confidence_threshold={"type": "number"},
            use_sahi_slicing={"type": "boolean"},
        ),
        result=schemas.DetectReply,
        problems=_PROBLEMS,
        tag="Guides",
        dialect="modelship",
        description="The picture with its boxes drawn: the native route with Accept: image/jpeg.",
    )
    def on_post_detect(
        self, request: falcon.Request, response: falcon.Response
    ) -> schemas.DetectReply:
        """Answer the objects, the surest first; slicing looks at overlapping tiles as well."""
        form = self._read(request)
        upload = form.file("file")
        caller, params = request.context.caller, detection_params(form)
        is_sliced = "tiles" in params
        answer = self._predicted(
            request,
            response,
            detector_of(self._engine, caller, form, settings=self._settings),
            upload.body,
            params=params,
            content_type="application/octet-stream",
        )
        found = msgspec.json.decode(answer.result, type=object_detection.Detection)
        return schemas.DetectReply(
            detection_id=answer.id,
            project_id=form.fields.get("project_id"),
            filename=upload.name,
            total_objects_detected=len(found.objects),
            detections=tuple(detection_of(one, is_sliced=is_sliced) for one in found.objects),
            summary=summary_of(found.objects),
            slice_configuration={"tiles": "auto"} if is_sliced else None,
            processing_time=seconds(answer),
            model_used=f"{answer.model}@{answer.version}",
            image_dimensions={"width": found.width, "height": found.height},
            confidence_threshold=least_confidence(form),
        )

    @operation(
        summary="Say where pictures with their boxes are had (ModelShip)",
        access=Access.DEVICE,
        any_query=True,
        problems=(errors.NotFound,),
        tag="Guides",
        dialect="modelship",
        description="Pictures are not kept, so there is none to fetch later: always 404, and how"
        " to have it drawn at once.",
    )
    def on_get_annotated(
        self, request: falcon.Request, response: falcon.Response, *, file_name: str
    ) -> None:
        """Name the replacement: an answer of today's shape never leads here."""
        raise NotFound(
            "Pictures with their boxes are not kept here. Send the picture to"
            " /api/v1/models/{model}/predict with the header 'Accept: image/jpeg': the answer is"
            " the picture with its boxes."
        )

    @operation(
        summary="Classify a text (ModelShip)",
        access=Access.DEVICE,
        any_query=True,
        consumes={
            **_TEXT_FORM,
            "application/x-www-form-urlencoded": _TEXT_FORM["multipart/form-data"],
        },
        result=schemas.TextReply,
        problems=_PROBLEMS,
        tag="Guides",
        dialect="modelship",
        description="`classification_type` names the text model; with `custom_categories`,"
        " separated by commas, any labels are told apart.",
    )
    def on_post_text(
        self, request: falcon.Request, response: falcon.Response
    ) -> schemas.TextReply:
        """Answer the surest label of the text, in percent."""
        form = self._read(request)
        text = form.fields.get("text", "")
        if not text.strip():
            raise InvalidInput("The form has no text in its field 'text'.", pointer="/text")
        wanted = wanted_text(form)
        answer = self._predicted(
            request,
            response,
            text_model(self._engine, request.context.caller, wanted, settings=self._settings),
            text.encode("utf-8"),
            params=wanted.params,
            content_type="text/plain",
        )
        result = msgspec.json.decode(answer.result, type=text_classification.TextPrediction)
        head = next((one for one in result.predictions if one.label is not None), None)
        if head is None:
            raise InvalidInput("The model has no label for this text.")
        is_told = form.flag("include_metadata")
        every = tuple(
            {"label": one.label, "confidence": percent(one.confidence)} for one in head.top
        )
        return schemas.TextReply(
            classification_id=answer.id,
            predicted_label=head.label or "",
            confidence=percent(head.confidence),
            processing_time=seconds(answer),
            status="success",
            classification_type=wanted.kind,
            model_used=f"{answer.model}@{answer.version}",
            metadata={"tokens": result.tokens, "truncated": result.truncated} if is_told else None,
            all_predictions=every if is_told else None,
        )

    @operation(
        summary="List the models that these routes use (ModelShip)",
        access=Access.DEVICE,
        any_query=True,
        result=schemas.ModelsReply,
        tag="Guides",
        dialect="modelship",
    )
    def on_get_models(
        self, request: falcon.Request, response: falcon.Response
    ) -> schemas.ModelsReply:
        """List the models in the caller's scope by what they do."""
        named = {
            task: {
                model: {"name": model, "version": self._engine.active_versions().get(model)}
                for model in models_for(self._engine, request.context.caller, task)
            }
            for task in (IMAGE, OBJECTS, TEXT)
        }
        return schemas.ModelsReply(
            classification_models=named[IMAGE],
            object_detection_models=named[OBJECTS],
            text_models=named[TEXT],
        )

    def _read(self, request: falcon.Request) -> Form:
        return read_form(request, most_bytes=self._limits.input_bytes)

    def _predicted(
        self,
        request: falcon.Request,
        response: falcon.Response,
        model: str,
        body: bytes,
        *,
        content_type: str,
        params: dict[str, str] | None = None,
    ) -> Answer:
        answer = self._predictor.predict(
            Request(
                caller=request.context.caller,
                model=model,
                version=None,
                params=params or {},
                content_type=content_type,
                body=body,
                request_id=request.context.request_id,
                received_monotonic=request.context.received_monotonic,
            )
        )
        response.set_header("Server-Timing", server_timing(answer.timing))
        return answer


def wanted_text(form: Form) -> WantedText:
    """Given a form, return which kind of text classification it asks for."""
    kind = form.fields.get("classification_type", "").strip() or SENTIMENT
    listed = form.fields.get("custom_categories", "").split(",")
    categories = [one.strip() for one in listed if one.strip()]
    return WantedText(kind, {"labels": ",".join(categories)} if categories else {})


def text_model(engine: Engine, caller: Caller, wanted: WantedText, *, settings: Dialects) -> str:
    """Given what is wanted of a text, return the model that does it.

    Categories need one that has no labels of its own; anything else one of that name, or
    dialects.text_model for `sentiment`. Raise Forbidden or NotFound.
    """
    known = list(models_for(engine, caller, TEXT))
    if wanted.params:
        for model in (*known, *models_for(engine, caller, EMBEDDING)):
            if _takes_any_labels(engine.status(model, None)):
                return model
        raise NotFound(
            "No model that tells any categories apart is active here, such as text-embedding:"
            " install it with 'appliance model add-text'."
        )
    if wanted.kind == SENTIMENT and settings.text_model:
        require_model(caller, settings.text_model)
        return settings.text_model
    if wanted.kind in known:
        return wanted.kind
    raise NotFound(
        f"No text model called {wanted.kind[:60]!r} is active here. Active are:"
        f" {', '.join(known) or 'none'}. Install one under that name, or send custom_categories."
    )


def _takes_any_labels(status: ModelStatus) -> bool:
    """Return whether a model has no labels of its own and reads texts, which are numbers to it."""
    kinds = {str(one["datatype"]) for one in status.inputs}
    return not any(status.labels.values()) and bool(kinds) and kinds <= _TOKEN_KINDS


def percent(confidence: float | None) -> float:
    """Given a confidence from 0 to 1, return it as ModelShip tells it: percent, two decimals."""
    return round((confidence or 0.0) * 100, 2)


def seconds(answer: Answer) -> float:
    """Given an answer, return how long it took, as ModelShip tells it: seconds."""
    return round(answer.timing.total_ms / 1000, 3)
