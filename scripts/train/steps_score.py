"""Count and place steps the way the appliance does, and compare them with the truth."""

from __future__ import annotations

import dataclasses
import pathlib
import time
from collections.abc import Callable

import numpy as np
import openvino
from numpy.typing import NDArray
from steps_data import Walk
from steps_fit import FRAMING
from steps_net import HOP, RATE_HZ, STRIDE, WINDOW
from steps_plain import plain
from steps_synthetic import COUNTER_EXAMPLES

from appliance.tasks.step_events import Pace, Picking, Track, count, pick
from appliance.tasks.step_signal import Buffer, cut

Samples = NDArray[np.float32]
Times = NDArray[np.float64]
PICKING = Picking(RATE_HZ / STRIDE, 5, 0.25, 0.5, 1.5, 0.0, 0.6)


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


def offset(walks: list[Walk], steps: list[Times]) -> float:
    """Return how late found steps are in the median, in seconds, against the nearest true one."""
    late = []
    for walk, times in zip(walks, steps, strict=True):
        apart = times[:, None] - walk.steps
        nearest = apart[np.arange(len(times)), np.abs(apart).argmin(axis=1)]
        late.extend(nearest[np.abs(nearest) < 0.25])
    return float(np.median(late))


@dataclasses.dataclass(frozen=True)
class Calm:
    """What is found where nobody steps: steps a minute, and the share of minutes without any."""

    steps_a_minute: float
    share_without: float
    minutes: int


def simulated(detect: Callable[[Samples], Times], minutes: int = 150) -> dict[str, Calm]:
    """Return the false steps in signals without steps: those of the generators that training uses,
    with other seeds, and those from formulas that it does not use.
    """
    random = np.random.default_rng(999)
    signals = {
        name: [make(random, 60.0) for _ in range(minutes)]
        for name, make in COUNTER_EXAMPLES.items()
    }
    signals |= plain(random)
    calm = {}
    for name, minutes_of in signals.items():
        counts = np.array([len(detect(signal.astype(np.float32))) for signal in minutes_of])
        calm[name] = Calm(float(counts.mean()), float((counts == 0).mean()), len(counts))
    return calm


def answering(path: pathlib.Path) -> Callable[[Samples], Samples]:
    """Given a model.xml, return what gives the probabilities at 25 Hz of a signal [n, 3] at 50 Hz
    as the appliance computes them.
    """
    hints = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 1}
    model = openvino.Core().compile_model(path, "CPU", hints)

    def answer(signal: Samples) -> Samples:
        _, windows, total = cut(Buffer(), signal, FRAMING, closes=True)
        parts = [model(windows[at : at + 256])[0] for at in range(0, len(windows), 256)]
        flat = np.concatenate(parts).reshape(-1) if parts else np.zeros(0, np.float32)
        return np.asarray(flat[: -(-total // STRIDE)])

    return answer


def speed(path: pathlib.Path) -> dict[str, float]:
    """Given a model.xml, return its milliseconds for one window and its readings (100 Hz) a second
    in requests of 256 windows, on one thread, each the best of many runs.
    """
    hints = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 1, "NUM_STREAMS": 1}
    request = openvino.Core().compile_model(path, "CPU", hints).create_infer_request()
    best = {}
    for size in (1, 256):
        windows = np.random.default_rng(0).normal(0, 3, (size, 3, WINDOW)).astype(np.float32)
        taken = []
        for _ in range(1000):
            began = time.perf_counter()
            request.infer({"signal": windows})
            taken.append(time.perf_counter() - began)
        best[size] = min(taken)
    return {
        "milliseconds a window": 1000 * best[1],
        "readings a second": 256 * HOP / RATE_HZ * 100 / best[256],
    }
