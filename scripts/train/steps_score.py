"""Count and place steps the way the appliance does, and compare them with the truth."""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray
from steps_data import Walk
from steps_net import RATE_HZ, STRIDE

from appliance.tasks.step_events import Pace, Picking, Track, count, pick

Samples = NDArray[np.float32]
Times = NDArray[np.float64]
PICKING = Picking(RATE_HZ / STRIDE, 5, 0.3, 0.5, 1.5, 0.0)


@dataclasses.dataclass(frozen=True)
class Placing:
    """How well the steps of recordings are placed, after one lag for all of them."""

    f1: float
    lag_seconds: float


def found(probability: Samples, picking: Picking = PICKING) -> Times:
    """Given probabilities at 25 Hz, return the times of the steps in seconds."""
    _, peaks = pick(Track(), probability, picking, length=len(probability))
    _, events = count(Pace(), 0.0, peaks, picking)
    return np.array([event.time for event in events])


def count_errors(walks: list[Walk], steps: list[Times]) -> Times:
    """Return the relative error of each walk's count, signed."""
    pairs = zip(walks, steps, strict=True)
    return np.array([len(times) / walk.true_count - 1 for walk, times in pairs])


def placing(truth: list[Times], steps: list[Times], tolerance_seconds: float) -> Placing:
    """Given true and found times of several recordings, match them one to one within the tolerance
    at the best of the lags up to 1 s and return F1 over all.
    """
    best = Placing(0.0, 0.0)
    for lag in np.arange(-1.0, 1.0, 0.0125):
        hits = sum(
            _matches(right, times + lag, tolerance_seconds)
            for right, times in zip(truth, steps, strict=True)
        )
        f1 = 2 * hits / (sum(map(len, truth)) + sum(map(len, steps)))
        if f1 > best.f1:
            best = Placing(f1, float(lag))
    return best


def _matches(truth: Times, steps: Times, tolerance: float) -> int:
    """Return how many pairs a merge of two rising lists finds, each time used once."""
    left = right = hits = 0
    while left < len(truth) and right < len(steps):
        apart = steps[right] - truth[left]
        if abs(apart) <= tolerance + 1e-9:
            hits, left, right = hits + 1, left + 1, right + 1
        elif apart < 0:
            right += 1
        else:
            left += 1
    return hits


def peak_picker(signal: Samples, height: float = 1.0, rate_hz: float = 100.0) -> Times:
    """Given acceleration [n, 3] at 50 Hz, return the steps of the twelve-line rival, which works
    at about 100 Hz: the mean of 9 samples of the length minus that of 101, peaks at least
    `height` m/s² high and 25 samples apart.
    """
    times = (np.arange(len(signal)) + 0.5) / RATE_HZ
    grid = np.arange(times[0], times[-1], 1 / rate_hz)
    length = np.interp(grid, times, np.linalg.norm(signal, axis=1))
    short = np.convolve(length, np.ones(9) / 9, "same")
    wave = short - np.convolve(length, np.ones(101) / 101, "same")
    wave[:50] = wave[-50:] = 0
    steps: list[int] = []
    for at in np.flatnonzero((wave[1:-1] > wave[:-2]) & (wave[1:-1] >= wave[2:])) + 1:
        if wave[at] < height:
            continue
        if steps and at - steps[-1] < 25:
            if wave[at] > wave[steps[-1]]:
                steps[-1] = int(at)
            continue
        steps.append(int(at))
    return grid[steps] if steps else np.zeros(0)
