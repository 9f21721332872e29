"""Train the step network on walks whose truth is a little late, a little early, or missing."""

from __future__ import annotations

import dataclasses

import numpy as np
import torch
from numpy.typing import NDArray
from steps_data import Walk, clean, heat, trust
from steps_net import BEFORE, CORES, RATE_HZ, STRIDE, WINDOW, StepNet
from steps_synthetic import NEGATIVES, walking
from torch.nn import functional

from appliance.tasks.step_signal import Buffer, Framing, cut

Samples = NDArray[np.float32]
Times = NDArray[np.float64]
FRAMING = Framing(RATE_HZ, WINDOW, WINDOW - BEFORE - 20, 20, STRIDE)
#: How far the truth of one walk may be shifted as a whole, and one step by itself.
MOST_LAG_SECONDS = 0.3
MOST_SNAP_SECONDS = 0.12


@dataclasses.dataclass(frozen=True)
class Recipe:
    """Everything that decides how a network comes out, the seed included."""

    epochs: int = 24
    align_after: tuple[int, ...] = (6, 12)
    batch: int = 128
    rate: float = 4e-3
    walk_windows: int = 8000
    negative_windows: int = 5600
    synthetic_windows: int = 800
    bell_seconds: float = 0.05
    halts: float = 0.0
    counters: tuple[str, ...] = ("standing", "riding", "waving", "riding")
    width: int = 24
    seed: int = 1


MAIN = Recipe()
#: At the end, some walks begin and stop within a window, as people do.
POLISH = dataclasses.replace(
    MAIN, epochs=4, align_after=(0,), rate=8e-4, synthetic_windows=1500, halts=0.25, seed=2
)
#: At the very end, more of those who stand and fidget.
CALM = dataclasses.replace(
    POLISH,
    negative_windows=9000,
    halts=0.15,
    counters=("standing", "standing", "standing", "riding", "riding", "waving"),
    seed=3,
)


@dataclasses.dataclass
class Lesson:
    """One training walk: its signal and the truth as believed so far, in seconds."""

    signal: Samples
    steps: Times


def predict(net: StepNet, signal: Samples) -> Samples:
    """Given a walk [n, 3] at 50 Hz, return the step probability at 25 Hz, as the appliance."""
    _, windows, total = cut(Buffer(), signal, FRAMING, closes=True)
    net.eval()
    with torch.no_grad():
        parts = [torch.sigmoid(net(part)) for part in torch.from_numpy(windows).split(512)]
    flat = torch.cat(parts).reshape(-1).numpy() if parts else np.zeros(0, np.float32)
    return flat[: -(-total // STRIDE)]


def fit(
    walks: list[Walk], recipe: Recipe = MAIN, polish: Recipe = POLISH, calm: Recipe = CALM
) -> StepNet:
    """Given training walks, train a network in three stages and return it."""
    torch.manual_seed(recipe.seed)
    net = StepNet(recipe.width)
    lessons = [Lesson(walk.signal, clean(walk.steps)) for walk in walks]
    teach(net, lessons, recipe)
    teach(net, lessons, polish)
    teach(net, lessons, calm)
    return net


def teach(net: StepNet, lessons: list[Lesson], recipe: Recipe) -> None:
    """Train a network by a recipe; the truth of the lessons is aligned to it on the way."""
    random = np.random.default_rng(recipe.seed)
    optimiser = torch.optim.AdamW(net.parameters(), lr=recipe.rate, weight_decay=1e-3)
    per_epoch = recipe.walk_windows + recipe.negative_windows + recipe.synthetic_windows
    batches = per_epoch // recipe.batch
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, recipe.rate, total_steps=recipe.epochs * batches
    )
    for epoch in range(recipe.epochs):
        if epoch in recipe.align_after:
            for lesson in lessons:
                lesson.steps = align(predict(net, lesson.signal), lesson.steps)
        net.train()
        signals, targets, weights = _epoch(random, lessons, recipe)
        for picked in torch.randperm(len(signals)).split(recipe.batch)[:batches]:
            loss = functional.binary_cross_entropy_with_logits(
                net(signals[picked]), targets[picked], weight=weights[picked]
            )
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()


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
    random: np.random.Generator, lessons: list[Lesson], recipe: Recipe
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Draw one epoch: windows [n, 3, 160], targets [n, 8] and weights [n, 8]."""
    parts = []
    for lesson in lessons:
        signal, steps, weight = vary(random, lesson, recipe.halts)
        count = recipe.walk_windows // len(lessons)
        parts.append(_windows(random, signal, steps, weight, recipe, count))
    for _ in range(10):
        walk, steps = walking(random, 20.0, halts=recipe.halts > 0)
        count = recipe.synthetic_windows // 10
        weight = np.ones(len(walk), np.float32)
        parts.append(_windows(random, walk.astype(np.float32), steps, weight, recipe, count))
    for kind in recipe.counters:
        for _ in range(40):
            signal = NEGATIVES[kind](random, 10.0).astype(np.float32)
            count = recipe.negative_windows // (40 * len(recipe.counters))
            weight = np.ones(len(signal), np.float32)
            parts.append(_windows(random, signal, np.zeros(0), weight, recipe, count))
    signals, targets, weights = (np.concatenate(column) for column in zip(*parts, strict=True))
    return torch.from_numpy(signals), torch.from_numpy(targets), torch.from_numpy(weights)


def vary(
    random: np.random.Generator, lesson: Lesson, halts: float
) -> tuple[Samples, Times, Samples]:
    """Return a walk played faster or slower, with longer pauses between the landings, stronger or
    weaker, softer, sampled coarser and noisier: its signal, steps, and trust at 50 Hz.
    """
    signal = lesson.signal.astype(np.float64)
    times = (np.arange(len(signal)) + 0.5) / RATE_HZ
    slow = np.stack([np.convolve(column, np.ones(101) / 101, "same") for column in signal.T], 1)
    dawdles = random.uniform() < 0.25
    gain = float(np.exp(random.uniform(-0.5, 0.1) if dawdles else random.uniform(-0.4, 0.4)))
    is_walking, share = np.ones(len(lesson.steps), np.bool_), np.ones(len(times))
    if halts and random.uniform() < halts:
        is_walking, share = _halts(random, lesson.steps, times)
    signal = slow + (signal - slow) * (gain * share)[:, None]
    if random.uniform() < 0.4:
        soft = np.hanning(random.integers(5, 15))
        signal = np.stack([np.convolve(c, soft / soft.sum(), "same") for c in signal.T], 1)
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


def _windows(
    random: np.random.Generator,
    signal: Samples,
    steps: Times,
    weight: Samples,
    recipe: Recipe,
    count: int,
) -> tuple[Samples, Samples, Samples]:
    """Cut `count` random windows of a signal [n, 3], with targets and weights; some of them begin
    with a stretch's edge, where the appliance repeats the outermost sample.
    """
    begins = random.integers(0, len(signal) - WINDOW, count)
    windows = signal[begins[:, None] + np.arange(WINDOW)]
    for window in windows[random.uniform(size=count) < 0.08]:
        cut_at = random.integers(1, BEFORE)
        window[:cut_at] = window[cut_at]
    # The bell of a probability stands in the middle of the two samples it speaks for.
    middles = steps - 0.5 / RATE_HZ
    target = heat(middles, len(signal), RATE_HZ, recipe.bell_seconds)
    answers = begins[:, None] + BEFORE + STRIDE * np.arange(CORES)
    turned = np.ascontiguousarray(windows.transpose(0, 2, 1))
    return turned, target[answers], weight[answers]
