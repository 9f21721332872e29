"""The one loop for everything: decode → infer → encode, per turn of a session."""

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import msgspec

from appliance.errors import InvalidInput
from appliance.host.network import Network
from appliance.tasks.contract import Model, Payload, Task, Turn

if TYPE_CHECKING:
    from appliance.tasks.contract import Tensors


@dataclass(slots=True)
class Timing:
    """Seconds spent in each step of one call."""

    decode: float = 0.0
    infer: float = 0.0
    encode: float = 0.0


@dataclass(slots=True)
class Session:
    """Parameters, model and state of one caller; a plain request is a session of one turn."""

    task: Task
    model: Model
    network: Network
    params: Any
    state: Any
    timing: Timing = field(default_factory=Timing)

    def turn(self, payload: Payload) -> Any:
        """Given a payload, return the task's result for it."""
        started = time.perf_counter()
        turn = self.task.decode(payload, self.params, self.state, self.model)
        self.timing.decode += time.perf_counter() - started
        return self._finish(turn)

    def end(self) -> Any | None:
        """Return the result of what the session still held back, or None when nothing."""
        turn = self.task.flush(self.params, self.state, self.model)
        if not turn.inputs and turn.context is None:
            return None
        return self._finish(turn)

    def _finish(self, turn: Turn) -> Any:
        started = time.perf_counter()
        outputs = self._infer(turn.inputs)
        inferred = time.perf_counter()
        result = self.task.encode(outputs, turn, self.params, self.state, self.model)
        self.timing.infer += inferred - started
        self.timing.encode += time.perf_counter() - inferred
        return result

    def _infer(self, requests: "list[Tensors]") -> "list[Tensors]":
        if len(requests) == 1:
            return [self.network.task.infer(requests[0])]
        return [*self.network.task.infer_many(requests)] if requests else []


def open_session(
    task: Task, model: Model, network: Network, params: dict[str, Any], state: bytes | None = None
) -> Session:
    """Given a task's parameters as plain values, return a session; `state` continues one.

    `state` is what the session's last turn left, as msgpack. Raise InvalidInput, naming the
    parameter, when the parameters do not fit, and when the state is not one of this task.
    """
    try:
        typed = msgspec.convert(params, task.Params, strict=False)
    except msgspec.ValidationError as fault:
        raise InvalidInput(f"The parameters are not valid: {fault}.") from None
    if state is None:
        opened = task.open(typed, model)
    else:
        try:
            opened = msgspec.msgpack.decode(state, type=task.State)
        except msgspec.DecodeError:
            raise InvalidInput(
                "The stream was begun by another release, which remembered other things. Begin a"
                " new one."
            ) from None
    return Session(task=task, model=model, network=network, params=typed, state=opened)


def run_once(session: Session, payload: Payload) -> Any:
    """Given a fresh session and its only payload, return the joined result of turn and end."""
    result = session.turn(payload)
    rest = session.end()
    return result if rest is None else session.task.join([result, rest])
