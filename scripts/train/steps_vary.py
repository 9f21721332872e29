"""Make many walks of one: other paces, strengths, floors, sensors, legs, and pauses."""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray
from steps_data import trust
from steps_net import RATE_HZ
from steps_synthetic import direction, turned

Samples = NDArray[np.float32]
Times = NDArray[np.float64]
#: No walk is made weaker than this, in m/s² over all axes (the softest real one has 1.5): what is
#: weaker cannot be told from riding, and teaches that riding is walking.
LEAST_MOVEMENT = 1.4


@dataclasses.dataclass
class Lesson:
    """One training walk: its signal and the truth as believed so far, in seconds."""

    signal: Samples
    steps: Times


def vary(
    random: np.random.Generator, lesson: Lesson, halts: float
) -> tuple[Samples, Times, Samples]:
    """Return a walk played faster or slower, with longer pauses between the landings, stronger or
    weaker, softer, limping, turned on the way, sampled coarser and noisier: its signal, steps, and
    trust at 50 Hz.
    """
    signal = lesson.signal.astype(np.float64)
    times = (np.arange(len(signal)) + 0.5) / RATE_HZ
    slow = np.stack([np.convolve(column, np.ones(101) / 101, "same") for column in signal.T], 1)
    dawdles = random.uniform() < 0.25
    gain = float(np.exp(random.uniform(-0.5, 0.1) if dawdles else random.uniform(-0.4, 0.4)))
    is_walking, share = np.ones(len(lesson.steps), np.bool_), np.ones(len(times))
    if halts and random.uniform() < halts:
        is_walking, share = _halts(random, lesson.steps, times)
    signal = slow + _other_walk(random, (signal - slow) * (gain * share)[:, None], lesson, share)
    if random.uniform() < 0.3:
        signal = _reheld(random, signal, times)
    wide = random.uniform() < 0.5
    speed = float(np.exp(random.uniform(-0.42, 0.55) if wide else random.uniform(-0.2, 0.2)))
    old, new = _dawdle(random, lesson.steps, times[-1]) if dawdles else _even(times[-1], speed)
    source = np.interp(np.arange(0, new[-1], 1 / RATE_HZ), new, old)
    weight = np.interp(source, times, trust(lesson.steps, len(signal), RATE_HZ))
    if random.uniform() < 0.35:
        coarse = np.arange(0, times[-1], speed / random.uniform(20, 45))
        signal = np.stack([np.interp(coarse, times, column) for column in signal.T], 1)
        times = coarse
    signal = np.stack([np.interp(source, times, column) for column in signal.T], 1)
    signal += random.normal(0, random.uniform(0.0, 0.2), signal.shape)
    steps = np.interp(lesson.steps[is_walking], old, new)
    return signal.astype(np.float32), steps, (weight > 0.5).astype(np.float32)


def _other_walk(random: np.random.Generator, moving: Times, lesson: Lesson, share: Times) -> Times:
    """Given the movement of a walk [n, 3] in m/s², of which a `share` [n] is left where it halts,
    make one leg stronger than the other, sometimes, and the floor softer, and return it.
    """
    times = (np.arange(len(moving)) + 0.5) / RATE_HZ
    if random.uniform() < 0.4:
        leg = np.interp(times, lesson.steps, np.arange(len(lesson.steps)) % 2)
        moving = moving * np.exp(random.uniform(-0.7, 0.7) * (leg - 0.5))[:, None]
    if random.uniform() < 0.4:
        soft = np.hanning(random.integers(5, 15))
        moving = np.stack([np.convolve(c, soft / soft.sum(), "same") for c in moving.T], 1)
    strength = float(np.sqrt((moving[share > 0.9] ** 2).sum(axis=1).mean()))
    return np.asarray(moving * max(1.0, LEAST_MOVEMENT / max(strength, 1e-3)))


def _reheld(random: np.random.Generator, signal: Times, times: Times) -> Times:
    """Given a walk [n, 3] in m/s² at times in seconds, turn the phone some times on the way, as
    who takes it out or puts it away does, and return what it feels then.
    """
    for _ in range(1 + random.poisson(times[-1] / 20)):
        begin, seconds = random.uniform(0, times[-1]), random.uniform(0.4, 2.0)
        ramp = np.clip((times - begin) / seconds, 0, 1)
        signal = turned(signal, direction(random), random.normal(0, 0.8) * ramp)
    return signal


def _halts(
    random: np.random.Generator, steps: Times, times: Times
) -> tuple[NDArray[np.bool_], Times]:
    """Make a walker stand still for some steps, some times: return which steps are left
    and which share of the movement is, at each time.
    """
    is_walking = np.ones(len(steps), np.bool_)
    share = np.ones(len(times))
    for _ in range(random.integers(1, 8)):
        first = int(random.integers(1, len(steps) - 12))
        last = first + int(random.integers(3, 10))
        begin, end = (float(steps[at - 1] + steps[at]) / 2 for at in (first, last))
        is_walking[first:last] = False
        ramp = random.uniform(0.04, 0.12)
        inside = np.minimum(times - begin, end - times) / ramp
        share = np.minimum(share, np.clip(0.5 - inside, 0, 1))
    return is_walking, share


def _even(end: float, speed: float) -> tuple[Times, Times]:
    """Return old times and the new ones they become when everything is `speed` times faster."""
    old = np.array([0.0, end])
    return old, old / speed


def _dawdle(random: np.random.Generator, steps: Times, end: float) -> tuple[Times, Times]:
    """Return old times and the new ones they become when the time between landings is stretched,
    differently from step to step, but not the landings themselves.
    """
    edges = np.concatenate(([0.0], steps, [end]))
    half = np.minimum(0.12, 0.3 * np.minimum(np.diff(edges[:-1]), np.diff(edges[1:])))
    old = np.concatenate(([0.0], np.stack([steps - half, steps + half], 1).reshape(-1), [end]))
    factors = np.ones(len(old) - 1)
    usual = random.uniform(1.0, 2.2)
    factors[::2] = np.clip(random.normal(usual, 0.3, len(factors[::2])), 0.9, 3.0)
    return old, np.concatenate(([0.0], np.cumsum(np.diff(old) * factors)))
