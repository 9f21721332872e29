"""Turns of streams: which version answers a chunk, and what becomes of a state when it changes.

A switch of versions takes effect between two chunks. What the old version held back is flushed
first, so that no event is lost, by the new version: a state belongs to the task, not to the model,
and the old version's host is gone by then; asking it would start it again and keep it alive.
"""

import logging
from collections.abc import Callable
from typing import NamedTuple, Protocol

import msgspec

from appliance.actions.predict import shaped_params
from appliance.engine.engine import Engine
from appliance.errors import Conflict, ModelUnavailable, Problem, Unavailable
from appliance.store.streams import StoredStream
from appliance.tasks.registry import task_named

_log = logging.getLogger(__name__)


class _Counted(msgspec.Struct):
    """The part of any task's result that streams count."""

    events: list[msgspec.Raw] = []


_count_decoder = msgspec.json.Decoder(_Counted)


class Payload(Protocol):
    """What a turn needs of a chunk."""

    @property
    def content_type(self) -> str:
        """Its media type."""

    @property
    def body(self) -> bytes:
        """Its bytes."""

    @property
    def received_monotonic(self) -> float:
        """When it had arrived, in monotonic seconds."""


class Answered(NamedTuple):
    """What a model said to one chunk; `label` and `confidence` are what it is found by again."""

    result: bytes
    state: bytes
    events: int
    label: str | None
    confidence: float | None


class Turns:
    """Asks models on behalf of streams. Threads: any; it holds no state."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def take(self, stream: StoredStream, chunk: Payload) -> Answered:
        """Given a stream and its next chunk, return what its version says; raise its problems."""
        header = {
            "method": "predict",
            "keep": True,
            "params": shaped_params(task_named(stream.task), stream.params),
            "content_type": chunk.content_type,
            "state": stream.state,
        }
        reply, result = self._engine.call(
            stream.model,
            stream.version,
            header,
            chunk.body,
            waiting_since=chunk.received_monotonic,
        )
        return Answered(
            result=bytes(result),
            state=reply["state"],
            events=count_events(result),
            label=reply.get("label"),
            confidence=reply.get("confidence"),
        )

    def current(self, stream: StoredStream) -> int:
        """Given a stream, return the version that answers now.

        Raise ModelUnavailable when none does, Conflict when the model now does something else.
        """
        active = self._engine.active_versions().get(stream.model)
        if active is None:
            raise ModelUnavailable(f"{stream.model} has no active version now.")
        if active != stream.version:
            task = self._engine.task_of(stream.model, active)
            if task != stream.task:
                raise Conflict(
                    f"{stream.model}@{active} does {task}, but this stream was opened for"
                    f" {stream.task}. End it and open another."
                )
        return active

    def flush(self, stream: StoredStream) -> bytes:
        """Given a stream, return what its state held back as JSON, or nothing.

        Raise Unavailable or DeadlineExceeded when that may be had later; whatever cannot be had
        at all, because the model is gone or its versions differ too much, is given up.
        """
        if stream.state is None:
            return b""
        return self._given_up(stream, lambda: self._ask_to_end(stream))

    def _ask_to_end(self, stream: StoredStream) -> bytes:
        header = {
            "method": "end",
            "params": shaped_params(task_named(stream.task), stream.params),
            "state": stream.state,
        }
        _, result = self._engine.call(stream.model, self.current(stream), header, b"")
        return bytes(result)

    def _given_up(self, stream: StoredStream, ask: Callable[[], bytes]) -> bytes:
        try:
            return ask()
        except Problem as problem:
            if isinstance(problem, Unavailable) or problem.status == 504:
                raise
            _log.warning(
                "stream ended without its last events",
                extra={"stream": stream.id, "model": stream.model, "reason": problem.detail},
            )
            return b""


def count_events(result: bytes | bytearray) -> int:
    """Given a task's result as JSON, or nothing, return how many events it lists."""
    return len(_count_decoder.decode(result).events) if result else 0
