"""DeepStack's and CodeProject.AI's detection: what Frigate, Blue Iris and Agent DVR speak.

Source: CodeProject.AI's API reference and Frigate's `deepstack` detector, which stops reading at
the first object below 0.4 or with a label it does not know, so the surest object comes first.
Their clients send the API key as the form's field `api_key`; see `key_in_form`.
"""

import time
from email.utils import formatdate
from typing import Any

import falcon
import msgspec

from appliance import __version__, errors
from appliance.actions.choose_model import ServedModels, model_for, models_for, scene_model_for
from appliance.actions.predict import Answer, Predictor, Request
from appliance.clock import Clock
from appliance.config import Dialects, Limits
from appliance.errors import InvalidInput, Problem
from appliance.web import problems
from appliance.web.forms import Form, read_form
from appliance.web.openapi import Route, VisionError
from appliance.web.operation import Access, operation
from appliance.web.resources.predict import server_timing

PREFIX = "/v1/vision"
DETECTION, CLASSIFICATION = "object-detection", "image-classification"
#: CodeProject.AI's own default, and where Frigate stops reading.
_DEFAULT_CONFIDENCE = 0.4
_IMAGE_PARTS = ("image", "file")
_NAMES = {
    "module_id": "moduleId",
    "module_name": "moduleName",
    "execution_provider": "executionProvider",
    "can_use_gpu": "canUseGPU",
    "inference_ms": "inferenceMs",
    "process_ms": "processMs",
    "round_trip_ms": "analysisRoundTripMs",
    "timestamp_utc": "timestampUTC",
    "update_available": "updateAvailable",
}


class _Reply(msgspec.Struct, frozen=True, kw_only=True, rename=_NAMES):
    """What every answer of a module has."""

    success: bool = True
    message: str
    module_id: str
    module_name: str
    code: int = 200
    command: str
    execution_provider: str = "OpenVINO"
    can_use_gpu: bool = False
    inference_ms: int
    process_ms: int
    round_trip_ms: int
    timestamp_utc: str


class Detected(msgspec.Struct, frozen=True, kw_only=True):
    """One object; its box is in pixels of the upright picture."""

    confidence: float
    label: str
    x_min: int
    y_min: int
    x_max: int
    y_max: int


class DetectionReply(_Reply, frozen=True, kw_only=True):
    """The objects of a picture, the surest first."""

    predictions: tuple[Detected, ...]
    count: int


class SceneReply(_Reply, frozen=True, kw_only=True):
    """What a picture shows as a whole."""

    label: str
    confidence: float


class ModelNames(msgspec.Struct, frozen=True, kw_only=True, rename=_NAMES):
    """The models that /v1/vision/custom/{model} takes."""

    success: bool = True
    models: tuple[str, ...]
    module_id: str = "inference-appliance"
    command: str = "list-custom"
    code: int = 200


class UpdateReply(msgspec.Struct, frozen=True, kw_only=True, rename=_NAMES):
    """What Blue Iris asks at its start; updates come with apt."""

    success: bool = True
    message: str = "Updates come with the system's packages."
    version: str = __version__
    update_available: bool = False


class _Box(msgspec.Struct):
    x1: float
    y1: float
    x2: float
    y2: float


class _Object(msgspec.Struct):
    label: str
    confidence: float
    box: _Box


class _Objects(msgspec.Struct):
    objects: list[_Object]


class _Head(msgspec.Struct):
    label: str | None
    confidence: float | None


class _Heads(msgspec.Struct):
    predictions: list[_Head]


_objects_of = msgspec.json.Decoder(_Objects).decode
_heads_of = msgspec.json.Decoder(_Heads).decode
_FORM: dict[str, Any] = {
    "multipart/form-data": {
        "type": "object",
        "properties": {
            "image": {"type": "string", "format": "binary"},
            "min_confidence": {"type": "number", "minimum": 0, "maximum": 1},
            "api_key": {"description": "The key, where no header holds it."},
        },
        "required": ["image"],
    }
}
_PROBLEMS = (
    errors.NotFound,
    errors.PayloadTooLarge,
    errors.UnsupportedMedia,
    errors.Overloaded,
    errors.DeadlineExceeded,
    errors.InsufficientStorage,
)


def key_in_form(request: falcon.Request, *, most_bytes: int) -> str | None:
    """Given a request without a key in its headers, return the key in its form, if it has one.

    The form is kept for the operation, with what was wrong with it: a body can be read once.
    """
    if request.method != "POST" or not request.path.startswith(PREFIX + "/"):
        return None
    if not (request.content_type or "").lower().startswith("multipart/form-data"):
        return None
    try:
        form: Form | Problem = read_form(request, most_bytes=most_bytes)
    except Problem as problem:
        form = problem
    except falcon.HTTPError as fault:
        form = problems.translated(fault, request)
    request.context.form = form
    # Frigate sends the field empty where no key is configured.
    return (form.fields.get("api_key") or None) if isinstance(form, Form) else None


def error_body(problem: Problem, request_id: str = "") -> tuple[int, str, bytes]:
    """Given a problem, return status, media type and body of its answer; 422 is 400 here."""
    status = 400 if problem.status == 422 else problem.status
    error = VisionError(success=False, error=problem.detail or problem.title, code=status)
    return status, "application/json", msgspec.json.encode(error)


def routes(
    engine: ServedModels, predictor: Predictor, clock: Clock, *, limits: Limits, settings: Dialects
) -> tuple[Route, ...]:
    """Given the engine and the predictor, return the dialect's route table."""
    vision = Vision(engine, predictor, clock, limits=limits, settings=settings)
    return (
        Route("/v1/vision/detection", vision, "detection"),
        Route("/v1/vision/custom/list", vision, "list"),
        Route("/v1/vision/custom/{model}", vision, "custom"),
        Route("/v1/vision/scene", vision, "scene"),
        Route("/v1/vision/detect/scene", vision, "scene"),
        Route("/v1/status/updateavailable", vision, "update"),
    )


class Vision:
    """Pictures in, objects or scenes out. Threads: any; it holds no state."""

    def __init__(
        self,
        engine: ServedModels,
        predictor: Predictor,
        clock: Clock,
        *,
        limits: Limits,
        settings: Dialects,
    ) -> None:
        self._engine = engine
        self._predictor = predictor
        self._clock = clock
        self._limits = limits
        self._settings = settings

    @operation(
        summary="Detect objects (DeepStack, CodeProject.AI)",
        access=Access.DEVICE,
        any_query=True,
        consumes=_FORM,
        result=DetectionReply,
        problems=_PROBLEMS,
        tag="DeepStack",
        dialect="deepstack",
        description="The key may be the form's `api_key` instead of a header.",
    )
    def on_post_detection(
        self, request: falcon.Request, response: falcon.Response
    ) -> DetectionReply:
        """Answer with the model of dialects.detection_model, or the first that detects objects."""
        caller = request.context.caller
        configured = self._settings.detection_model
        model = model_for(self._engine, caller, DETECTION, configured=configured)
        return self._detected(request, response, model)

    @operation(
        summary="Detect objects with a named model (DeepStack, CodeProject.AI)",
        access=Access.DEVICE,
        any_query=True,
        consumes=_FORM,
        result=DetectionReply,
        problems=_PROBLEMS,
        tag="DeepStack",
        dialect="deepstack",
    )
    def on_post_custom(
        self, request: falcon.Request, response: falcon.Response, *, model: str
    ) -> DetectionReply:
        """Answer with the model in the path."""
        return self._detected(request, response, model)

    @operation(
        summary="List the models that detect objects (DeepStack, CodeProject.AI)",
        access=Access.DEVICE,
        any_query=True,
        body_required=False,
        result=ModelNames,
        tag="DeepStack",
        dialect="deepstack",
    )
    def on_post_list(self, request: falcon.Request, response: falcon.Response) -> ModelNames:
        """List those in the caller's scope."""
        return ModelNames(models=tuple(self._detectors(request)))

    @operation(
        summary="List the models that detect objects (DeepStack, CodeProject.AI)",
        access=Access.DEVICE,
        any_query=True,
        result=ModelNames,
        tag="DeepStack",
        dialect="deepstack",
    )
    def on_get_list(self, request: falcon.Request, response: falcon.Response) -> ModelNames:
        """List those in the caller's scope."""
        return ModelNames(models=tuple(self._detectors(request)))

    @operation(
        summary="Classify a picture as a whole (DeepStack, CodeProject.AI)",
        access=Access.DEVICE,
        any_query=True,
        consumes=_FORM,
        result=SceneReply,
        problems=(*_PROBLEMS, errors.Conflict),
        tag="DeepStack",
        dialect="deepstack",
    )
    def on_post_scene(self, request: falcon.Request, response: falcon.Response) -> SceneReply:
        """Answer with the model of dialects.scene_model, or the one that suits any picture."""
        form, caller = self._form(request), request.context.caller
        configured = self._settings.scene_model
        model = scene_model_for(self._engine, caller, configured=configured)
        self._require_task(model, CLASSIFICATION)
        answer = self._predicted(request, response, model, form, {})
        head = next(iter(_heads_of(answer.result).predictions), None)
        if head is None or head.label is None or head.confidence is None:
            raise InvalidInput("The model has no label for this picture.")
        return SceneReply(
            label=head.label,
            confidence=head.confidence,
            **self._told(request, answer, "scene", f"This is {head.label}"),
        )

    @operation(
        summary="Tell whether there is an update (Blue Iris asks)",
        access=Access.DEVICE,
        any_query=True,
        result=UpdateReply,
        tag="DeepStack",
        dialect="deepstack",
    )
    def on_get_update(self, request: falcon.Request, response: falcon.Response) -> UpdateReply:
        """Say that there is none to be had here."""
        return UpdateReply()

    def _detectors(self, request: falcon.Request) -> list[str]:
        return list(models_for(self._engine, request.context.caller, DETECTION))

    def _detected(
        self, request: falcon.Request, response: falcon.Response, model: str
    ) -> DetectionReply:
        form = self._form(request)
        least = form.number("min_confidence", _DEFAULT_CONFIDENCE, least=0.0, most=1.0)
        self._require_task(model, DETECTION)
        answer = self._predicted(request, response, model, form, {"threshold": f"{least:g}"})
        found = sorted(_objects_of(answer.result).objects, key=lambda one: -one.confidence)
        labels = ", ".join(one.label for one in found[:3])
        more = "…" if len(found) > 3 else ""
        message = f"Found {labels}{more}" if found else "No objects found"
        return DetectionReply(
            predictions=tuple(map(_shown, found)),
            count=len(found),
            **self._told(request, answer, "detect", message),
        )

    def _require_task(self, model: str, task: str) -> None:
        found = self._engine.task_of(model, None)
        if found != task:
            raise InvalidInput(f"The model {model!r} does {found}; this route needs {task}.")

    def _form(self, request: falcon.Request) -> Form:
        form: Form | Problem | None = request.context.get("form")
        if form is None:
            form = read_form(request, most_bytes=self._limits.input_bytes)
        if isinstance(form, Problem):
            raise form
        return form

    def _predicted(
        self,
        request: falcon.Request,
        response: falcon.Response,
        model: str,
        form: Form,
        params: dict[str, str],
    ) -> Answer:
        # Clients give pictures any type or none; what they are is seen from their content.
        image = form.file(*_IMAGE_PARTS)
        answer = self._predictor.predict(
            Request(
                caller=request.context.caller,
                model=model,
                version=None,
                params=params,
                content_type="application/octet-stream",
                body=image.body,
                request_id=request.context.request_id,
                received_monotonic=request.context.received_monotonic,
            )
        )
        response.set_header("Server-Timing", server_timing(answer.timing))
        return answer

    def _told(
        self, request: falcon.Request, answer: Answer, command: str, message: str
    ) -> dict[str, Any]:
        timing = answer.timing
        round_trip_ms = (time.monotonic() - request.context.received_monotonic) * 1000
        return {
            "message": message,
            "module_id": answer.model,
            "module_name": f"{answer.model}@{answer.version}",
            "command": command,
            "inference_ms": round(timing.infer_ms),
            "process_ms": round(timing.decode_ms + timing.infer_ms + timing.encode_ms),
            "round_trip_ms": round(round_trip_ms),
            "timestamp_utc": formatdate(self._clock.wall_seconds(), usegmt=True),
        }


def _shown(found: _Object) -> Detected:
    return Detected(
        confidence=found.confidence,
        label=found.label,
        x_min=round(found.box.x1),
        y_min=round(found.box.y1),
        x_max=round(found.box.x2),
        y_max=round(found.box.y2),
    )
