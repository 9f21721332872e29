"""The signal of a walk: readings are judged, averaged over equal steps of time, cut into windows.

Everything here gives the same bits however a stream is cut: each sample of the equal grid is
computed from the same readings with the same operations, whichever chunk brought them.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

import msgspec

from appliance.errors import InvalidInput
from appliance.tasks.readings import Readings

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Array = NDArray[np.float64]
    Samples = NDArray[np.float32]
    Mask = NDArray[np.bool_]

#: Acceleration in m/s² up to the first is taken as it is; up to the second, which is what a sensor
#: of 16 g can say, it is clipped to the first; beyond, it is a fault. The same for rad/s.
ACCELERATION_LIMITS = (50.0, 160.0)
GYROSCOPE_LIMITS = (10.0, 40.0)
RATE_LIMITS_HZ = (20.0, 200.0)
#: Times further from zero are not seconds: those of 1970 in milliseconds are.
MOST_SECONDS = 1e10
#: So many readings in a row, each so long after the one before, are no signal at 20 Hz.
SLOW_SECONDS = 1 / 16
SLOW_RUN = 20


class Clock(msgspec.Struct):
    """What judging the next readings of a stream needs: their constant rate or None when each
    carries its time, how many came, the time of the last good one, and how many intervals in a
    row were slow.
    """

    rate_hz: float | None = None
    received: int = 0
    last_time: float | None = None
    slow_run: int = 0


class Tally(msgspec.Struct):
    """What became of the readings of a stream so far."""

    received: int = 0
    used: int = 0
    clipped: int = 0
    left_out: int = 0
    duplicates: int = 0
    gaps: int = 0


@dataclass(slots=True)
class Resampler:
    """Where the resampling of one unbroken stretch of readings stands.

    `origin` is the time of the first reading in seconds; the integrals are of the acceleration
    (m/s · 3 axes) since then, up to the last reading and up to the last finished cell.
    """

    origin: float
    last_time: float
    last_value: tuple[float, float, float]
    integral: tuple[float, float, float] = (0.0, 0.0, 0.0)
    cell_integral: tuple[float, float, float] = (0.0, 0.0, 0.0)
    cells: int = 0


@dataclass(frozen=True, slots=True)
class Framing:
    """How the equal grid is cut for the network, in grid samples; from the model's manifest.

    A window of `window` samples speaks for `hop` of them, the core, after which `lookahead` more
    are seen; it answers with one probability for every `stride` samples.
    """

    rate_hz: float
    window: int
    hop: int
    lookahead: int
    stride: int

    @property
    def before(self) -> int:
        """Return how many samples of a window come before its core."""
        return self.window - self.hop - self.lookahead


@dataclass(slots=True)
class Buffer:
    """The samples of a stretch that a later window still needs.

    `samples` are float32 [n, 3] as bytes, the first of them at grid index `first`; `cores` counts
    the cores already given to the network.
    """

    samples: bytes = b""
    first: int = 0
    cores: int = 0


def screen(
    readings: Readings, clock: Clock, tally: Tally, *, may_skip: bool
) -> "tuple[Clock, Tally, Array, Array]":
    """Given the readings that follow what the clock and tally have seen, apply the rules.

    A value that is absent, not finite or out of range, and a time before the last, is a fault:
    raise InvalidInput naming the first, or leave the reading out when `may_skip`. Of readings at
    one time the first is used. Return clock, tally, times [n] s and acceleration [n, 3] m/s².
    """
    import numpy as np

    count = len(readings.acceleration)
    times = _times(readings, clock)
    is_fault = _value_faults(readings, times)
    if is_fault.any() and not may_skip:
        _refuse_value(readings, int(np.argmax(is_fault)), times)
    numbers = np.flatnonzero(~is_fault)
    last = -np.inf if clock.last_time is None else clock.last_time
    reached = np.maximum.accumulate(np.concatenate(([last], times[numbers])))[:-1]
    is_back, is_same = times[numbers] < reached, times[numbers] == reached
    if is_back.any() and not may_skip:
        at = int(np.argmax(is_back))
        _refuse_order(readings, int(numbers[at]), float(times[numbers[at]]), float(reached[at]))
    used = numbers[~is_back & ~is_same]
    after = Clock(
        clock.rate_hz,
        clock.received + count,
        float(times[used[-1]]) if len(used) else clock.last_time,
        _slow_run(readings, used, times[used], clock),
    )
    sums = Tally(
        tally.received + count,
        tally.used + len(used),
        tally.clipped + int(_is_clipped(readings)[used].sum()),
        tally.left_out + int(is_fault.sum()) + int(is_back.sum()),
        tally.duplicates + int(is_same.sum()),
        tally.gaps,
    )
    most = ACCELERATION_LIMITS[0]
    return after, sums, times[used], np.clip(readings.acceleration[used], -most, most)


def _times(readings: Readings, clock: Clock) -> "Array":
    """Return the time of each reading: its place at the constant rate, or what it says itself."""
    import numpy as np

    count = len(readings.acceleration)
    if clock.rate_hz is not None:
        return (clock.received + np.arange(count)) / clock.rate_hz
    if readings.times is not None:
        return readings.times
    if count:
        raise InvalidInput(
            'The readings have no times. Give each its "t" in seconds, or state `rate_hz`.',
            pointer=readings.where(0, "t"),
        )
    return np.zeros(0)


def _value_faults(readings: Readings, times: "Array") -> "Mask":
    """Return [n] whether a reading has a fault: NaN compares as not within, so it is one too."""
    import numpy as np

    is_good = np.abs(times) <= MOST_SECONDS
    is_good &= _largest(readings.acceleration) <= ACCELERATION_LIMITS[1]
    if readings.gyroscope is not None:
        is_absent = np.isnan(readings.gyroscope).all(axis=1)
        is_good &= is_absent | (_largest(readings.gyroscope) <= GYROSCOPE_LIMITS[1])
    return np.asarray(~is_good)


def _largest(values: "Array") -> "Array":
    """Given [n, 3], return [n] the largest magnitude of each row, NaN where it has one."""
    import numpy as np

    x, y, z = np.abs(values.T)
    return np.asarray(np.maximum(np.maximum(x, y), z))


def _refuse_value(readings: Readings, number: int, times: "Array") -> NoReturn:
    """Raise InvalidInput that names the faulty value of a reading."""
    values = {"t": (float(times[number]), MOST_SECONDS, "seconds")}
    for axis, value in zip("xyz", readings.acceleration[number].tolist(), strict=True):
        values[f"a{axis}"] = (value, ACCELERATION_LIMITS[1], "m/s²")
    if readings.gyroscope is not None:
        for axis, value in zip("xyz", readings.gyroscope[number].tolist(), strict=True):
            values[f"g{axis}"] = (value, GYROSCOPE_LIMITS[1], "rad/s")
    faults = (field for field, (value, most, _) in values.items() if not abs(value) <= most)
    field = next(faults)
    value, most, unit = values[field]
    what = "is absent or not a number" if value != value else f"is {value:g} {unit}"
    raise InvalidInput(
        f"Reading {number}: {field!r} {what}; it must be within ±{most:g} {unit}.",
        pointer=readings.where(number, field),
    )


def _refuse_order(readings: Readings, number: int, time: float, reached: float) -> NoReturn:
    raise InvalidInput(
        f"Reading {number} is out of order: its time {time:g} s comes after {reached:g} s.",
        pointer=readings.where(number, "t"),
    )


def _is_clipped(readings: Readings) -> "Mask":
    """Return [n] whether a reading has a value beyond what is taken as it is."""
    import numpy as np

    is_beyond = _largest(readings.acceleration) > ACCELERATION_LIMITS[0]
    if readings.gyroscope is not None:
        is_beyond |= _largest(readings.gyroscope) > GYROSCOPE_LIMITS[0]
    return np.asarray(is_beyond)


def _slow_run(readings: Readings, numbers: "NDArray[Any]", times: "Array", clock: Clock) -> int:
    """Return how many of the last intervals in a row are slow; raise InvalidInput where so many
    are that the signal is not one of 20 Hz.
    """
    import numpy as np

    if len(times) == 0:
        return clock.slow_run
    first = times[0] if clock.last_time is None else clock.last_time
    is_slow = np.diff(times, prepend=first) > SLOW_SECONDS
    places = np.arange(1, len(times) + 1)
    last_fast = np.maximum.accumulate(np.where(is_slow, 0, places))
    runs = np.where(last_fast > 0, places - last_fast, places + clock.slow_run)
    too_slow = runs >= SLOW_RUN
    if too_slow.any():
        number = int(numbers[np.argmax(too_slow)])
        raise InvalidInput(
            f"Up to reading {number}, {SLOW_RUN} intervals in a row are longer than"
            f" {SLOW_SECONDS:g} s: at least {RATE_LIMITS_HZ[0]:g} readings a second are needed,"
            " with times in seconds.",
            pointer=readings.where(number, "t"),
        )
    return int(runs[-1])


def begin(time: float, value: "Array") -> Resampler:
    """Given the first reading of a stretch (seconds; m/s² [3]), return its resampler."""
    return Resampler(time, time, _triple(value))


def resample(
    state: Resampler, times: "Array", values: "Array", rate_hz: float
) -> "tuple[Resampler, Samples]":
    """Given rising times [n] in seconds and acceleration [n, 3] in m/s² that follow what the
    resampler has seen, average the straight lines between readings over each finished cell of
    1/rate_hz seconds and return the resampler after them and the samples float32 [m, 3].
    """
    import numpy as np

    if len(times) == 0:
        return state, np.zeros((0, 3), np.float32)
    # One row an axis: long rows are what numpy is quick with.
    relative = np.concatenate(([state.last_time], times)) - state.origin
    rows = np.concatenate((np.array([state.last_value]).T, values.T), axis=1)
    steps = np.diff(relative)
    rises = np.diff(rows, axis=1)
    areas = (rows[:, :-1] + rows[:, 1:]) * 0.5 * steps
    # cumsum adds strictly one after another, so a carried sum continues bit by bit.
    integrals = np.cumsum(np.concatenate((np.array([state.integral]).T, areas), axis=1), axis=1)
    reached = int(relative[-1] * rate_hz) + 1
    edges = np.arange(state.cells + 1, reached + 1, dtype=np.float64) / rate_hz
    edges = edges[edges <= relative[-1]]
    at = np.searchsorted(relative[1:], edges, side="left")
    inside = edges - relative[at]
    edge_values = rows[:, at] + rises[:, at] * (inside / steps[at])
    edge_integrals = integrals[:, at] + (rows[:, at] + edge_values) * 0.5 * inside
    bounds = np.concatenate((np.array([state.cell_integral]).T, edge_integrals), axis=1)
    samples = (np.diff(bounds, axis=1) * rate_hz).astype(np.float32)
    after = Resampler(
        state.origin,
        float(times[-1]),
        _triple(rows[:, -1]),
        _triple(integrals[:, -1]),
        _triple(bounds[:, -1]),
        state.cells + len(edges),
    )
    return after, np.ascontiguousarray(samples.T)


def cut(
    buffer: Buffer, samples: "Samples", framing: Framing, *, closes: bool
) -> "tuple[Buffer, Samples, int]":
    """Given new samples float32 [n, 3], cut every window that is complete.

    A stretch begins as if its first sample had lasted for ever, and ends likewise when `closes`.
    Return the buffer after it, windows float32 [m, 3, window] and how many grid samples the
    stretch has so far. A stretch shorter than one hop has no windows: no step fits in.
    """
    import numpy as np
    from numpy.lib.stride_tricks import sliding_window_view

    held = np.frombuffer(buffer.samples, np.float32).reshape(-1, 3)
    held = np.concatenate((held, samples))
    total = buffer.first + len(held)
    cores = (total - framing.lookahead) // framing.hop
    if closes:
        cores = -(-total // framing.hop) if total >= framing.hop else 0
    count = max(0, cores - buffer.cores)
    if count == 0:
        return Buffer(held.tobytes(), buffer.first, buffer.cores), _no_windows(framing), total
    begins = buffer.cores * framing.hop - framing.before
    ends = begins + (count - 1) * framing.hop + framing.window
    left = np.repeat(held[:1], max(0, buffer.first - begins), axis=0)
    right = np.repeat(held[-1:], max(0, ends - total), axis=0)
    padded = np.concatenate((left, held, right))[max(0, begins - buffer.first) :]
    views = sliding_window_view(padded, framing.window, axis=0)[:: framing.hop][:count]
    keep = max(0, (buffer.cores + count) * framing.hop - framing.before)
    kept = held[max(0, keep - buffer.first) :]
    after = Buffer(kept.tobytes(), max(keep, buffer.first), buffer.cores + count)
    return after, np.ascontiguousarray(views), total


def _no_windows(framing: Framing) -> "Samples":
    import numpy as np

    return np.zeros((0, 3, framing.window), np.float32)


def _triple(values: "NDArray[Any] | list[float]") -> tuple[float, float, float]:
    x, y, z = (float(value) for value in values)
    return x, y, z
