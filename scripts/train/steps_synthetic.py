"""Made-up signals: walks for fixtures, and standing, riding and waving, in which nobody steps."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from steps_net import RATE_HZ

Array = NDArray[np.float64]
GRAVITY = 9.81


def standing(random: np.random.Generator, seconds: float) -> Array:
    """Return [n, 3] m/s² at 50 Hz of a phone held, worn or laid down by someone who stands: sensor
    noise, sway, and now and then a change of hold.
    """
    count = int(seconds * RATE_HZ)
    time = np.arange(count) / RATE_HZ
    signal = _gravity(random, count, shifts=random.poisson(seconds / 6))
    for _ in range(3):
        rate = random.uniform(0.1, 0.9)
        signal += _wave(random, time, rate) * random.uniform(0.0, 0.3) * direction(random)
    busy = np.clip(_band(random, count, 0.0, random.uniform(0.1, 0.6)), 0, 2)[:, None]
    for _ in range(random.integers(0, 4)):
        fidget = _band(random, count, random.uniform(0.5, 4.0), random.uniform(0.3, 2.0))
        signal += busy * fidget[:, None] * random.uniform(0.05, 0.5) * direction(random)
    for _ in range(random.poisson(seconds / 5)):
        signal += _bump(random, time, float(np.exp(random.uniform(-1.2, 1.8))))
    return signal + random.normal(0, random.uniform(0.01, 0.2), (count, 3))


def riding(random: np.random.Generator, seconds: float) -> Array:
    """Return [n, 3] m/s² of a phone in a car or bus: engine and road shake, a springing body,
    holes in the road, and the pull of brakes and bends.
    """
    count = int(seconds * RATE_HZ)
    time = np.arange(count) / RATE_HZ
    gravity = _gravity(random, count, shifts=0)
    down = gravity[0] / GRAVITY
    signal = gravity + random.normal(0, random.uniform(0.05, 1.0), (count, 3))
    for _ in range(random.integers(1, 4)):
        swing = np.sin(2 * np.pi * random.uniform(8, 24) * time + random.uniform(0, 7))
        signal += swing[:, None] * random.uniform(0.05, 1.5) * direction(random)
    body = _band(random, count, random.uniform(0.9, 2.6), random.uniform(0.3, 1.2))
    signal += body[:, None] * random.uniform(0.1, 1.0) * _tilted(random, down, 0.4)
    rough = _band(random, count, random.uniform(4, 12), random.uniform(2, 6))
    signal += rough[:, None] * random.uniform(0.05, 2.0) * _tilted(random, down, 0.6)
    pull = _band(random, count, 0.1, 0.15)
    signal += pull[:, None] * random.uniform(0.2, 2.0) * _across(random, down)
    for _ in range(random.poisson(seconds / 5)):
        signal += _bump(random, time, random.uniform(1.0, 10.0))
    return signal


def waving(random: np.random.Generator, seconds: float) -> Array:
    """Return [n, 3] m/s² of a hand that waves, shakes or gestures: swings mostly across gravity,
    which turns with the wrist.
    """
    count = int(seconds * RATE_HZ)
    rate = random.uniform(0.6, 3.6)
    drift = 1 + 0.15 * random.uniform() * _band(random, count, 0.2, 0.2)
    phase = 2 * np.pi * rate * np.cumsum(drift) / RATE_HZ + random.uniform(0, 7)
    down = direction(random)
    axis = _tilted(random, _across(random, down), 0.6)
    turn = np.sin(phase + random.normal(0, 0.5)) * np.radians(
        random.choice((0.0, random.uniform(0, 55)))
    )
    gravity = GRAVITY * turned(np.tile(down, (count, 1)), _across(random, down), turn)
    level = float(np.exp(random.uniform(0.0, 2.8))) * (
        1 + 0.3 * random.uniform() * _band(random, count, 0.3, 0.3)
    )
    swing = np.sin(phase)
    for overtone in (2, 3):
        share = random.choice((0.0, random.uniform(0, 0.35)))
        swing += share * np.sin(overtone * phase + random.uniform(0, 7))
    other = np.sin(phase + random.uniform(0, 7)) * random.choice((0.0, random.uniform(0, 0.5)))
    signal = gravity + (level * swing)[:, None] * axis
    signal += (level * other)[:, None] * _across(random, down)
    return signal + random.normal(0, random.uniform(0.02, 0.4), (count, 3))


def bouncing(random: np.random.Generator, seconds: float) -> Array:
    """Return [n, 3] m/s² of a phone on a sprung seat, a swing, a boat or a gently rocking arm:
    nearly one pure swing, mostly up and down, that comes and goes, with engines and noise.
    """
    count = int(seconds * RATE_HZ)
    time = np.arange(count) / RATE_HZ
    rate = float(np.exp(random.uniform(np.log(0.7), np.log(3.2))))
    drift = 1 + random.uniform(0, 0.08) * _band(random, count, 0.0, 0.3)
    phase = 2 * np.pi * rate * np.cumsum(drift) / RATE_HZ + random.uniform(0, 7)
    gravity = _gravity(random, count, shifts=0)
    level = float(np.exp(random.uniform(np.log(0.15), np.log(6.0))))
    envelope = np.clip(1 + random.uniform(0, 0.8) * _band(random, count, 0.1, 0.2), 0, 2)
    axis = _tilted(random, gravity[0] / GRAVITY, 1.2)
    signal = gravity + (level * envelope * np.sin(phase))[:, None] * axis
    for _ in range(random.integers(0, 3)):
        swing = np.sin(2 * np.pi * random.uniform(8, 24) * time + random.uniform(0, 7))
        signal += swing[:, None] * random.uniform(0.05, 0.8) * direction(random)
    return signal + random.normal(0, random.uniform(0.02, 0.6), (count, 3))


def walking(random: np.random.Generator, seconds: float, *, halts: bool) -> tuple[Array, Array]:
    """Return [n, 3] m/s² of a made-up walk and the times of its steps: the body's bounce with its
    overtones, a sway of half the pace, and a jolt at each landing; where it `halts`, it may begin
    late and end early.
    """
    count = int(seconds * RATE_HZ)
    time = np.arange(count) / RATE_HZ
    pace = float(np.exp(random.uniform(np.log(1.1), np.log(3.4))))
    intervals = np.clip(random.normal(1 / pace, 0.02 / pace, int(seconds * 3) + 4), 0.25, 1.2)
    steps = random.uniform(0, 0.6) + np.cumsum(intervals)
    halt = seconds
    if halts:
        steps += random.choice((0.0, random.uniform(0, 6)))
        halt *= random.choice((1.0, random.uniform(0.6, 1.0)))
    phase = 2 * np.pi * np.interp(time, steps, np.arange(len(steps)), left=0.0)
    slope = (time < steps[0]) * (time - steps[0]) * 2 * np.pi * pace
    phase = phase + slope
    down = direction(random)
    level = random.uniform(1.5, 6.0)
    bounce = np.cos(phase)
    for overtone in (2, 3):
        bounce += random.uniform(0, 0.4) * np.cos(overtone * phase + random.uniform(-1, 1))
    signal = _gravity_along(down, count) + (level * bounce)[:, None] * down
    sway = np.sin(phase / 2 + random.uniform(0, 7)) * random.uniform(0, 0.6) * level
    signal += sway[:, None] * _across(random, down)
    stride = np.cos(phase + random.uniform(0, 7)) * random.uniform(0, 0.4) * level
    signal += stride[:, None] * _across(random, down)
    steps = steps[steps < halt]
    if halts:
        margin = 0.45 / pace
        moves = np.minimum(time - steps[0] + margin, steps[-1] + margin - time) / 0.1 + 0.5
        still = _gravity_along(down, count)
        signal = still + (signal - still) * np.clip(moves, 0, 1)[:, None]
    jolt = random.uniform(0.3, 1.0) * level
    for step in steps:
        near = time >= step
        decay = np.exp(-(time[near] - step) / 0.03) * random.uniform(0.6, 1.4) * jolt
        signal[near] += decay[:, None] * down
    return signal + random.normal(0, random.uniform(0.02, 0.4), (count, 3)), steps


#: What the bars name, and what training shows besides.
NEGATIVES: dict[str, Callable[[np.random.Generator, float], Array]] = {
    "standing": standing,
    "riding": riding,
    "waving": waving,
}
COUNTER_EXAMPLES = NEGATIVES | {"bouncing": bouncing}


def direction(random: np.random.Generator) -> Array:
    """Return a unit vector [3], every direction alike."""
    vector = random.normal(size=3)
    return np.asarray(vector / np.linalg.norm(vector))


def _across(random: np.random.Generator, down: Array) -> Array:
    other = direction(random)
    other = other - down * float(other @ down)
    return np.asarray(other / np.linalg.norm(other))


def _tilted(random: np.random.Generator, axis: Array, most: float) -> Array:
    tilted = axis + _across(random, axis) * np.tan(random.uniform(0, most))
    return np.asarray(tilted / np.linalg.norm(tilted))


def _gravity_along(down: Array, count: int) -> Array:
    return np.tile(GRAVITY * down, (count, 1))


def _gravity(random: np.random.Generator, count: int, *, shifts: int) -> Array:
    """Return gravity [n, 3] in a phone that is turned `shifts` times."""
    down = direction(random)
    directions = np.tile(down, (count, 1))
    for _ in range(shifts):
        at, long = random.integers(0, count), random.uniform(0.3, 1.5) * RATE_HZ
        turn = np.clip((np.arange(count) - at) / long, 0, 1) * random.normal(0, 0.7)
        directions = turned(directions, direction(random), turn)
    return GRAVITY * directions


def turned(vectors: Array, axis: Array, angles: Array) -> Array:
    """Turn each of [n, 3] vectors about one axis by its angle (Rodrigues)."""
    sine, cosine = np.sin(angles)[:, None], np.cos(angles)[:, None]
    along = (vectors @ axis)[:, None] * axis
    return np.asarray(vectors * cosine + np.cross(axis, vectors) * sine + along * (1 - cosine))


def _wave(random: np.random.Generator, time: Array, rate: float) -> Array:
    return np.asarray(np.sin(2 * np.pi * rate * time + random.uniform(0, 7))[:, None])


def _band(random: np.random.Generator, count: int, centre: float, width: float) -> Array:
    """Return noise [n] of unit deviation around `centre` Hz, `width` Hz wide."""
    spectrum = np.fft.rfft(random.normal(size=count))
    rates = np.fft.rfftfreq(count, 1 / RATE_HZ)
    noise = np.fft.irfft(spectrum * np.exp(-(((rates - centre) / width) ** 2) / 2), count)
    return np.asarray(noise / max(float(noise.std()), 1e-9))


def _bump(random: np.random.Generator, time: Array, strength: float) -> Array:
    """Return a ringing knock [n, 3] at a random moment."""
    since = time - random.uniform(0, time[-1])
    ring = np.cos(2 * np.pi * random.uniform(1.5, 12) * since)
    shape = np.where(since >= 0, np.exp(-np.maximum(since, 0) / random.uniform(0.03, 0.3)), 0)
    return np.asarray(strength * (ring * shape)[:, None] * direction(random))
