"""POST …/predict: a picture, text or reading in, the model's answer out."""

from typing import Any

import falcon
from falcon.util import mediatypes

from appliance import errors
from appliance.actions.predict import Answer, Predictor, Request, Timing
from appliance.config import Limits
from appliance.errors import InvalidInput
from appliance.tasks.registry import TASKS
from appliance.web import parsing, uploads
from appliance.web.operation import Access, operation

PROBLEMS = (
    errors.MalformedRequest,
    errors.NotFound,
    errors.PayloadTooLarge,
    errors.UnsupportedMedia,
    errors.InvalidInput,
    errors.RateLimited,
    errors.Overloaded,
    errors.DeadlineExceeded,
    errors.InsufficientStorage,
)
_BINARY: dict[str, Any] = {"type": "string", "format": "binary"}
_FORM: dict[str, Any] = {
    "type": "object",
    "properties": {"file": _BINARY},
    "required": ["file"],
    "additionalProperties": False,
}
#: What a picture can be answered as, besides JSON, which comes first where both are as welcome.
_DRAWN_TYPES = ("image/jpeg", "image/png")
_JSON = "application/json"
_ANSWER_HEADERS = {
    "Server-Timing": "How long each step took, in milliseconds.",
    "X-Prediction-ID": "The prediction's id, where the answer may be a picture.",
}
_DESCRIPTION = (
    "The query takes the parameters of the model's task, which GET /api/v1/models/{model} lists."
    " With `Accept: image/jpeg` or `image/png` object detection answers the upright picture with"
    " boxes and labels drawn on it; other tasks answer JSON all the same."
)
_JSON_TYPES = ("application/json", "text/csv", "text/plain")


def consumed() -> dict[str, Any]:
    """Return the schema of each media type that some task takes, and of the form."""
    types = {media: dict(_BINARY) for task in TASKS for media in task.media_types}
    for media in _JSON_TYPES:
        if media in types:
            types[media] = {} if media.endswith("json") else {"type": "string"}
    return {**types, "multipart/form-data": _FORM}


def wanted_picture(accept: str | None) -> str:
    """Given an Accept header, return which picture it prefers to JSON, or nothing."""
    if not accept or "image/" not in accept:
        return ""
    try:
        preferred = mediatypes.best_match((_JSON, *_DRAWN_TYPES), accept)
    except ValueError:
        return ""
    return "" if preferred == _JSON else preferred


class Predict:
    """Predictions by the active version or a named one."""

    def __init__(self, predictor: Predictor, limits: Limits) -> None:
        self._predictor = predictor
        self._limits = limits

    @operation(
        summary="Predict with the active version of a model",
        access=Access.DEVICE,
        any_query=True,
        consumes=consumed(),
        result=Answer,
        produces={media: dict(_BINARY) for media in _DRAWN_TYPES},
        answer_headers=_ANSWER_HEADERS,
        description=_DESCRIPTION,
        problems=PROBLEMS,
        tag="Predictions",
    )
    def on_post(
        self, request: falcon.Request, response: falcon.Response, *, model: str
    ) -> Answer | None:
        """Answer one input."""
        return self._answer(request, response, model, None)

    @operation(
        summary="Predict with one version of a model",
        access=Access.DEVICE,
        any_query=True,
        consumes=consumed(),
        result=Answer,
        produces={media: dict(_BINARY) for media in _DRAWN_TYPES},
        answer_headers=_ANSWER_HEADERS,
        description=_DESCRIPTION,
        problems=PROBLEMS,
        tag="Predictions",
    )
    def on_post_version(
        self, request: falcon.Request, response: falcon.Response, *, model: str, version: str
    ) -> Answer | None:
        """Answer one input with the version in the path."""
        return self._answer(request, response, model, version_number(version))

    def _answer(
        self,
        request: falcon.Request,
        response: falcon.Response,
        model: str,
        version: int | None,
    ) -> Answer | None:
        params = parsing.single_values(request)
        upload = uploads.read_input(request, most_bytes=self._limits.input_bytes)
        if not upload.body:
            raise InvalidInput("The request carries no input: its body, or its file, is empty.")
        asked = Request(
            caller=request.context.caller,
            model=model,
            version=version,
            params=params,
            content_type=upload.content_type,
            body=upload.body,
            request_id=request.context.request_id,
            received_monotonic=request.context.received_monotonic,
        )
        media_type = wanted_picture(request.get_header("Accept"))
        if not media_type:
            answer = self._predictor.predict(asked)
            response.set_header("Server-Timing", server_timing(answer.timing))
            return answer
        answer, drawn = self._predictor.draw(asked, media_type)
        response.set_header("Server-Timing", server_timing(answer.timing))
        response.set_header("Vary", "Accept")
        response.set_header("X-Prediction-ID", answer.id)
        if drawn is None:
            return answer
        response.data, response.content_type = drawn, media_type
        return None


def server_timing(timing: Timing) -> str:
    """Given the timing of an answer, return it as a Server-Timing header (W3C Server Timing)."""
    return (
        f"queue;dur={timing.queue_ms}, decode;dur={timing.decode_ms},"
        f" infer;dur={timing.infer_ms}, encode;dur={timing.encode_ms},"
        f" total;dur={timing.total_ms}"
    )


def version_number(text: str) -> int:
    """Given a version from a path, return its number; raise InvalidInput for anything else."""
    if not (text.isascii() and text.isdecimal()) or len(text) > 9 or int(text) < 1:
        raise InvalidInput("A version is a whole number from 1.", pointer="/path/version")
    return int(text)
