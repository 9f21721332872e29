"""POST /v2/models/{model}/infer: relay a tensor request to the model's host, unread."""

from typing import Any

import falcon

from appliance import errors
from appliance.actions.callers import require_model
from appliance.errors import InvalidInput, MalformedRequest, NotFound
from appliance.web.dialects.open_inference_encoding import set_body
from appliance.web.dialects.open_inference_engine import Engine, unknown_model, version_number
from appliance.web.dialects.open_inference_schemas import (
    INFERENCE_REQUEST_SCHEMA,
    InferenceResponse,
)
from appliance.web.dialects.open_inference_sequences import Sequences, is_sequence
from appliance.web.dialects.tensor_relay import Relay
from appliance.web.operation import Access, operation

HEADER_LENGTH = "Inference-Header-Content-Length"
_JSON, _OCTETS = "application/json", "application/octet-stream"
_BINARY: dict[str, Any] = {"type": "string", "format": "binary"}
_HEADER_LENGTH_SCHEMA = {
    "type": "integer",
    "minimum": 0,
    "maximum": 999_999_999_999_999,
    "description": "Bytes of the JSON part; binary tensors follow it. 0: no JSON.",
}


class Infer:
    """Tensor requests.

    Threads: any; the object holds no state of its own.
    """

    def __init__(self, engine: Engine, relay: Relay, sequences: Sequences) -> None:
        self._engine = engine
        self._relay = relay
        self._sequences = sequences

    @operation(
        summary="Run tensors through a model",
        access=Access.DEVICE,
        any_query=True,
        takes_packed=True,
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
            errors.InsufficientStorage,
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
        require_model(request.context.caller, model)
        json_bytes = header_length(request.get_header(HEADER_LENGTH))
        body = self._relay.body_of(request)
        number = version_number(model, version)
        response.content_type = _JSON
        try:
            if is_sequence(body, json_bytes) and self._continues(
                request, response, body, json_bytes, model=model, number=number
            ):
                return
            reply = self._relay.relay(
                request,
                response,
                {"json_bytes": json_bytes},
                body,
                model=model,
                version=number,
                content_type=_JSON if json_bytes is None else _OCTETS,
            )
        except NotFound:
            raise unknown_model(model, version) from None
        _set_header(response, reply["json_bytes"])

    def _continues(
        self,
        request: falcon.Request,
        response: falcon.Response,
        body: bytes | bytearray,
        json_bytes: int | None,
        *,
        model: str,
        number: int | None,
    ) -> bool:
        """Answer a request of a sequence; return False where the model has none."""
        status = self._engine.status(model, number)
        asked = self._sequences.asked(status.task, body, json_bytes)
        if asked is None:
            return False
        if not status.is_active:
            raise InvalidInput(
                f"Sequences are answered by the active version, and {status.version} is not it."
                " Leave the version out."
            )
        told = self._sequences.answer(request, model, asked)
        _set_header(response, told.json_bytes)
        set_body(request, response, told.body)
        return True


def _set_header(response: falcon.Response, json_bytes: int | None) -> None:
    if json_bytes is not None:
        response.content_type = _OCTETS
        response.set_header(HEADER_LENGTH, str(json_bytes))


def header_length(text: str | None) -> int | None:
    """Given the header's value, return its number or None; raise MalformedRequest for another."""
    if text is None:
        return None
    stripped = text.strip()
    if not (stripped.isascii() and stripped.isdecimal()) or len(stripped) > 15:
        raise MalformedRequest(f"{HEADER_LENGTH} is a number of bytes from 0.")
    return int(stripped)
