"""Random changes to a whole batch of pictures at once, as tensors."""

from __future__ import annotations

import dataclasses
import math

import torch
from torch.nn import functional


@dataclasses.dataclass(frozen=True)
class AugmentStrength:
    """How far each random change may go; all are drawn uniformly within plus or minus."""

    rotation_degrees: float = 10.0
    log_zoom: float = 0.18
    log_stretch: float = 0.12
    shear: float = 0.10
    shift_share: float = 0.10
    log_gain: float = 0.35
    log_channel_gain: float = 0.10
    offset: float = 0.35
    log_saturation: float = 0.7
    noise: float = 0.08
    erase_probability: float = 0.3
    soften_probability: float = 0.2
    mix_probability: float = 0.3


TURNED = AugmentStrength(
    rotation_degrees=35.0,
    log_zoom=0.12,
    log_stretch=0.08,
    shear=0.06,
    shift_share=0.06,
    log_gain=0.25,
    offset=0.25,
    log_saturation=0.5,
    soften_probability=0.1,
    erase_probability=0.0,
    mix_probability=0.0,
)


def _uniform(count: int, limit: float, generator: torch.Generator) -> torch.Tensor:
    """Given a count and a limit, do draw from [-limit, limit] and return f32[count]."""
    return (torch.rand(count, generator=generator) * 2 - 1) * limit


def warp(
    batch: torch.Tensor, size_px: int, strength: AugmentStrength, generator: torch.Generator
) -> torch.Tensor:
    """Given pictures, do flip, turn, zoom, stretch, shear and shift each; return them resized."""
    count = batch.shape[0]
    angle = _uniform(count, math.radians(strength.rotation_degrees), generator)
    zoom = torch.exp(_uniform(count, strength.log_zoom, generator))
    stretch = torch.exp(_uniform(count, strength.log_stretch, generator))
    shear = _uniform(count, strength.shear, generator)
    mirror = (torch.rand(count, generator=generator) < 0.5).float() * 2 - 1
    across, down = zoom * stretch, zoom / stretch
    theta = torch.zeros(count, 2, 3)
    theta[:, 0, 0] = torch.cos(angle) * across * mirror
    theta[:, 0, 1] = (-torch.sin(angle) + shear) * down
    theta[:, 1, 0] = torch.sin(angle) * across * mirror
    theta[:, 1, 1] = torch.cos(angle) * down
    theta[:, :, 2] = _uniform(count * 2, strength.shift_share * 2, generator).view(count, 2)
    grid = functional.affine_grid(theta, [count, 3, size_px, size_px], align_corners=False)
    return functional.grid_sample(
        batch, grid, mode="bilinear", padding_mode="reflection", align_corners=False
    )


def recolour(
    batch: torch.Tensor, strength: AugmentStrength, generator: torch.Generator
) -> torch.Tensor:
    """Given normalised pictures, do change light, colour and noise and return them."""
    count = batch.shape[0]
    gain = _uniform(count, strength.log_gain, generator).view(count, 1, 1, 1)
    tint = _uniform(count * 3, strength.log_channel_gain, generator).view(count, 3, 1, 1)
    offset = _uniform(count, strength.offset, generator).view(count, 1, 1, 1)
    saturation = torch.exp(_uniform(count, strength.log_saturation, generator))
    grey = batch.mean(dim=1, keepdim=True)
    batch = grey + (batch - grey) * saturation.view(count, 1, 1, 1)
    centre = batch.mean(dim=(1, 2, 3), keepdim=True)
    batch = (batch - centre) * torch.exp(gain + tint) + centre + offset
    sigma = torch.rand(count, generator=generator).view(count, 1, 1, 1) * strength.noise
    batch = batch + torch.randn(batch.shape, generator=generator) * sigma
    return batch.clamp(-2.0, 2.0)


def soften(
    batch: torch.Tensor, strength: AugmentStrength, generator: torch.Generator
) -> torch.Tensor:
    """Given pictures, do blur a few of them as a far or unsteady camera would; return them."""
    chosen = torch.rand(batch.shape[0], generator=generator) < strength.soften_probability
    if chosen.any():
        size_px = batch.shape[-1]
        few = functional.interpolate(batch[chosen], scale_factor=0.6, mode="area")
        batch[chosen] = functional.interpolate(few, size=(size_px, size_px), mode="bilinear")
    return batch


def erase(
    batch: torch.Tensor, strength: AugmentStrength, generator: torch.Generator
) -> torch.Tensor:
    """Given pictures, do cover a random box of some with one random colour; return them."""
    size_px = batch.shape[-1]
    draws = torch.rand(batch.shape[0], 8, generator=generator).tolist()
    for picture, draw in zip(batch, draws, strict=True):
        if draw[0] < strength.erase_probability:
            height, width = (int(size_px * (0.1 + 0.25 * side)) for side in draw[1:3])
            top, left = int(draw[3] * (size_px - height)), int(draw[4] * (size_px - width))
            colour = torch.tensor(draw[5:8]).view(3, 1, 1) * 3 - 1.5
            picture[:, top : top + height, left : left + width] = colour
    return batch


def mix(
    batch: torch.Tensor,
    targets: torch.Tensor,
    strength: AugmentStrength,
    generator: torch.Generator,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Given pictures and soft targets, do blend or paste pairs; return both mixed."""
    draws = torch.rand(5, generator=generator).tolist()
    if draws[0] >= strength.mix_probability:
        return batch, targets
    order = torch.randperm(batch.shape[0], generator=generator)
    share = 0.5 + 0.5 * draws[1]
    if draws[2] < 0.5:
        batch = batch * share + batch[order] * (1 - share)
        return batch, targets * share + targets[order] * (1 - share)
    size_px = batch.shape[-1]
    side = int(size_px * math.sqrt(1 - share))
    top, left = int(draws[3] * (size_px - side)), int(draws[4] * (size_px - side))
    batch = batch.clone()
    batch[:, :, top : top + side, left : left + side] = batch[
        order, :, top : top + side, left : left + side
    ]
    share = 1 - side * side / (size_px * size_px)
    return batch, targets * share + targets[order] * (1 - share)


def augment(
    batch: torch.Tensor,
    targets: torch.Tensor,
    size_px: int,
    strength: AugmentStrength,
    generator: torch.Generator,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Given normalised pictures and soft targets, do every random change; return both."""
    batch = warp(batch, size_px, strength, generator)
    batch = recolour(batch, strength, generator)
    batch = soften(batch, strength, generator)
    batch = erase(batch, strength, generator)
    return mix(batch, targets, strength, generator)
