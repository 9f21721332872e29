"""The step detection guide's routes: one reading a request, one session a key.

Source: the guide and its API of that time. Sessions are streams like any other, so they outlive
restarts; a key's session begins with its first reading and ends with its reset, or when idle.
"""

import falcon
import msgspec

from appliance import errors
from appliance.actions import steps_guide
from appliance.actions.callers import Caller, require_model
from appliance.actions.steps_guide import ArrivalClock, GuideReading, StepReply
from appliance.actions.stream_views import StreamView, WantedStream
from appliance.actions.streams import Chunk, StreamSessions
from appliance.clock import Clock, utc_text
from appliance.engine.engine import Engine
from appliance.web.operation import Access, operation

#: The device's name of such sessions, by which they are found again.
DEVICE = "/detect_step"
_PROBLEMS = (
    errors.NotFound,
    errors.InvalidInput,
    errors.ModelUnavailable,
    errors.DeadlineExceeded,
    errors.DatabaseUnavailable,
    errors.InsufficientStorage,
)


class StepCount(msgspec.Struct, frozen=True, kw_only=True):
    """The steps of the session so far."""

    step_count: int
    timestamp: str


class ResetReply(msgspec.Struct, frozen=True, kw_only=True):
    """The count after a reset, and that before it."""

    message: str
    step_count: int
    previous_step_count: int
    timestamp: str


class SessionSummary(msgspec.Struct, frozen=True, kw_only=True):
    """The session so far; null where there is none."""

    session_id: str | None
    step_count: int
    readings: int
    started: str | None
    last_reading: str | None
    timestamp: str


class GuideModel(msgspec.Struct, frozen=True, kw_only=True):
    """What answers, in the guide's terms."""

    model_type: str
    model_name: str
    model_version: int
    status: str
    input_features: tuple[str, ...]
    output_classes: tuple[str, ...]
    timestamp: str


class StepsGuide:
    """The five routes. Threads: any; what it keeps is kept by streams."""

    def __init__(self, sessions: StreamSessions, engine: Engine, clock: Clock) -> None:
        self._sessions = sessions
        self._engine = engine
        self._clock = clock
        self._arrivals = ArrivalClock(clock)

    @operation(
        summary="Detect steps, one reading at a time (step detection guide's own route)",
        access=Access.DEVICE,
        body=GuideReading,
        result=StepReply,
        problems=_PROBLEMS,
        tag="Guides",
    )
    def on_post_detect(
        self, request: falcon.Request, response: falcon.Response, *, body: GuideReading
    ) -> StepReply:
        """Take one reading to the session of the caller's key; begin one where there is none."""
        caller = request.context.caller
        session = self._session(caller)
        if session is None:
            session = self._sessions.open(
                caller,
                WantedStream(
                    model=steps_guide.MODEL, params=dict(steps_guide.PARAMS), device=DEVICE
                ),
            )
        seconds = steps_guide.time_of(body, self._arrivals.seconds())
        answer = self._sessions.feed(
            Chunk(
                caller=caller,
                stream_id=session.id,
                sequence=None,
                content_type="application/json",
                body=steps_guide.chunk_of([(body, seconds)]),
                request_id=request.context.request_id,
                received_monotonic=request.context.received_monotonic,
            )
        )
        return steps_guide.replies(answer, readings=1, wall_seconds=self._clock.wall_seconds())[0]

    @operation(
        summary="Tell the steps of the session (step detection guide's own route)",
        access=Access.DEVICE,
        result=StepCount,
        tag="Guides",
    )
    def on_get_count(self, request: falcon.Request, response: falcon.Response) -> StepCount:
        """Count the steps that are final."""
        session = self._session(request.context.caller)
        return StepCount(step_count=_steps(session), timestamp=self._now())

    @operation(
        summary="Begin to count anew (step detection guide's own route)",
        access=Access.DEVICE,
        result=ResetReply,
        problems=_PROBLEMS[2:],
        tag="Guides",
    )
    def on_post_reset(self, request: falcon.Request, response: falcon.Response) -> ResetReply:
        """End the session; the next reading begins another."""
        caller = request.context.caller
        session, steps = self._session(caller), 0
        if session is not None:
            answer = self._sessions.end(caller, session.id, reason="reset")
            steps = msgspec.json.decode(answer)["totals"]["events"]
        return ResetReply(
            message="The step count was reset.",
            step_count=0,
            previous_step_count=steps,
            timestamp=self._now(),
        )

    @operation(
        summary="Sum the session up (step detection guide's own route)",
        access=Access.DEVICE,
        result=SessionSummary,
        tag="Guides",
    )
    def on_get_summary(self, request: falcon.Request, response: falcon.Response) -> SessionSummary:
        """Tell what the session has had so far."""
        session = self._session(request.context.caller)
        return SessionSummary(
            session_id=None if session is None else session.id,
            step_count=_steps(session),
            readings=0 if session is None else session.totals.chunks,
            started=None if session is None else session.created,
            last_reading=None if session is None else session.last,
            timestamp=self._now(),
        )

    @operation(
        summary="Tell which model answers (step detection guide's own route)",
        access=Access.DEVICE,
        result=GuideModel,
        problems=(errors.NotFound,),
        tag="Guides",
    )
    def on_get_model(self, request: falcon.Request, response: falcon.Response) -> GuideModel:
        """Describe the step detector that is active."""
        require_model(request.context.caller, steps_guide.MODEL)
        status = self._engine.status(steps_guide.MODEL, None)
        return GuideModel(
            model_type=status.task,
            model_name=status.name,
            model_version=status.version,
            status=status.state,
            input_features=steps_guide.FEATURES,
            output_classes=("none", "start", "end"),
            timestamp=self._now(),
        )

    def _session(self, caller: Caller) -> StreamView | None:
        return self._sessions.open_of(caller, DEVICE)

    def _now(self) -> str:
        return utc_text(self._clock.wall_seconds())


def _steps(session: StreamView | None) -> int:
    return 0 if session is None else session.totals.events
