"""POST /v2/repository/…: which versions are installed; load and unload a model."""

from collections.abc import Callable
from typing import TypeVar

import falcon
import msgspec

from appliance.actions.callers import Caller, require_model
from appliance.errors import InvalidInput, MalformedRequest, ModelInvalid, NotFound, Problem
from appliance.web.dialects.open_inference_encoding import read_body
from appliance.web.dialects.open_inference_engine import Engine, unknown_model, visible
from appliance.web.dialects.open_inference_schemas import (
    IndexRequest,
    RepositoryEntry,
    RepositoryRequest,
)
from appliance.web.operation import Access, operation
from appliance.web.parsing import decode_json

#: Given the caller and a model's name, change what is served (and write it into the audit).
ChangeModel = Callable[[Caller, str], object]

_MOST_BODY_BYTES = 1024 * 1024
_STATES = {"ready": "READY", "idle": "READY", "starting": "LOADING"}
_JSON_BODY = {"application/json": {"type": "object"}}
S = TypeVar("S", bound=msgspec.Struct)


class Repository:
    """The model repository extension over the appliance's own library."""

    def __init__(self, engine: Engine, *, load: ChangeModel, unload: ChangeModel) -> None:
        self._engine = engine
        self._load = load
        self._unload = unload

    @operation(
        summary="Every installed version and its state",
        access=Access.DEVICE,
        any_query=True,
        consumes=_JSON_BODY,
        body_required=False,
        result=tuple[RepositoryEntry, ...],
        tag="Open Inference Protocol",
        dialect="open-inference",
    )
    def on_post_index(
        self, request: falcon.Request, response: falcon.Response
    ) -> tuple[RepositoryEntry, ...]:
        """List the versions in the caller's scope, with `ready` only those that answer."""
        wanted = _body(request, IndexRequest)
        entries = (
            RepositoryEntry(
                name=status.name,
                version=str(status.version),
                state=_STATES.get(status.state, "UNAVAILABLE"),
                reason=status.reason or ("unloaded" if status.state == "stopped" else ""),
            )
            for status in visible(self._engine, request.context.caller)
        )
        return tuple(entry for entry in entries if entry.state == "READY" or not wanted.ready)

    @operation(
        summary="Load a model, or load it anew",
        access=Access.OPERATOR,
        any_query=True,
        consumes=_JSON_BODY,
        body_required=False,
        problems=(NotFound, ModelInvalid),
        tag="Open Inference Protocol",
        dialect="open-inference",
    )
    def on_post_load(
        self, request: falcon.Request, response: falcon.Response, *, model: str
    ) -> None:
        """Load the model and answer when it is ready; failures say `failed to load`."""
        caller = request.context.caller
        require_model(caller, model)
        wanted = _body(request, RepositoryRequest)
        foreign = [
            name for name in wanted.parameters if name == "config" or name.startswith("file:")
        ]
        if foreign:
            raise InvalidInput(
                f"failed to load '{model[:100]}': models come from the appliance's own library, so"
                f" {foreign[0][:100]!r} is not taken. Import the model first, then load it."
            )
        try:
            self._load(caller, model)
        except NotFound:
            raise _failed(unknown_model(model, None), "load", model) from None
        except Problem as problem:
            raise _failed(problem, "load", model) from None
        _answer_nothing(response)

    @operation(
        summary="Stop serving a model",
        access=Access.OPERATOR,
        any_query=True,
        consumes=_JSON_BODY,
        body_required=False,
        problems=(NotFound,),
        tag="Open Inference Protocol",
        dialect="open-inference",
    )
    def on_post_unload(
        self, request: falcon.Request, response: falcon.Response, *, model: str
    ) -> None:
        """Unload the model; none depends on another here, so `unload_dependents` is fine."""
        caller = request.context.caller
        require_model(caller, model)
        _body(request, RepositoryRequest)
        try:
            self._unload(caller, model)
        except NotFound:
            raise _failed(unknown_model(model, None), "unload", model) from None
        _answer_nothing(response)


def _body(request: falcon.Request, wanted: type[S]) -> S:
    """Return the body, whatever Content-Type it has or has not: clients send none."""
    body = bytes(read_body(request, most_bytes=_MOST_BODY_BYTES))
    if not body.strip():
        return wanted()
    found = decode_json(body, wanted)
    if not isinstance(found, wanted):
        raise MalformedRequest("The body is not a JSON object.")
    return found


def _failed(problem: Problem, verb: str, model: str) -> Problem:
    """Return the problem with the words by which clients recognise a failed load."""
    words = f"failed to {verb}"
    if words in problem.detail:
        return problem
    return type(problem)(
        f"{words} '{model[:100]}': {problem.detail}",
        retry_after_seconds=problem.retry_after_seconds,
    )


def _answer_nothing(response: falcon.Response) -> None:
    """Exactly 200 with no body: clients take every other status for a failure."""
    response.data = b""
    response.content_type = "application/json"
