"""Predict: one payload through a model, recorded, measured."""

import functools
import logging
import time
from collections.abc import Callable
from typing import Annotated, Any, NamedTuple

import msgspec
from msgspec import Meta

from appliance.actions.callers import Caller, require_model
from appliance.clock import Clock
from appliance.config import History
from appliance.engine.engine import Engine
from appliance.errors import FieldError, InsufficientStorage, InvalidInput
from appliance.identifiers import new_id
from appliance.metrics import Metrics
from appliance.plain_faults import in_words
from appliance.store import predictions
from appliance.store.database import Database
from appliance.tasks.contract import Draws, Task
from appliance.tasks.registry import TASKS, task_named

_log = logging.getLogger(__name__)


#: Given a model, a recorded prediction and its input, keep that if it is wanted; never wait.
KeepInput = Callable[[str, str, bytes], None]


class Timing(msgspec.Struct, frozen=True):
    """Milliseconds of each step; `total_ms` is from the complete request to the answer."""

    queue_ms: float
    decode_ms: float
    infer_ms: float
    encode_ms: float
    total_ms: float


#: `openapi.py` has the schema of every task's result under its own name.
_ANY_RESULT = {
    "anyOf": [{"$ref": f"#/components/schemas/{task.Result.__name__}"} for task in TASKS]
}


class Answer(msgspec.Struct, frozen=True):
    """A prediction as told to the caller; `result` is the task's own JSON, untouched."""

    id: str
    task: str
    model: str
    version: int
    recorded: bool
    result: Annotated[msgspec.Raw, Meta(extra_json_schema=_ANY_RESULT)]
    timing: Timing


class Request(NamedTuple):
    """What is asked: by whom, of which model, with which bytes."""

    caller: Caller
    model: str
    version: int | None
    params: dict[str, str]
    content_type: str
    body: bytes
    request_id: str
    received_monotonic: float


class TensorTurn(NamedTuple):
    """An answered tensor request: of its tensors the history keeps only that they were."""

    caller: Caller
    model: str
    version: int
    task: str
    request_id: str
    inference_id: str
    content_type: str
    input_bytes: int
    duration_ms: float


class Predictor:
    """Runs predictions. Threads: any; it holds no state of its own."""

    def __init__(
        self,
        engine: Engine,
        database: Database,
        clock: Clock,
        history: History,
        metrics: Metrics,
        *,
        keep_input: KeepInput = lambda model, prediction_id, body: None,
    ) -> None:
        self._keep_input = keep_input
        self._metrics = metrics
        self._engine = engine
        self._database = database
        self._clock = clock
        self._history = history

    def use_history(self, history: History) -> None:
        """Given the section [history], record as it says from the next prediction on."""
        self._history = history

    def predict(self, request: Request) -> Answer:
        """Given a request, return the model's answer and whether it was accepted for recording.

        Raise Forbidden outside the caller's models, InvalidInput for wrong parameters or content,
        and whatever the engine raises; InsufficientStorage when history is required and cannot be
        written.
        """
        return self._answered(request, drawn_as="")[0]

    def draw(self, request: Request, media_type: str) -> tuple[Answer, bytes | None]:
        """Given a request, return what `predict` does, and the input with the result drawn on it.

        None instead of that where the task cannot draw or not as that media type. Raise the same.
        """
        return self._answered(request, drawn_as=media_type)

    def _answered(self, request: Request, *, drawn_as: str) -> tuple[Answer, bytes | None]:
        require_model(request.caller, request.model)
        task = task_named(self._engine.task_of(request.model, request.version))
        params = shaped_params(task, request.params)
        self.require_recordable()
        received = self._clock.wall_seconds()
        header = {"method": "predict", "params": params, "content_type": request.content_type}
        if drawn_as and isinstance(task, Draws) and drawn_as in task.drawn_types:
            header["draw"] = drawn_as
        reply, body = self._engine.call(
            request.model,
            request.version,
            header,
            request.body,
            waiting_since=request.received_monotonic,
            sender=request.caller.sender,
        )
        result = bytes(reply.get("result", body))
        timing = timing_of(reply, request.received_monotonic)
        prediction_id = new_id()
        recorded = self._history.enabled and self._record(
            prediction_id, request, reply, result, received=received, timing=timing
        )
        self._metrics.prediction_answered(is_recorded=recorded)
        if self._history.required and not recorded:
            raise unrecordable()
        if recorded:
            self._keep_input(reply["model"], prediction_id, request.body)
        answer = Answer(
            id=prediction_id,
            task=reply["task"],
            model=reply["model"],
            version=reply["version"],
            recorded=recorded,
            result=msgspec.Raw(result),
            timing=timing,
        )
        return answer, bytes(body) if "result" in reply else None

    def require_recordable(self) -> None:
        """Raise InsufficientStorage when history is required and nothing can be recorded now."""
        if self._history.required and not self._database.status().is_writable:
            raise unrecordable()

    def record_tensors(self, turn: TensorTurn) -> bool:
        """Given an answered tensor request, return whether it was accepted for recording.

        Raise InsufficientStorage when history is required and it was not.
        """
        if not self._history.enabled:
            return False
        recorded = predictions.record(
            self._database,
            predictions.Prediction(
                id=new_id(),
                received_seconds=self._clock.wall_seconds(),
                model=turn.model,
                version=turn.version,
                task=turn.task,
                key_id=turn.caller.key_id or "",
                key_name=turn.caller.key_name,
                content_type=turn.content_type[:100],
                input_bytes=turn.input_bytes,
                result=msgspec.json.encode({"tensors": turn.inference_id}),
                duration_ms=turn.duration_ms,
                request_id=turn.request_id,
            ),
        )
        self._metrics.prediction_answered(is_recorded=recorded)
        if self._history.required and not recorded:
            raise unrecordable()
        return recorded

    def _record(
        self,
        prediction_id: str,
        request: Request,
        reply: dict[str, Any],
        result: bytes,
        *,
        received: float,
        timing: Timing,
    ) -> bool:
        return predictions.record(
            self._database,
            predictions.Prediction(
                id=prediction_id,
                received_seconds=received,
                model=reply["model"],
                version=reply["version"],
                task=reply["task"],
                key_id=request.caller.key_id or "",
                key_name=request.caller.key_name,
                label=reply.get("label"),
                confidence=reply.get("confidence"),
                content_type=request.content_type[:100],
                input_bytes=len(request.body),
                result=result,
                duration_ms=timing.total_ms,
                request_id=request.request_id,
            ),
        )


def unrecordable() -> InsufficientStorage:
    """Return what to say when history is required and cannot be written."""
    return InsufficientStorage(
        "Predictions must be recorded (history.required), but nothing can be recorded now. See"
        " /health for the reason, or free space on the disk of the state directory."
    )


@functools.cache
def _takes_list(params: type[msgspec.Struct]) -> dict[str, bool]:
    """Given a task's parameters, return by name whether they take a list; asked at each call."""
    fields = msgspec.structs.fields(params)
    return {field.encode_name: "tuple[" in str(field.type) for field in fields}


def shaped_params(task: Task, params: dict[str, str]) -> dict[str, Any]:
    """Given a task and query parameters as text, return them as plain values the host takes.

    Comma lists are split where a list is due. Raise InvalidInput naming the parameter that does
    not fit.
    """
    if not params:
        return {}
    known = _takes_list(task.Params)
    for name in params:
        if name not in known:
            raise InvalidInput(
                f"{task.title} has no parameter {name!r}. Known are: {', '.join(known)}.",
                pointer=f"/query/{name}",
            )
    shaped = {name: value.split(",") if known[name] else value for name, value in params.items()}
    try:
        msgspec.convert(shaped, task.Params, strict=False)
    except msgspec.ValidationError as fault:
        text, _, place = in_words(fault).partition(" - at `$.")
        pointer = "/query/" + place.rstrip("`").replace("[", "/").replace("]", "")
        raise InvalidInput(
            f"The parameters are not valid: {in_words(fault)}.",
            errors=(FieldError(detail=text, pointer=pointer),),
        ) from None
    return shaped


def timing_of(reply: dict[str, Any], received_monotonic: float) -> Timing:
    """Given the engine's reply and when the request arrived, return where the time went."""
    decode, infer, encode = reply["timing"]
    return Timing(
        queue_ms=round(reply["queue"] * 1000, 3),
        decode_ms=round(decode * 1000, 3),
        infer_ms=round(infer * 1000, 3),
        encode_ms=round(encode * 1000, 3),
        total_ms=round((time.monotonic() - received_monotonic) * 1000, 3),
    )
