"""Train the step network on walks whose truth is a little late, a little early, or missing."""

from __future__ import annotations

import dataclasses

import numpy as np
import torch
from numpy.typing import NDArray
from steps_data import Walk, clean, heat
from steps_net import BEFORE, HOP, LOOKAHEAD, RATE_HZ, STRIDE, WINDOW, StepNet
from steps_synthetic import COUNTER_EXAMPLES, walking
from steps_vary import Lesson, vary
from torch.nn import functional

from appliance.tasks.step_signal import Buffer, Framing, cut

Samples = NDArray[np.float32]
Times = NDArray[np.float64]
Batch = tuple[Samples, Samples, Samples]
FRAMING = Framing(RATE_HZ, WINDOW, HOP, LOOKAHEAD, STRIDE)
#: How far the truth of one walk may be shifted as a whole, and one step by itself.
MOST_LAG_SECONDS = 0.3
MOST_SNAP_SECONDS = 0.12
#: A training window has the answers of four shipped ones: four times the truth, hardly dearer.
CORE = 4 * HOP
SPAN = BEFORE + CORE + LOOKAHEAD

MOST_OF_ONE_SIGNAL = 60


@dataclasses.dataclass(frozen=True)
class Recipe:
    """Everything that decides how a network comes out, the seed included."""

    epochs: int = 18
    align_after: tuple[int, ...] = (6, 12)
    batch: int = 64
    rate: float = 4e-3
    walk_windows: int = 3300
    variants: int = 3
    synthetic_windows: int = 500
    negative_windows: int = 3000
    negative_signals: int = 60
    #: The share of the counter-examples' windows that goes to the signals that look like steps.
    hard_share: float = 0.5
    bell_seconds: float = 0.05
    halts: float = 0.15
    counters: tuple[str, ...] = (
        "standing",
        "riding",
        "waving",
        "riding",
        "standing",
        "bouncing",
    )
    width: int = 24
    seed: int = 1


MAIN = Recipe()


def predict(net: StepNet, signal: Samples) -> Samples:
    """Given a walk [n, 3] at 50 Hz, return the step probability at 25 Hz, as the appliance."""
    _, windows, total = cut(Buffer(), signal, FRAMING, closes=True)
    net.eval()
    with torch.no_grad():
        parts = [torch.sigmoid(net(part)) for part in torch.from_numpy(windows).split(512)]
    flat = torch.cat(parts).reshape(-1).numpy() if parts else np.zeros(0, np.float32)
    return flat[: -(-total // STRIDE)]


def fit(walks: list[Walk], recipe: Recipe = MAIN) -> StepNet:
    """Given training walks, train a network and return it; their truth is aligned on the way."""
    torch.manual_seed(recipe.seed)
    random = np.random.default_rng(recipe.seed)
    net = StepNet(recipe.width)
    lessons = [Lesson(walk.signal, clean(walk.steps)) for walk in walks]
    optimiser = torch.optim.AdamW(net.parameters(), lr=recipe.rate, weight_decay=1e-3, fused=True)
    per_epoch = recipe.walk_windows + recipe.negative_windows + recipe.synthetic_windows
    batches = per_epoch // recipe.batch
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, recipe.rate, total_steps=recipe.epochs * batches
    )
    for epoch in range(recipe.epochs):
        if epoch in recipe.align_after:
            for lesson in lessons:
                lesson.steps = align(predict(net, lesson.signal), lesson.steps)
        signals, targets, weights = _epoch(random, lessons, recipe, net)
        net.train()
        for picked in torch.randperm(len(signals)).split(recipe.batch)[:batches]:
            loss = functional.binary_cross_entropy_with_logits(
                net(signals[picked]), targets[picked], weight=weights[picked]
            )
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
    return net


def align(probability: Samples, steps: Times) -> Times:
    """Given what the network thinks so far and the true step times, return the times shifted as a
    whole to where they agree best, then each moved to a clear peak close by.
    """
    rate = RATE_HZ / STRIDE
    centres = (np.arange(len(probability)) + 0.5) / rate
    lags = np.arange(-MOST_LAG_SECONDS, MOST_LAG_SECONDS + 0.01, 0.02)
    match = [np.interp(steps + lag, centres, probability).sum() for lag in lags]
    shifted = steps + lags[int(np.argmax(match))]
    fine = np.arange(-MOST_SNAP_SECONDS, MOST_SNAP_SECONDS + 0.005, 0.01)
    heights = np.interp(shifted[:, None] + fine, centres, probability)
    best = heights.argmax(axis=1)
    clear = heights.max(axis=1) > 0.3
    return np.asarray(shifted + np.where(clear, fine[best], 0.0))


def _epoch(
    random: np.random.Generator, lessons: list[Lesson], recipe: Recipe, net: StepNet
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Draw one epoch: windows [n, 3, SPAN], targets [n, CORE / 2] and weights [n, CORE / 2]."""
    parts = []
    for lesson in lessons:
        for _ in range(recipe.variants):
            signal, steps, weight = vary(random, lesson, recipe.halts)
            count = recipe.walk_windows // len(lessons) // recipe.variants
            parts.append(_windows(random, signal, steps, weight, recipe, count))
    for _ in range(10):
        walk, steps = walking(random, 20.0, halts=recipe.halts > 0)
        count = recipe.synthetic_windows // 10
        weight = np.ones(len(walk), np.float32)
        parts.append(_windows(random, walk.astype(np.float32), steps, weight, recipe, count))
    parts += _counter_examples(random, recipe, net)
    signals, targets, weights = (np.concatenate(column) for column in zip(*parts, strict=True))
    return torch.from_numpy(signals), torch.from_numpy(targets), torch.from_numpy(weights)


def _counter_examples(random: np.random.Generator, recipe: Recipe, net: StepNet) -> list[Batch]:
    """Draw windows of simulated non-walking, many of them from the few signals in which the
    network so far sees steps: what it knows already teaches it nothing.
    """
    signals = [
        COUNTER_EXAMPLES[kind](random, 12.0).astype(np.float32)
        for kind in recipe.counters
        for _ in range(recipe.negative_signals)
    ]
    net.eval()
    alarms = []
    with torch.no_grad():
        for at in range(0, len(signals), 50):
            block = np.stack(signals[at : at + 50]).transpose(0, 2, 1)
            alarms.append(torch.sigmoid(net(torch.from_numpy(block.copy()))).mean(dim=1).numpy())
    alarm = np.concatenate(alarms).astype(np.float64) + 1e-4
    chance = (1 - recipe.hard_share) / len(signals) + recipe.hard_share * alarm / alarm.sum()
    counts = np.minimum(random.multinomial(recipe.negative_windows, chance), MOST_OF_ONE_SIGNAL)
    return [
        _windows(random, signal, np.zeros(0), np.ones(len(signal), np.float32), recipe, int(count))
        for signal, count in zip(signals, counts, strict=True)
        if count
    ]


def _windows(
    random: np.random.Generator,
    signal: Samples,
    steps: Times,
    weight: Samples,
    recipe: Recipe,
    count: int,
) -> Batch:
    """Cut `count` random windows of a signal [n, 3], with targets and weights; some of them begin
    with a stretch's edge, where the appliance repeats the outermost sample.
    """
    begins = random.integers(0, len(signal) - SPAN, count)
    windows = signal[begins[:, None] + np.arange(SPAN)]
    for window in windows[random.uniform(size=count) < 0.08]:
        cut_at = random.integers(1, BEFORE)
        window[:cut_at] = window[cut_at]
    # The bell of a probability stands in the middle of the two samples it speaks for.
    middles = steps - 0.5 / RATE_HZ
    target = heat(middles, len(signal), RATE_HZ, recipe.bell_seconds)
    answers = begins[:, None] + BEFORE + STRIDE * np.arange(CORE // STRIDE)
    turned = np.ascontiguousarray(windows.transpose(0, 2, 1))
    return turned, target[answers], weight[answers]
