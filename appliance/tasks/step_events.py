"""From probabilities to steps: which peaks count, and when each of them is final.

A peak is a probability that no other within the refractory time beats. How high it must be
depends on the rhythm: in a walk the next step is expected, out of stillness it must be clear, and
also where it comes much sooner than the steps before it: one foot may seem to land twice.
"""

from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Probabilities = NDArray[np.float32]

#: A start is one interval before its step; for the first of a walk, this many seconds before.
FIRST_STEP_SECONDS = 0.5
#: So many intervals tell the rhythm of a walk, and so many are remembered.
RHYTHM_INTERVALS = (3, 6)


class Event(msgspec.Struct, frozen=True):
    """One step. `time` is when the foot lands and `end` the same; `start` is when the other foot
    landed before it. Seconds on the clock of the readings.
    """

    kind: str
    start: float
    end: float
    time: float
    confidence: float


@dataclass(frozen=True, slots=True)
class Picking:
    """What makes a peak a step; from the model's manifest.

    `reach` is the refractory time in probabilities, `walking` and `resting` the least probability
    within `rhythm_seconds` after a step and otherwise, `lag_seconds` how late peaks are. A peak
    sooner than `early_share` of the median of the last intervals must reach `resting` too.
    """

    rate_hz: float
    reach: int
    walking: float
    resting: float
    rhythm_seconds: float
    lag_seconds: float
    early_share: float = 0.0


@dataclass(slots=True)
class Track:
    """Where the picking of one stretch stands: the probabilities (float32 as bytes) that are not
    decided or that a decision still needs, the index of the first of them and of the next to
    decide.
    """

    probabilities: bytes = b""
    first: int = 0
    decided: int = 0


def pick(
    track: Track, fresh: "Probabilities", picking: Picking, *, length: int | None
) -> tuple[Track, list[tuple[float, float]]]:
    """Given new probabilities [n] of a stretch, decide every one whose surroundings are known, all
    when the stretch ends with `length` of them, and return the track after them and the peaks as
    (seconds after the stretch's origin, probability).
    """
    import numpy as np
    from numpy.lib.stride_tricks import sliding_window_view

    held = np.concatenate((np.frombuffer(track.probabilities, np.float32), fresh))
    reach = picking.reach
    if length is not None:
        # The last window may speak for more than there is.
        held = held[: max(0, length - track.first)]
    until = track.first + len(held) - (reach if length is None else 0)
    if until <= track.decided:
        return Track(held.tobytes(), track.first, track.decided), []
    # One more on each side, so that a peak's neighbours exist; -1 is below any probability.
    padded = np.pad(held, reach, constant_values=-1.0)
    begin = track.decided - track.first
    count = until - track.decided
    around = sliding_window_view(padded, reach)
    before = around[begin : begin + count].max(axis=1)
    after = around[begin + reach + 1 : begin + reach + 1 + count].max(axis=1)
    here = held[begin : begin + count]
    least = np.float32(min(picking.walking, picking.resting))
    found = np.flatnonzero((here >= least) & (here > before) & (here >= after))
    peaks = [_refined(padded, begin + int(at) + reach, track, picking) for at in found]
    keep = max(track.first, until - reach)
    return Track(held[keep - track.first :].tobytes(), keep, until), peaks


def _refined(
    padded: "Probabilities", position: int, track: Track, picking: Picking
) -> tuple[float, float]:
    """Given a peak's place in the padded probabilities, return its time, between the grid's
    steps by the parabola through it and its neighbours, and its height.
    """
    left, top, right = (float(value) for value in padded[position - 1 : position + 2])
    bend = left - 2.0 * top + right
    shift = 0.0 if left < 0 or right < 0 or bend >= 0 else 0.5 * (left - right) / bend
    index = position - picking.reach + track.first
    return (index + 0.5 + shift) / picking.rate_hz - picking.lag_seconds, top


class Pace(msgspec.Struct):
    """What is remembered of the steps so far: their count, the last one's time, the sum and
    number of the intervals between steps of one walk, and the last few of the walk going on.
    """

    steps: int = 0
    last_time: float | None = None
    interval_seconds: float = 0.0
    intervals: int = 0
    recent_seconds: tuple[float, ...] = ()

    def cadence_per_minute(self) -> float | None:
        """Return the steps a minute while walking, or None before two steps in a row."""
        if not self.intervals:
            return None
        return round(60.0 * self.intervals / self.interval_seconds, 2)


def count(
    pace: Pace, origin: float, peaks: list[tuple[float, float]], picking: Picking
) -> tuple[Pace, list[Event]]:
    """Given the peaks of a stretch that began at `origin` seconds, in order, keep those that are
    high enough for the rhythm so far and return the pace after them and their events.
    """
    steps, last, recent = pace.steps, pace.last_time, pace.recent_seconds
    total, intervals = pace.interval_seconds, pace.intervals
    events = []
    for offset, height in peaks:
        time = round(origin + offset, 4)
        apart = None if last is None or time - last > picking.rhythm_seconds else time - last
        if height < _least(apart, recent, picking):
            continue
        start = round(time - FIRST_STEP_SECONDS, 4)
        if apart is None or last is None:
            recent = ()
        else:
            start = last
            total += apart
            intervals += 1
            recent = (*recent, apart)[-RHYTHM_INTERVALS[1] :]
        events.append(Event("step", start, time, time, round(height, 4)))
        steps, last = steps + 1, time
    return Pace(steps, last, total, intervals, recent), events


def _least(apart: float | None, recent: tuple[float, ...], picking: Picking) -> float:
    """Given how long after the step before a peak comes, None where it is the first of a walk, and
    the last intervals of the walk, all in seconds, return how high it must be.
    """
    if apart is None:
        return picking.resting
    is_known = len(recent) >= RHYTHM_INTERVALS[0]
    if is_known and apart < picking.early_share * median(recent):
        return picking.resting
    return picking.walking
