"""The signal of a walk: readings at any rate become equal steps of time, then overlapping windows.

Everything here gives the same bits however a stream is cut: each sample of the equal grid is
computed from the same readings with the same operations, whichever chunk brought them.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Array = NDArray[np.float64]
    Samples = NDArray[np.float32]


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
    relative = np.concatenate(([state.last_time], times)) - state.origin
    values = np.concatenate(([state.last_value], values))
    steps = np.diff(relative)[:, None]
    rises = np.diff(values, axis=0)
    areas = (values[:-1] + values[1:]) * 0.5 * steps
    # cumsum adds strictly one after another, so a carried sum continues bit by bit.
    integrals = np.cumsum(np.concatenate(([state.integral], areas)), axis=0)
    reached = int(relative[-1] * rate_hz) + 1
    edges = np.arange(state.cells + 1, reached + 1, dtype=np.float64) / rate_hz
    edges = edges[edges <= relative[-1]]
    at = np.searchsorted(relative[1:], edges, side="left")
    inside = edges[:, None] - relative[at][:, None]
    edge_values = values[at] + rises[at] * (inside / steps[at])
    edge_integrals = integrals[at] + (values[at] + edge_values) * 0.5 * inside
    bounds = np.concatenate(([state.cell_integral], edge_integrals))
    samples = (np.diff(bounds, axis=0) * rate_hz).astype(np.float32)
    after = Resampler(
        state.origin,
        float(times[-1]),
        _triple(values[-1]),
        _triple(integrals[-1]),
        _triple(bounds[-1]),
        state.cells + len(edges),
    )
    return after, samples


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
