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
        signal += _wave(random, time, rate) * random.uniform(0.0, 0.3) * _direction(random)
    busy = np.clip(_band(random, count, 0.0, random.uniform(0.1, 0.6)), 0, 2)[:, None]
    for _ in range(random.integers(0, 4)):
        fidget = _band(random, count, random.uniform(0.5, 4.0), random.uniform(0.3, 2.0))
        signal += busy * fidget[:, None] * random.uniform(0.05, 0.5) * _direction(random)
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
        signal += swing[:, None] * random.uniform(0.05, 1.5) * _direction(random)
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
    down = _direction(random)
    axis = _tilted(random, _across(random, down), 0.6)
    turn = np.sin(phase + random.normal(0, 0.5)) * np.radians(
        random.choice((0.0, random.uniform(0, 55)))
    )
    gravity = GRAVITY * _turned(np.tile(down, (count, 1)), _across(random, down), turn)
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
    down = _direction(random)
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
    jolt = random.uniform(0, 1.0) * level
    for step in steps:
        near = time >= step
        decay = np.exp(-(time[near] - step) / 0.03) * random.uniform(0.6, 1.4) * jolt
        signal[near] += decay[:, None] * down
    return signal + random.normal(0, random.uniform(0.02, 0.4), (count, 3)), steps


def plain_wave(random: np.random.Generator, rate: float, level: float, tilt: float) -> Array:
    """Return a minute [n, 3] m/s² of a bare sine across gravity, lifted by `tilt` radians."""
    time = np.arange(60 * RATE_HZ) / RATE_HZ
    axis = np.array([np.cos(tilt), 0.0, np.sin(tilt)])
    swing = level * np.sin(2 * np.pi * rate * time)
    still = np.array([0.0, 0.0, GRAVITY])
    return np.asarray(still + swing[:, None] * axis + random.normal(0, 0.1, (len(time), 3)))


def plain_ride(random: np.random.Generator, level: float) -> Array:
    """Return a minute [n, 3] m/s² of a car: white noise, an engine, and a body that swings at 1
    to 1.8 Hz, up and down, coming and going.
    """
    time = np.arange(60 * RATE_HZ) / RATE_HZ
    signal = np.array([0.0, 0.0, GRAVITY]) + random.normal(0, 0.3, (len(time), 3))
    signal += 0.5 * np.sin(2 * np.pi * random.uniform(15, 22) * time)[:, None]
    swing = np.sin(2 * np.pi * random.uniform(1.0, 1.8) * time)
    signal[:, 2] += 2 * level * swing * np.abs(np.sin(2 * np.pi * 0.05 * time))
    return np.asarray(signal)


NEGATIVES: dict[str, Callable[[np.random.Generator, float], Array]] = {
    "standing": standing,
    "riding": riding,
    "waving": waving,
}


def _direction(random: np.random.Generator) -> Array:
    vector = random.normal(size=3)
    return np.asarray(vector / np.linalg.norm(vector))


def _across(random: np.random.Generator, down: Array) -> Array:
    other = _direction(random)
    other = other - down * float(other @ down)
    return np.asarray(other / np.linalg.norm(other))


def _tilted(random: np.random.Generator, axis: Array, most: float) -> Array:
    tilted = axis + _across(random, axis) * np.tan(random.uniform(0, most))
    return np.asarray(tilted / np.linalg.norm(tilted))


def _gravity_along(down: Array, count: int) -> Array:
    return np.tile(GRAVITY * down, (count, 1))


def _gravity(random: np.random.Generator, count: int, *, shifts: int) -> Array:
    """Return gravity [n, 3] in a phone that is turned `shifts` times."""
    down = _direction(random)
    directions = np.tile(down, (count, 1))
    for _ in range(shifts):
        at, long = random.integers(0, count), random.uniform(0.3, 1.5) * RATE_HZ
        turn = np.clip((np.arange(count) - at) / long, 0, 1) * random.normal(0, 0.7)
        directions = _turned(directions, _direction(random), turn)
    return GRAVITY * directions


def _turned(vectors: Array, axis: Array, angles: Array) -> Array:
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
    return np.asarray(strength * (ring * shape)[:, None] * _direction(random))
