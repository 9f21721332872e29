"""Where a step detector finds steps while the label of a recording says standing."""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray
from steps_data import Walk

Times = NDArray[np.float64]
#: A body that turns by this much within 3 s is turning round, not swaying.
TURN_DEGREES = 45.0
#: Two steps closer than this are in the rhythm of a slow walk.
RUN_SECONDS = 1.1


@dataclasses.dataclass
class Standing:
    """Steps found where the label of a recording says standing: how many in how many minutes, and
    how many of them begin or close a walk; the others, in the minutes away from walks, how many
    of these are beside another one, how many while the body turns, and how many neither; and the
    share of those minutes in which it turns.
    """

    found: int = 0
    labelled: int = 0
    minutes: float = 0.0
    at_walks: int = 0
    inner: int = 0
    inner_minutes: float = 0.0
    inner_in_runs: int = 0
    inner_turning: int = 0
    inner_single: int = 0
    turning_minutes: float = 0.0


def standing_steps(walks: list[Walk], steps: list[Times], rate_hz: float) -> Standing:
    """Given recordings whose readings have labels, at `rate_hz`, and the steps found in them,
    return where in the stretches of standing these are.

    A step at a walk is one within 1.2 s of a stretch's edge or within 1 s of a labelled step.
    """
    sums = Standing()
    for walk, times in zip(walks, steps, strict=True):
        assert walk.standing is not None
        reading = np.arange(len(walk.standing)) / rate_hz
        edges = np.flatnonzero(np.diff(walk.standing.astype(int))) / rate_hz
        is_inner = walk.standing & (_apart(reading, edges) > 1.2)
        is_inner &= _apart(reading, walk.steps) > 1.0
        turns = _turned(walk, rate_hz) > TURN_DEGREES
        at = np.clip((times * rate_hz).astype(int), 0, len(reading) - 1)
        inner = times[is_inner[at]]
        sums.found += int(walk.standing[at].sum())
        labels = (walk.steps * rate_hz).astype(int).clip(0, len(reading) - 1)
        sums.labelled += int(walk.standing[labels].sum())
        sums.minutes += float(walk.standing.sum()) / rate_hz / 60
        sums.inner += len(inner)
        sums.inner_minutes += float(is_inner.sum()) / rate_hz / 60
        is_in_run = _others_apart(times)[is_inner[at]] < RUN_SECONDS
        is_turning = turns[at][is_inner[at]]
        sums.inner_in_runs += int(is_in_run.sum())
        sums.inner_turning += int(is_turning.sum())
        sums.inner_single += int((~is_in_run & ~is_turning).sum())
        sums.turning_minutes += float((turns & is_inner).sum()) / rate_hz / 60
    sums.at_walks = sums.found - sums.inner
    return sums


def _apart(times: Times, marks: Times) -> Times:
    """Return how far each time is from the nearest mark."""
    if not len(marks):
        return np.full(len(times), np.inf)
    return np.asarray(np.abs(times[:, None] - marks).min(axis=1))


def _others_apart(times: Times) -> Times:
    """Given rising times, return how far each is from the nearest other one."""
    gaps = np.concatenate(([np.inf], np.diff(times), [np.inf]))
    return np.minimum(gaps[:-1], gaps[1:])


def _turned(walk: Walk, rate_hz: float) -> Times:
    """Return [n] by how many degrees the heading differs over the 3 s around each reading."""
    assert walk.heading is not None
    count, half = len(walk.heading), int(1.5 * rate_hz)
    places = np.arange(count)
    ahead = walk.heading[np.minimum(places + half, count - 1)]
    return np.asarray(np.abs(ahead - walk.heading[np.maximum(places - half, 0)]))
