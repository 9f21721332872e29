"""POST /v1/models/{model}:predict, :classify and :regress, relayed to the model's host unread."""

from typing import Any

import falcon
import msgspec

from appliance import errors
from appliance.actions.callers import require_model
from appliance.errors import NotFound
from appliance.web.dialects.open_inference_engine import Engine
from appliance.web.dialects.tensor_relay import Relay
from appliance.web.dialects.tensorflow_serving_versions import asked_version, not_found
from appliance.web.operation import Access, operation

_JSON = "application/json"
_SIGNATURE: dict[str, Any] = {"signature_name": {"type": "string"}}
_PREDICT: dict[str, Any] = {
    "type": "object",
    "properties": {"instances": {"type": "array", "minItems": 1}, "inputs": {}, **_SIGNATURE},
    "oneOf": [{"required": ["instances"]}, {"required": ["inputs"]}],
}
_EXAMPLES: dict[str, Any] = {
    "type": "object",
    "properties": {
        "examples": {"type": "array", "items": {"type": "object"}, "minItems": 1},
        "context": {"type": "object"},
        **_SIGNATURE,
    },
    "required": ["examples"],
}
_PROBLEMS = (
    errors.NotFound,
    errors.PayloadTooLarge,
    errors.Overloaded,
    errors.DeadlineExceeded,
    errors.InsufficientStorage,
)


class Predictions(msgspec.Struct, frozen=True, omit_defaults=True):
    """Rows asked for as `instances` are answered as `predictions`, columns as `outputs`."""

    predictions: Any = None
    outputs: Any = None


class Results(msgspec.Struct, frozen=True):
    """For each example its classes with their scores, or its value."""

    result: tuple[Any, ...]


class Tensors:
    """Tensor requests. Threads: any; the object holds no state of its own."""

    def __init__(self, engine: Engine, relay: Relay) -> None:
        self._engine = engine
        self._relay = relay

    @operation(
        summary="Run tensors through a model, by rows or by columns",
        access=Access.DEVICE,
        any_query=True,
        takes_packed=True,
        consumes={_JSON: _PREDICT},
        result=Predictions,
        problems=_PROBLEMS,
        tag="TensorFlow Serving",
        dialect="tensorflow-serving",
        description='Bytes are `{"b64": …}`; a model that takes pixels takes pictures that way.',
    )
    def on_post_predict(
        self, request: falcon.Request, response: falcon.Response, **path: str
    ) -> None:
        """Answer `instances` with `predictions` and `inputs` with `outputs`."""
        self._answer("predict", request, response, **path)

    @operation(
        summary="Classify examples",
        access=Access.DEVICE,
        any_query=True,
        takes_packed=True,
        consumes={_JSON: _EXAMPLES},
        result=Results,
        problems=_PROBLEMS,
        tag="TensorFlow Serving",
        dialect="tensorflow-serving",
    )
    def on_post_classify(
        self, request: falcon.Request, response: falcon.Response, **path: str
    ) -> None:
        """Answer each example with the label and score of every class."""
        self._answer("classify", request, response, **path)

    @operation(
        summary="Estimate a value for examples",
        access=Access.DEVICE,
        any_query=True,
        takes_packed=True,
        consumes={_JSON: _EXAMPLES},
        result=Results,
        problems=_PROBLEMS,
        tag="TensorFlow Serving",
        dialect="tensorflow-serving",
    )
    def on_post_regress(
        self, request: falcon.Request, response: falcon.Response, **path: str
    ) -> None:
        """Answer each example with one number."""
        self._answer("regress", request, response, **path)

    def _answer(
        self,
        verb: str,
        request: falcon.Request,
        response: falcon.Response,
        *,
        model: str,
        model_version: str | None = None,
        label: str | None = None,
    ) -> None:
        require_model(request.context.caller, model)
        number = asked_version(self._engine, model, version=model_version, label=label)
        # ovmsclient sends no Content-Type, so none is asked for.
        body = self._relay.body_of(request)
        response.content_type = _JSON
        try:
            self._relay.relay(
                request,
                response,
                {"verb": verb},
                body,
                model=model,
                version=number,
                content_type=_JSON,
            )
        except NotFound:
            raise not_found(self._engine, model) from None
