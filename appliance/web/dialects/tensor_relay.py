"""Tensor requests of any dialect: relayed to the model's host unread, measured and recorded."""

from typing import Any, NamedTuple, Protocol

import falcon

from appliance.actions.callers import Caller
from appliance.actions.predict import Timing, timing_of
from appliance.config import Limits
from appliance.web.dialects.open_inference_encoding import read_body, set_body
from appliance.web.dialects.open_inference_engine import Engine
from appliance.web.resources.predict import server_timing


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


class History(Protocol):
    """Where answered requests are recorded."""

    def require_recordable(self) -> None:
        """Raise InsufficientStorage where every request must be recorded and none can be."""

    def record(self, inferred: Inferred) -> None:
        """Record an answered request; raise InsufficientStorage where it must be and was not."""


class Relay:
    """Relays tensor requests. Threads: any; the object holds no state of its own."""

    def __init__(self, engine: Engine, limits: Limits, history: History) -> None:
        self._engine = engine
        # Unpacked bytes are bounded like plain ones: they are in memory, here and in the host.
        self._most_bytes = limits.input_bytes + limits.json_bytes
        self._history = history

    def body_of(self, request: falcon.Request) -> bytes | bytearray:
        """Given a request, return its body unpacked; raise PayloadTooLarge, UnsupportedMedia."""
        return read_body(request, most_bytes=self._most_bytes)

    def relay(
        self,
        request: falcon.Request,
        response: falcon.Response,
        header: dict[str, Any],
        body: bytes | bytearray,
        *,
        model: str,
        version: int | None,
        content_type: str,
    ) -> dict[str, Any]:
        """Given a request's body and the header of its call, answer it; return the host's reply.

        Raise what the engine raises, and InsufficientStorage where history is required and cannot
        be written: before the model works, not after.
        """
        context = request.context
        self._history.require_recordable()
        reply, answer = self._engine.call(
            model,
            version,
            {**header, "method": "infer", "request_id": context.request_id},
            memoryview(body),
            waiting_since=context.received_monotonic,
            sender=context.caller.sender,
        )
        timing = timing_of(reply, context.received_monotonic)
        self._history.record(_inferred(context, reply, timing, len(body), content_type))
        set_body(request, response, answer)
        response.set_header("Server-Timing", server_timing(timing))
        return reply


def _inferred(
    context: Any, reply: dict[str, Any], timing: Timing, input_bytes: int, content_type: str
) -> Inferred:
    return Inferred(
        caller=context.caller,
        model=reply["model"],
        version=reply["version"],
        task=reply["task"],
        request_id=context.request_id,
        inference_id=reply["id"],
        timing=timing,
        input_bytes=input_bytes,
        content_type=content_type,
    )
