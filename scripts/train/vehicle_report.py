"""Measures the vehicle-type model and writes the tables of its card."""

from __future__ import annotations

import dataclasses

import torch
from torch.nn import functional
from vehicle_data import CLASS_NAMES

CALIBRATION_BINS = 15


@dataclasses.dataclass(frozen=True)
class Quality:
    """What one set of answers is worth."""

    accuracy: float
    wrong: int
    count: int
    log_loss: float
    calibration_error: float
    confusion: list[list[int]]

    def precision(self, label: int) -> float:
        """Given a class, do divide its hits by its answers and return the share."""
        answered = sum(row[label] for row in self.confusion)
        return self.confusion[label][label] / max(1, answered)

    def recall(self, label: int) -> float:
        """Given a class, do divide its hits by its pictures and return the share."""
        return self.confusion[label][label] / max(1, sum(self.confusion[label]))


def calibration_error(logits: torch.Tensor, labels: torch.Tensor) -> float:
    """Given logits and labels, do compare confidence with hits in bins; return the mean gap."""
    confidence, answer = functional.softmax(logits, 1).max(dim=1)
    hit = (answer == labels).float()
    bins = (confidence * CALIBRATION_BINS).long().clamp(max=CALIBRATION_BINS - 1)
    gap = 0.0
    for position in range(CALIBRATION_BINS):
        inside = bins == position
        if inside.any():
            distance = (confidence[inside].mean() - hit[inside].mean()).abs()
            gap += distance.item() * inside.float().mean().item()
    return gap


def judge(logits: torch.Tensor, labels: torch.Tensor) -> Quality:
    """Given logits and true labels, do measure every quality and return them."""
    answers = logits.argmax(dim=1)
    confusion = [[0] * len(CLASS_NAMES) for _ in CLASS_NAMES]
    for truth, answer in zip(labels.tolist(), answers.tolist(), strict=True):
        confusion[truth][answer] += 1
    wrong = int((answers != labels).sum())
    return Quality(
        accuracy=1 - wrong / len(labels),
        wrong=wrong,
        count=len(labels),
        log_loss=functional.cross_entropy(logits, labels).item(),
        calibration_error=calibration_error(logits, labels),
        confusion=confusion,
    )


def fit_temperature(logits: torch.Tensor, labels: torch.Tensor) -> float:
    """Given held-out logits and labels, do try temperatures in steps of 1 %.

    Return the temperature of the least log loss.
    """
    tried = [0.2 * 1.01**step for step in range(300)]
    losses = [functional.cross_entropy(logits / heat, labels).item() for heat in tried]
    return tried[losses.index(min(losses))]


def quality_row(name: str, quality: Quality) -> str:
    """Given a name and its quality, do format one table row and return it."""
    return (
        f"| {name} | {quality.accuracy * 100:.2f} % | {quality.wrong} of {quality.count} "
        f"| {quality.log_loss:.4f} | {quality.calibration_error:.4f} |"
    )


def class_table(quality: Quality) -> str:
    """Given a quality, do format precision and recall by class and return the table."""
    lines = ["| class | precision | recall |", "|---|---:|---:|"]
    for label, name in enumerate(CLASS_NAMES):
        lines.append(
            f"| {name} | {quality.precision(label) * 100:.1f} % "
            f"| {quality.recall(label) * 100:.1f} % |"
        )
    return "\n".join(lines)


def confusion_table(quality: Quality) -> str:
    """Given a quality, do format its confusion matrix and return the table."""
    lines = [
        "| true \\ answer | " + " | ".join(CLASS_NAMES) + " |",
        "|---|" + "---:|" * len(CLASS_NAMES),
    ]
    for name, row in zip(CLASS_NAMES, quality.confusion, strict=True):
        lines.append(f"| {name} | " + " | ".join(map(str, row)) + " |")
    return "\n".join(lines)
