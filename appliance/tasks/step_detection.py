"""Step detection: readings of a motion sensor in, the steps of whoever carries it out.

A stream and a plain request give the same steps however the readings are cut into payloads: time
is divided into cells and windows that count from the start of each unbroken stretch, never from
the start of a payload. A step is final at most 1.0 s of readings after it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Annotated, Literal

import msgspec
from msgspec import Meta

from appliance.errors import InvalidInput, ModelInvalid
from appliance.tasks import readings, step_events, step_signal
from appliance.tasks.contract import Model, Payload, Turn
from appliance.tasks.readings import Columns
from appliance.tasks.step_events import Event, Pace, Picking, Track
from appliance.tasks.step_signal import Buffer, Clock, Framing, Resampler, Tally

if TYPE_CHECKING:
    from appliance.tasks.contract import Tensors
    from appliance.tasks.step_signal import Array, Samples

#: Missing readings up to this long are bridged by a straight line; a longer gap ends the stretch.
LONGEST_GAP_SECONDS = 0.25
#: Readings that are resampled together.
BLOCK = 16384
#: Windows of one inference request: enough for full speed, few enough for little memory.
MOST_WINDOWS = 256
#: Without a step for so long, whoever walked stands.
STILL_AFTER_SECONDS = 2.0


class StepParams(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a caller may choose; the same for all chunks of a stream."""

    rate_hz: (
        Annotated[
            float,
            Meta(
                ge=step_signal.RATE_LIMITS_HZ[0],
                le=step_signal.RATE_LIMITS_HZ[1],
                description="Readings a second, where they come at a constant rate. The times in"
                " the readings are then not looked at.",
            ),
        ]
        | None
    ) = None
    columns: Annotated[
        Columns | None,
        Meta(
            description="The order of the little-endian float32 values of one reading in binary"
            " payloads. Without it: ax,ay,az where rate_hz is given, else t,ax,ay,az."
        ),
    ] = None
    faults: Annotated[
        Literal["refuse", "skip"],
        Meta(
            description="What to do with a reading that has an absent or impossible value or goes"
            " back in time: refuse the whole payload, naming it, or leave it out and count it."
        ),
    ] = "refuse"
    threshold: (
        Annotated[
            float,
            Meta(
                ge=0.05, le=0.95, description="Least probability of a step; else the model's own."
            ),
        ]
        | None
    ) = None


class StepResult(msgspec.Struct, frozen=True, kw_only=True):
    """The steps that became final in these turns; counts are of the whole stream so far."""

    events: tuple[Event, ...]
    step_count: int
    cadence_per_minute: float | None
    activity: Literal["still", "walking"]
    readings: Tally


class Stretch(msgspec.Struct):
    """Where the unbroken stretch of readings stands that a stream is in."""

    resampler: Resampler
    buffer: Buffer


class StepState(msgspec.Struct):
    """What a session remembers between turns."""

    clock: Clock
    tally: Tally
    pace: Pace
    track: Track
    stretch: Stretch | None = None


@dataclass(frozen=True, slots=True)
class Span:
    """What one turn adds to one stretch: the time it began in seconds, some windows, and, where
    the stretch ends, how many probabilities it has in all.
    """

    origin: float
    windows: int
    length: int | None


class StepDetection:
    """Readings to steps. Stateless."""

    name = "step-detection"
    title = "Step detection"
    media_types = readings.MEDIA_TYPES
    Params = StepParams
    Result = StepResult
    State = StepState

    def check(self, model: Model) -> None:
        """Raise ModelInvalid when the manifest does not describe a model this task can use."""
        manifest = model.manifest
        if len(manifest.inputs) != 1 or len(manifest.outputs) != 1:
            raise ModelInvalid("A step detector has one input, the signal, and one output.")
        framing, picking = _framing(model), _picking(model, StepParams())
        shape = list(model.input_shapes[manifest.inputs[0].tensor])
        if len(shape) != 3 or shape[1:] != [3, framing.window]:
            raise ModelInvalid(
                f"The input is {shape}, not [N, 3, {framing.window}] as settings say."
            )
        if framing.hop % framing.stride or framing.before < 0 or picking.reach < 1:
            raise ModelInvalid("The settings window, hop, lookahead, stride and reach do not fit.")

    def open(self, params: StepParams, model: Model) -> StepState:
        """Return the state of a new session."""
        return StepState(Clock(rate_hz=params.rate_hz), Tally(), Pace(), Track())

    def decode(self, payload: Payload, params: StepParams, state: StepState, model: Model) -> Turn:
        """Given a payload of readings, return the windows that they complete, float32 [n, 3, w].

        Raise InvalidInput naming the first faulty reading, UnsupportedMedia or PayloadTooLarge;
        the state is then as it was.
        """
        is_timed = params.rate_hz is None
        given = readings.read(payload, params.columns, is_timed=is_timed)
        clock = _agreed(state.clock, given.rate_hz)
        may_skip = params.faults == "skip"
        clock, tally, times, values = step_signal.screen(
            given, clock, state.tally, may_skip=may_skip
        )
        stretch = None if state.stretch is None else msgspec.structs.replace(state.stretch)
        stretch, spans, windows = _advance(stretch, times, values, _framing(model))
        tally.gaps += sum(span.length is not None for span in spans)
        state.clock, state.tally, state.stretch = clock, tally, stretch
        return Turn(_requests(windows, model), spans)

    def encode(
        self,
        outputs: "list[Tensors]",
        turn: Turn,
        params: StepParams,
        state: StepState,
        model: Model,
    ) -> StepResult:
        """Given the probabilities [n, hop/stride] of each request, return the steps that they make
        final.
        """
        import numpy as np

        framing, picking = _framing(model), _picking(model, params)
        tensor = model.manifest.outputs[0].tensor
        parts = [np.asarray(output[tensor], np.float32).reshape(-1) for output in outputs]
        left = np.concatenate(parts) if parts else np.zeros(0, np.float32)
        events: list[Event] = []
        track, pace = state.track, state.pace
        for span in turn.context:
            fresh, left = np.split(left, [span.windows * framing.hop // framing.stride])
            track, peaks = step_events.pick(track, fresh, picking, length=span.length)
            pace, steps = step_events.count(pace, span.origin, peaks, picking)
            events.extend(steps)
            if span.length is not None:
                track = Track()
        state.track, state.pace = track, pace
        return StepResult(
            events=tuple(events),
            step_count=pace.steps,
            cadence_per_minute=pace.cadence_per_minute(),
            activity=_activity(state),
            readings=msgspec.structs.replace(state.tally),
        )

    def flush(self, params: StepParams, state: StepState, model: Model) -> Turn:
        """Given the end of a stream, return the windows that wait for readings to come."""
        stretch, framing = state.stretch, _framing(model)
        if stretch is None:
            return Turn([], [])
        span, windows = _close(stretch, framing)
        state.stretch = None
        return Turn(_requests([windows], model), [span])

    def join(self, results: Sequence[StepResult]) -> StepResult:
        """Given the results of a whole session in order, return one with all their steps."""
        events = tuple(event for result in results for event in result.events)
        return msgspec.structs.replace(results[-1], events=events)

    def summary(self, result: StepResult) -> tuple[str, float | None]:
        """Return the label and confidence by which a recorded prediction is found again."""
        if not result.events:
            return f"{result.step_count} steps", None
        mean = sum(event.confidence for event in result.events) / len(result.events)
        return f"{result.step_count} steps", round(mean, 4)


def _setting(model: Model, name: str) -> float:
    """Given a key of the manifest's settings, return its number; raise ModelInvalid if absent."""
    value = model.manifest.settings.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ModelInvalid(f"The manifest of a step detector needs settings.{name}, a number.")
    return float(value)


def _framing(model: Model) -> Framing:
    names = ("window", "hop", "lookahead", "stride")
    window, hop, lookahead, stride = (int(_setting(model, name)) for name in names)
    return Framing(_setting(model, "rate_hz"), window, hop, lookahead, stride)


def _picking(model: Model, params: StepParams) -> Picking:
    settings = model.manifest.settings
    walking, resting = _setting(model, "walking"), _setting(model, "resting")
    if params.threshold is not None:
        walking = resting = params.threshold
    return Picking(
        rate_hz=_setting(model, "rate_hz") / _setting(model, "stride"),
        reach=int(_setting(model, "reach")),
        walking=walking,
        resting=resting,
        rhythm_seconds=_setting(model, "rhythm_seconds"),
        lag_seconds=_setting(model, "lag_seconds"),
        # Models made before it have no such setting, and mean none.
        early_share=_setting(model, "early_share") if "early_share" in settings else 0.0,
    )


def _agreed(clock: Clock, rate_hz: float | None) -> Clock:
    """Given the stream's clock and the rate that a payload states, return the clock to go by."""
    if rate_hz is None or rate_hz == clock.rate_hz:
        return clock
    least, most = step_signal.RATE_LIMITS_HZ
    if not least <= rate_hz <= most:
        raise InvalidInput(
            f"rate_hz is {rate_hz:g}; it must be {least:g} to {most:g}.", pointer="/rate_hz"
        )
    if clock.rate_hz is not None or clock.received:
        before = "times in the readings" if clock.rate_hz is None else f"{clock.rate_hz:g} Hz"
        raise InvalidInput(
            f"The payload states {rate_hz:g} Hz, but the stream began with {before}.",
            pointer="/rate_hz",
        )
    return msgspec.structs.replace(clock, rate_hz=rate_hz)


def _advance(
    stretch: Stretch | None, times: "Array", values: "Array", framing: Framing
) -> "tuple[Stretch | None, list[Span], list[Samples]]":
    """Given the readings that follow a stretch, at times [n] in seconds, acceleration [n, 3] in
    m/s², return the stretch that then stands, and the spans and windows that came of them.
    """
    import numpy as np

    spans: list[Span] = []
    windows: list[Samples] = []
    if len(times) == 0:
        return stretch, spans, windows
    last = times[0] if stretch is None else stretch.resampler.last_time
    breaks = set((np.diff(times, prepend=last) > LONGEST_GAP_SECONDS).nonzero()[0].tolist())
    if len(breaks) > 100 + len(times) // 50:
        raise InvalidInput(
            f"{len(breaks)} gaps of more than {LONGEST_GAP_SECONDS:g} s in {len(times)} readings:"
            " this is no signal that steps could be found in."
        )
    # Blocks bound the memory that resampling takes.
    edges = sorted({0, len(times), *breaks, *range(0, len(times), BLOCK)})
    for begin, end in pairwise(edges):
        if begin in breaks and stretch is not None:
            span, cut = _close(stretch, framing)
            spans.append(span)
            windows.append(cut)
            stretch = None
        first = begin
        if stretch is None:
            stretch = Stretch(step_signal.begin(float(times[begin]), values[begin]), Buffer())
            first += 1
        stretch.resampler, samples = step_signal.resample(
            stretch.resampler, times[first:end], values[first:end], framing.rate_hz
        )
        stretch.buffer, cut, _ = step_signal.cut(stretch.buffer, samples, framing, closes=False)
        spans.append(Span(stretch.resampler.origin, len(cut), None))
        windows.append(cut)
    return stretch, spans, windows


def _close(stretch: Stretch, framing: Framing) -> "tuple[Span, Samples]":
    """Given a stretch that ends, return its last span and windows."""
    import numpy as np

    nothing = np.zeros((0, 3), np.float32)
    _, windows, length = step_signal.cut(stretch.buffer, nothing, framing, closes=True)
    answers = -(-length // framing.stride)
    return Span(stretch.resampler.origin, len(windows), answers), windows


def _requests(windows: "list[Samples]", model: Model) -> "list[Tensors]":
    """Given windows float32 [n, 3, w] of several spans, return requests of at most 256 of them."""
    import numpy as np

    if not any(len(part) for part in windows):
        return []
    tensor = model.manifest.inputs[0].tensor
    joined = np.concatenate(windows)
    return [
        {tensor: joined[begin : begin + MOST_WINDOWS]}
        for begin in range(0, len(joined), MOST_WINDOWS)
    ]


def _activity(state: StepState) -> Literal["still", "walking"]:
    """Return what whoever carries the sensor does at the last reading."""
    now, last = state.clock.last_time, state.pace.last_time
    if now is None or last is None or now - last > STILL_AFTER_SECONDS:
        return "still"
    return "walking"


TASK = StepDetection()
