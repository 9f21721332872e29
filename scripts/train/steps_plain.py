"""Signals without steps that training never uses: bare formulas, and two from the mechanics of
what they stand for, to tell whether the network knows more than the simulations it was shown.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from steps_net import RATE_HZ
from steps_synthetic import GRAVITY

Array = NDArray[np.float64]
#: A quarter of a car: masses of body and wheel in kg, springs in N/m, damper in N·s/m.
BODY_KG, WHEEL_KG = 400.0, 40.0
SPRING, TYRE, DAMPER = 2e4, 2e5, 1.5e3
#: How rough roads are, in m³ at 0.1 cycles a metre (ISO 8608, classes A, B and C).
ROUGHNESS = (16e-6, 64e-6, 256e-6)
#: From the elbow to the phone in the hand.
FOREARM_METRES = 0.35


def plain(random: np.random.Generator) -> dict[str, list[Array]]:
    """Return minutes of signals [n, 3] in m/s² at 50 Hz by what they stand for."""
    return {
        "plain waving": [
            plain_wave(random, rate, level, tilt)
            for rate in (0.8, 1.2, 1.5, 2.0, 2.5, 3.0)
            for level in (3.0, 6.0, 12.0)
            for tilt in (0.0, 0.4)
        ],
        "plain riding": [
            plain_ride(random, level) for level in (0.1, 0.2, 0.3, 0.5, 0.8) for _ in range(4)
        ],
        "a forearm that waves": [
            forearm(random, rate, swing)
            for rate in (0.8, 1.2, 1.5, 2.0, 2.5, 3.0)
            for swing in (0.2, 0.5, 0.9)
        ],
        "a sprung car on a road": [
            road(random, rough, speed)
            for rough in ROUGHNESS
            for speed in (8.0, 14.0, 22.0, 33.0)
            for _ in range(2)
        ],
    }


def plain_wave(random: np.random.Generator, rate: float, level: float, tilt: float) -> Array:
    """Return a minute of a bare sine across gravity, lifted by `tilt` radians."""
    time = np.arange(60 * RATE_HZ) / RATE_HZ
    axis = np.array([np.cos(tilt), 0.0, np.sin(tilt)])
    swing = level * np.sin(2 * np.pi * rate * time)
    still = np.array([0.0, 0.0, GRAVITY])
    return np.asarray(still + swing[:, None] * axis + random.normal(0, 0.1, (len(time), 3)))


def plain_ride(random: np.random.Generator, level: float) -> Array:
    """Return a minute of a car: white noise, an engine, and a body that swings at 1 to 1.8 Hz, up
    and down, coming and going.
    """
    time = np.arange(60 * RATE_HZ) / RATE_HZ
    signal = np.array([0.0, 0.0, GRAVITY]) + random.normal(0, 0.3, (len(time), 3))
    signal += 0.5 * np.sin(2 * np.pi * random.uniform(15, 22) * time)[:, None]
    swing = np.sin(2 * np.pi * random.uniform(1.0, 1.8) * time)
    signal[:, 2] += 2 * level * swing * np.abs(np.sin(2 * np.pi * 0.05 * time))
    return np.asarray(signal)


def forearm(random: np.random.Generator, rate: float, swing: float) -> Array:
    """Return a minute of a phone in a raised hand that turns about the elbow by ±`swing` radians,
    with gravity, the pull to the centre and that along the arc as the phone feels them.
    """
    time = np.arange(60 * RATE_HZ) / RATE_HZ
    pulse = 2 * np.pi * rate
    angle = swing * np.sin(pulse * time)
    speed, change = swing * pulse * np.cos(pulse * time), -(pulse**2) * angle
    along = FOREARM_METRES * change - GRAVITY * np.sin(angle)
    outward = -FOREARM_METRES * speed**2 + GRAVITY * np.cos(angle)
    signal = np.stack([along, np.zeros_like(along), outward], axis=1)
    return np.asarray(signal + random.normal(0, 0.1, signal.shape))


def road(random: np.random.Generator, rough: float, speed: float) -> Array:
    """Return a minute in a quarter of a car at `speed` m/s on a road of that roughness, whose
    height is a random walk, and an engine.
    """
    count = 60 * RATE_HZ
    time = np.arange(count) / RATE_HZ
    density = 4 * np.pi**2 * 0.1**2 * rough * speed
    climb = random.normal(0, np.sqrt(density * RATE_HZ / 2), count)
    s = 2j * np.pi * np.fft.rfftfreq(count, 1 / RATE_HZ)
    s[0] = s[1]
    strut = DAMPER * s + SPRING
    lift = strut / (BODY_KG * s**2 + strut)
    wheel = TYRE / (WHEEL_KG * s**2 + strut + TYRE - strut * lift)
    bounce = np.fft.irfft(np.fft.rfft(climb) * s * lift * wheel, count)
    signal = np.array([0.0, 0.0, GRAVITY]) + random.normal(0, 0.05, (count, 3))
    signal[:, 2] += bounce
    return np.asarray(signal + 0.2 * np.sin(2 * np.pi * random.uniform(12, 22) * time)[:, None])
