"""Training and measuring loops of the vehicle-type model."""

from __future__ import annotations

import copy
import dataclasses
import sys
import time

import torch
from torch import nn
from torch.nn import functional
from vehicle_augment import AugmentStrength, augment
from vehicle_data import CLASS_NAMES, PICTURE_SIZE_PX, PictureSet, normalise


@dataclasses.dataclass(frozen=True)
class FitPlan:
    """Everything that one training run depends on besides its pictures and first weights."""

    epochs: int
    learning_rate: float
    batch_size: int = 64
    weight_decay: float = 0.05
    label_smoothing: float = 0.05
    average_decay: float = 0.998
    size_px: int = PICTURE_SIZE_PX
    strength: AugmentStrength = dataclasses.field(default_factory=AugmentStrength)


class WeightAverage:
    """An exponential moving average of a model's weights and statistics."""

    def __init__(self, model: nn.Module, decay: float) -> None:
        """Given a model, do start the average from its present weights."""
        self.model = copy.deepcopy(model).eval()
        self.decay = decay
        self.updates = 0

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        """Given the model after a step, do move the average towards it."""
        self.updates += 1
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        for mean, now in zip(
            self.model.state_dict().values(), model.state_dict().values(), strict=True
        ):
            if mean.dtype.is_floating_point:
                mean.lerp_(now, 1 - decay)
            else:
                mean.copy_(now)


def soft_loss(logits: torch.Tensor, targets: torch.Tensor, smoothing: float) -> torch.Tensor:
    """Given logits and soft targets, do smooth the targets and return the mean cross entropy."""
    smoothed = targets * (1 - smoothing) + smoothing / targets.shape[1]
    return -(smoothed * functional.log_softmax(logits, 1)).sum(1).mean()


def split_parameters(model: nn.Module, weight_decay: float) -> list[dict[str, object]]:
    """Given a model, do separate weights that decay from the rest; return optimiser groups."""
    decayed = [weight for weight in model.parameters() if weight.ndim > 1]
    others = [weight for weight in model.parameters() if weight.ndim <= 1]
    return [
        {"params": decayed, "weight_decay": weight_decay},
        {"params": others, "weight_decay": 0.0},
    ]


def fit(
    model: nn.Module,
    train: PictureSet,
    plan: FitPlan,
    seed: int,
    *,
    watched: PictureSet | None = None,
    name: str = "model",
) -> nn.Module:
    """Given a model, pictures and a plan, do train it; return the averaged model."""
    generator = torch.Generator().manual_seed(seed)
    torch.manual_seed(seed)
    model = model.to(memory_format=torch.channels_last).train()
    steps_per_epoch = len(train.labels) // plan.batch_size
    optimiser, schedule = make_optimiser(model, plan, plan.epochs * steps_per_epoch)
    average = WeightAverage(model, plan.average_decay)
    started = time.monotonic()
    for epoch in range(plan.epochs):
        order = torch.randperm(len(train.labels), generator=generator)
        loss_sum = 0.0
        for step in range(steps_per_epoch):
            chosen = order[step * plan.batch_size : (step + 1) * plan.batch_size]
            batch = (normalise(train.pictures[chosen]), train.labels[chosen])
            loss_sum += _step(model, batch, plan, generator, optimiser)
            schedule.step()
            average.update(model)
        if epoch % 5 == 4 or epoch + 1 == plan.epochs:
            note = f"{name} epoch {epoch + 1}/{plan.epochs} loss {loss_sum / steps_per_epoch:.4f}"
            if watched is not None:
                answers = predict(average.model, watched, plan.size_px)
                right = answers.argmax(1) == watched.labels
                note += f" held-out {right.float().mean().item():.4f}"
            print(f"{note} {time.monotonic() - started:.0f} s", file=sys.stderr, flush=True)
    return average.model


def make_optimiser(
    model: nn.Module, plan: FitPlan, total_steps: int
) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.OneCycleLR]:
    """Given a model and a plan, do set up AdamW under a one-cycle rate; return both."""
    optimiser = torch.optim.AdamW(
        split_parameters(model, plan.weight_decay), lr=plan.learning_rate
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser,
        plan.learning_rate,
        total_steps=total_steps,
        pct_start=0.2,
        div_factor=10,
        final_div_factor=1000,
    )
    return optimiser, schedule


def _step(
    model: nn.Module,
    batch: tuple[torch.Tensor, torch.Tensor],
    plan: FitPlan,
    generator: torch.Generator,
    optimiser: torch.optim.Optimizer,
) -> float:
    """Given one batch, do change it at random and take one optimiser step; return the loss."""
    targets = functional.one_hot(batch[1], len(CLASS_NAMES)).float()
    pictures, targets = augment(batch[0], targets, plan.size_px, plan.strength, generator)
    pictures = pictures.contiguous(memory_format=torch.channels_last)
    loss = soft_loss(model(pictures), targets, plan.label_smoothing)
    optimiser.zero_grad(set_to_none=True)
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), 5.0)
    optimiser.step()
    return loss.item()


@torch.no_grad()
def predict(
    model: nn.Module, pictures: PictureSet, size_px: int = PICTURE_SIZE_PX
) -> torch.Tensor:
    """Given a model, pictures and the size to stretch them to, do classify them all.

    Return logits f32[N,classes].
    """
    model.eval()
    answers: list[torch.Tensor] = []
    for part in pictures.pictures.split(128):
        batch = normalise(part)
        if size_px != batch.shape[-1]:
            batch = functional.interpolate(batch, size=(size_px, size_px), mode="bilinear")
        batch = batch.contiguous(memory_format=torch.channels_last)
        answers.append(model(batch))
    return torch.cat(answers)
