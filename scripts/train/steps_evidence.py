"""What a choice of thresholds makes of walks that a network has not seen, and of non-walking."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from steps_choice import choose
from steps_data import Walk, clean
from steps_fit import MAIN
from steps_score import PICKING
from steps_synthetic import NEGATIVES
from steps_vary import Lesson, vary

from appliance.tasks.step_events import Pace, Picking, Track, count, pick

Samples = NDArray[np.float32]
Array = NDArray[np.float64]
#: Every pair of thresholds that may be chosen.
CHOICES = [
    dataclasses.replace(PICKING, walking=walking, resting=resting)
    for walking in (0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.5)
    for resting in (0.4, 0.5, 0.6)
    if walking <= resting
]
VARIANTS = 8
MINUTES = 5


@dataclasses.dataclass
class Evidence:
    """Of one walk and a network that has not seen it: errors of the count [choice, trial], of the
    walk itself and then its variants, and false steps a minute [choice, kind].
    """

    errors: Array
    false_steps: Array


def gather(predict: Callable[[Samples], Samples], walk: Walk, seed: int) -> Evidence:
    """Given what answers with the probabilities of a signal, try every choice on an unseen walk,
    on its variants and on some minutes of each kind of simulated non-walking.
    """
    random = np.random.default_rng([977, seed])
    lesson = Lesson(walk.signal, clean(walk.steps))
    errors = [counts(predict(walk.signal)) / walk.true_count - 1]
    for _ in range(VARIANTS):
        signal, steps, _ = vary(random, lesson, MAIN.halts)
        errors.append(counts(predict(signal)) / len(steps) - 1)
    false_steps = [
        sum(counts(predict(make(random, 60.0).astype(np.float32))) for _ in range(MINUTES))
        / MINUTES
        for make in NEGATIVES.values()
    ]
    return Evidence(np.stack(errors, axis=1), np.stack(false_steps, axis=1))


def counts(probability: Samples) -> Array:
    """Given probabilities at 25 Hz, return how many steps each choice of thresholds finds."""
    lowest = min(choice.walking for choice in CHOICES)
    _, peaks = pick(
        Track(),
        probability,
        dataclasses.replace(PICKING, walking=lowest, resting=lowest),
        length=len(probability),
    )
    return np.array([len(count(Pace(), 0.0, peaks, choice)[1]) for choice in CHOICES], float)


def best(evidences: list[Evidence]) -> Picking:
    """Given the evidence of several walks, return the thresholds that the rule chooses by it."""
    errors = np.concatenate([evidence.errors for evidence in evidences], axis=1)
    false_steps = np.mean([evidence.false_steps for evidence in evidences], axis=0)
    return CHOICES[choose(errors, false_steps)]
