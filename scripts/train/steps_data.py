"""Walks with their true steps: the Oxford set for training, the guide's recordings to measure."""

from __future__ import annotations

import csv
import dataclasses
import gzip
import pathlib
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from steps_net import RATE_HZ

from appliance.tasks.step_signal import begin, resample

Array = NDArray[np.float64]
#: The guide's recordings carry no time. Turning the measured gyroscope into angles and comparing
#: them with how gravity turned in the accelerometer fits at 80 Hz (0.5 degrees; 3.5 at 100 Hz).
PHONE_RATE_HZ = 80.0
#: Two landings closer than this are one whose foot sensor bounced.
BOUNCE_SECONDS = 0.25
#: A longer pause between two true steps of a walk may be one that the foot sensor missed.
DOUBT_SECONDS = 0.9


@dataclasses.dataclass
class Walk:
    """One recording: acceleration float32 [n, 3] in m/s² at 50 Hz, the times of its true steps in
    seconds since its first reading, and the number of steps as its authors counted them.

    `standing` [m] says of each reading whether its label is standing, `heading` [m] where the body
    faced, in degrees, as far as the gyroscope tells.
    """

    name: str
    group: str
    place: str
    signal: NDArray[np.float32]
    steps: Array
    true_count: int
    standing: NDArray[np.bool_] | None = None
    heading: Array | None = None


def read_oxford(folder: pathlib.Path) -> list[Walk]:
    """Given the folder `steps/oxford/optimisation`, read every walk and return them by name.

    The truth comes from pressure sensors in both shoes, sampled every 0.1 s: a rise in either is
    a landing, placed between the two samples.
    """
    with (folder / "stats.csv").open() as lines:
        rows = [[cell.strip() for cell in row] for row in csv.reader(lines)]
    counts = {row[0]: int(row[-1]) for row in rows if row and not row[0].startswith("#")}
    walks = []
    for directory in sorted((folder / "data").iterdir()):
        phone, user, _, place, _ = directory.name.split("_")
        with gzip.open(directory / "accelerometer.csv.gz") as lines:
            table = np.loadtxt(lines, delimiter=",")
        feet = np.loadtxt(directory / "stepcounter.csv", delimiter=",")
        zero = table[0, 0]
        middles = (feet[1:, 0] + feet[:-1, 0]) / 2
        landings = [middles[np.diff(feet[:, side]) > 0] for side in (1, 2)]
        walks.append(
            Walk(
                name=directory.name,
                group=f"{phone}_{user}",
                place=place.lower(),
                signal=to_grid((table[:, 0] - zero) / 1e9, table[:, 2:5]),
                steps=np.sort(np.concatenate(landings) - zero) / 1e9,
                true_count=counts[directory.name],
            )
        )
    return walks


def read_phone(folder: pathlib.Path, rate_hz: float = PHONE_RATE_HZ) -> list[Walk]:
    """Given the folder `steps/phone`, read each recording as if sampled at `rate_hz` and return
    them; the true steps are the starts of its label file. For measuring only.
    """
    walks = []
    for path in sorted(folder.glob("person_*/Clipped*.csv")):
        table = np.loadtxt(path, delimiter=",", skiprows=1)
        labels = path.with_name(path.name.removeprefix("Clipped") + ".stepMixed")
        starts = np.sort(np.loadtxt(labels, delimiter=",")[:, 0])
        walks.append(
            Walk(
                name=f"{path.parent.name}_{path.stem[-14:]}",
                group=path.parent.name,
                place="hand",
                signal=to_grid(np.arange(len(table)) / rate_hz, table[:, 1:4]),
                steps=starts / rate_hz,
                true_count=len(starts),
                standing=table[:, 0] == 0,
                heading=_heading(table[:, 1:4], table[:, 4:7], rate_hz),
            )
        )
    return walks


def _heading(acceleration: Array, turning: Array, rate_hz: float) -> Array:
    """Given m/s² and rad/s [n, 3], return [n] the degrees turned so far about the vertical, which
    is the mean of about a second of acceleration.
    """
    bell = np.ones(81) / 81
    down = np.stack([np.convolve(column, bell, "same") for column in acceleration.T], axis=1)
    down /= np.linalg.norm(down, axis=1)[:, None]
    return np.asarray(np.degrees(np.cumsum((turning * down).sum(axis=1)) / rate_hz))


def to_grid(times: Array, values: Array, rate_hz: float = RATE_HZ) -> NDArray[np.float32]:
    """Given readings at rising times [n] s, values [n, 3], return them at 50 Hz as the appliance
    itself does.
    """
    _, samples = resample(begin(float(times[0]), values[0]), times[1:], values[1:], rate_hz)
    return samples


def heat(steps: Array, length: int, rate_hz: float, width: float) -> NDArray[np.float32]:
    """Given step times in s, return [length] values at `rate_hz`: 1 at a step, falling off
    as a bell of `width` seconds.
    """
    centres = (np.arange(length) + 0.5) / rate_hz
    target = np.zeros(length)
    for step in steps:
        near = slice(*np.searchsorted(centres, (step - 5 * width, step + 5 * width)))
        bell = np.exp(-(((centres[near] - step) / width) ** 2) / 2)
        target[near] = np.maximum(target[near], bell)
    return target.astype(np.float32)


def clean(steps: Array) -> Array:
    """Given the true step times of a walk, drop the second of two that bounced."""
    kept: list[float] = []
    for step in steps:
        if not kept or step - kept[-1] >= BOUNCE_SECONDS:
            kept.append(float(step))
    return np.array(kept)


def trust(steps: Array, length: int, rate_hz: float) -> NDArray[np.float32]:
    """Given step times, return [length] weights at `rate_hz`: 0 where the truth is in doubt, which
    is in pauses of about one missed step and just before the first and after the last step.
    """
    centres = (np.arange(length) + 0.5) / rate_hz
    weights = np.ones(length, np.float32)
    for left, right in pairwise(steps.tolist()):
        if DOUBT_SECONDS < right - left < 3.0:
            weights[(centres > left + 0.25) & (centres < right - 0.25)] = 0
    if len(steps):
        weights[(centres > steps[0] - 0.9) & (centres < steps[0] - 0.25)] = 0
        weights[(centres > steps[-1] + 0.25) & (centres < steps[-1] + 0.9)] = 0
    return weights
