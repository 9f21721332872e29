"""POST /v2/models/{model}/infer: relay a tensor request to the model's host, unread."""

import time
from collections.abc import Callable
from typing import Any, NamedTuple

import falcon

from appliance import errors
from appliance.actions.callers import Caller, require_model
from appliance.actions.predict import Timing
from appliance.config import Limits
from appliance.errors import MalformedRequest, NotFound
from appliance.web.dialects.open_inference_encoding import read_body, set_body
from appliance.web.dialects.open_inference_engine import Engine, unknown_model, version_number
from appliance.web.dialects.open_inference_schemas import (
    INFERENCE_REQUEST_SCHEMA,
    InferenceResponse,
)
from appliance.web.operation import Access, operation
from appliance.web.resources.predict import server_timing

HEADER_LENGTH = "Inference-Header-Content-Length"
_JSON, _OCTETS = "application/json", "application/octet-stream"
_BINARY: dict[str, Any] = {"type": "string", "format": "binary"}
_HEADER_LENGTH_SCHEMA = {
    "type": "integer",
    "minimum": 0,
    "maximum": 999_999_999_999_999,
    "description": "Bytes of the JSON part; binary tensors follow it. 0: no JSON.",
}


class Inferred(NamedTuple):
    """An answered tensor request, for the history; `inference_id` is the id inside the answer."""

    caller: Caller
    model: str
    version: int
    task: str
    request_id: str
    inference_id: str
    timing: Timing
    input_bytes: int
    content_type: str


#: Told of every answered tensor request; must not wait.
Record = Callable[[Inferred], None]


class Infer:
    """Tensor requests.

    Threads: any; the object holds no state of its own.
    """

    def __init__(self, engine: Engine, limits: Limits, record: Record) -> None:
        self._engine = engine
        self._limits = limits
        self._record = record

    @operation(
        summary="Run tensors through a model",
        access=Access.DEVICE,
        any_query=True,
        consumes={
            _JSON: INFERENCE_REQUEST_SCHEMA,
            _OCTETS: _BINARY,
        },
        produces={_OCTETS: _BINARY},
        result=InferenceResponse,
        headers={HEADER_LENGTH: _HEADER_LENGTH_SCHEMA},
        problems=(
            errors.NotFound,
            errors.PayloadTooLarge,
            errors.Overloaded,
            errors.DeadlineExceeded,
        ),
        tag="Open Inference Protocol",
        dialect="open-inference",
    )
    def on_post(
        self,
        request: falcon.Request,
        response: falcon.Response,
        *,
        model: str,
        version: str | None = None,
    ) -> None:
        """Answer one tensor request."""
        context = request.context
        require_model(context.caller, model)
        json_bytes = header_length(request.get_header(HEADER_LENGTH))
        # Unpacked bytes are bounded like plain ones: they are in memory, here and in the host.
        most_bytes = self._limits.input_bytes + self._limits.json_bytes
        body = read_body(request, most_bytes=most_bytes)
        header = {"method": "infer", "json_bytes": json_bytes, "request_id": context.request_id}
        reply, answer = self._call(
            model, version, header, body, waiting_since=context.received_monotonic
        )
        _set_answer(request, response, reply["json_bytes"], answer)
        timing = _timing(reply, context.received_monotonic)
        response.set_header("Server-Timing", server_timing(timing))
        self._record(
            Inferred(
                caller=context.caller,
                model=reply["model"],
                version=reply["version"],
                task=reply["task"],
                request_id=context.request_id,
                inference_id=reply["id"],
                timing=timing,
                input_bytes=len(body),
                content_type=_JSON if json_bytes is None else _OCTETS,
            )
        )

    def _call(
        self,
        model: str,
        version: str | None,
        header: dict[str, Any],
        body: bytes | bytearray,
        *,
        waiting_since: float,
    ) -> tuple[dict[str, Any], bytearray]:
        number = version_number(model, version)
        try:
            return self._engine.call(
                model, number, header, memoryview(body), waiting_since=waiting_since
            )
        except NotFound:
            raise unknown_model(model, version) from None


def header_length(text: str | None) -> int | None:
    """Given the header's value, return its number or None; raise MalformedRequest for another."""
    if text is None:
        return None
    stripped = text.strip()
    if not (stripped.isascii() and stripped.isdecimal()) or len(stripped) > 15:
        raise MalformedRequest(f"{HEADER_LENGTH} is a number of bytes from 0.")
    return int(stripped)


def _set_answer(
    request: falcon.Request,
    response: falcon.Response,
    json_bytes: int | None,
    answer: bytes | bytearray,
) -> None:
    response.content_type = _JSON
    if json_bytes is not None:
        response.content_type = _OCTETS
        response.set_header(HEADER_LENGTH, str(json_bytes))
    set_body(request, response, answer)


def _timing(reply: dict[str, Any], received_monotonic: float) -> Timing:
    decode, infer, encode = reply["timing"]
    return Timing(
        queue_ms=round(reply["queue"] * 1000, 3),
        decode_ms=round(decode * 1000, 3),
        infer_ms=round(infer * 1000, 3),
        encode_ms=round(encode * 1000, 3),
        total_ms=round((time.monotonic() - received_monotonic) * 1000, 3),
    )
