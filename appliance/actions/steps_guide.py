"""The step detection guide's readings and replies, for its routes and for its WebSocket.

Source of the shapes: the guide and its API of that time. Its network judged each reading by
itself; ours needs those before and after, so a reply tells the steps that became final with a
reading, at most a second after they were made.
"""

from collections.abc import Sequence
from typing import Annotated

import msgspec
from msgspec import Meta

from appliance.clock import Clock, utc_text

MODEL = "step-detector"
#: Readings the detector cannot use, such as one from the past, are left out and counted.
PARAMS = {"faults": "skip"}
FEATURES = ("accel_x", "accel_y", "accel_z", "gyro_x", "gyro_y", "gyro_z")
#: Numbers beyond are milliseconds since 1970, not seconds: the year 5138.
_LARGEST_SECONDS = 1e11
_LEAST_STEP_SECONDS = 1e-5

Acceleration = Annotated[float, Meta(ge=-50.0, le=50.0, description="In m/s².")]
Turning = Annotated[float, Meta(ge=-10.0, le=10.0, description="In rad/s.")]


class GuideReading(msgspec.Struct, frozen=True, kw_only=True):
    """One reading as the guide's clients send it.

    `timestamp` is an addition: seconds on the device's clock. Without it the time of arrival
    counts, which a network makes uneven.
    """

    accel_x: Acceleration
    accel_y: Acceleration
    accel_z: Acceleration
    gyro_x: Turning
    gyro_y: Turning
    gyro_z: Turning
    timestamp: float | str | None = None


class StepReply(msgspec.Struct, frozen=True, kw_only=True):
    """The guide's reply to one reading; the count is that of the session."""

    step_start: bool
    step_end: bool
    start_probability: float
    end_probability: float
    step_count: int
    timestamp: str
    status: str = "success"


class _Event(msgspec.Struct):
    confidence: float


class _Result(msgspec.Struct):
    events: list[_Event] = []


class _Totals(msgspec.Struct):
    chunks: int
    events: int


class _ChunkAnswer(msgspec.Struct):
    totals: _Totals
    result: _Result | None = None
    flushed: _Result | None = None


_answer_decoder = msgspec.json.Decoder(_ChunkAnswer)


class ArrivalClock:
    """Times for readings that carry none: they follow the wall clock, but never go back.

    Threads: any; two readings of one session never come at once.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._offset_seconds = clock.wall_seconds() - clock.monotonic()
        self._last = 0.0

    def seconds(self) -> float:
        """Return now, later than every time before."""
        now = self._clock.monotonic() + self._offset_seconds
        self._last = max(now, self._last + _LEAST_STEP_SECONDS)
        return self._last


def time_of(reading: GuideReading, arrived_seconds: float) -> float:
    """Given a reading and when it came, return its time in seconds."""
    given = reading.timestamp
    if not isinstance(given, float):
        return arrived_seconds
    return given / 1000.0 if abs(given) > _LARGEST_SECONDS else given


def chunk_of(readings: Sequence[tuple[GuideReading, float]]) -> bytes:
    """Given readings and their times, return the chunk that holds them, JSON columns."""
    given = [reading for reading, _ in readings]
    return msgspec.json.encode(
        {
            "t": [seconds for _, seconds in readings],
            "ax": [reading.accel_x for reading in given],
            "ay": [reading.accel_y for reading in given],
            "az": [reading.accel_z for reading in given],
            "gx": [reading.gyro_x for reading in given],
            "gy": [reading.gyro_y for reading in given],
            "gz": [reading.gyro_z for reading in given],
        }
    )


def replies(answer: bytes, *, readings: int, wall_seconds: float) -> list[StepReply]:
    """Given the answer to a chunk of so many readings, return the guide's reply to each.

    Each step is told with one reading; were there more steps than readings, the last reply counts
    the rest. The count of the last reply is the session's.
    """
    chunk = _answer_decoder.decode(answer)
    found = [part.events for part in (chunk.flushed, chunk.result) if part is not None]
    events = [event for part in found for event in part]
    before, now = chunk.totals.events - len(events), utc_text(wall_seconds)
    told: list[StepReply] = []
    for number in range(1, readings + 1):
        is_last = number == readings
        confidence = events[number - 1].confidence if number <= len(events) else 0.0
        count = len(events) if is_last else min(number, len(events))
        told.append(
            StepReply(
                step_start=confidence > 0.0,
                step_end=confidence > 0.0,
                start_probability=confidence,
                end_probability=confidence,
                step_count=before + count,
                timestamp=now,
            )
        )
    return told
