"""Networks of the vehicle-type model: the student that ships and the teachers it learns from."""

from __future__ import annotations

import torch
from torch import nn


class ConvBlock(nn.Module):
    """Convolution, batch normalisation and an optional activation."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: int = 3,
        stride: int = 1,
        *,
        groups: int = 1,
        activation: str = "relu",
    ) -> None:
        """Given the sizes of one convolution, do build it with its normalisation."""
        super().__init__()
        self.conv = nn.Conv2d(
            in_channels, out_channels, kernel, stride, kernel // 2, groups=groups, bias=False
        )
        self.norm = nn.BatchNorm2d(out_channels)
        kinds = {"relu": nn.ReLU, "silu": nn.SiLU, "none": nn.Identity}
        self.activation = kinds[activation]()

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Given NCHW features, do apply the block and return the new features."""
        return self.activation(self.norm(self.conv(features)))


class ResidualBlock(nn.Module):
    """Two plain 3x3 convolutions and a shortcut."""

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        """Given the channel counts and the stride, do build the block."""
        super().__init__()
        self.first = ConvBlock(in_channels, out_channels, 3, stride)
        self.second = ConvBlock(out_channels, out_channels, activation="none")
        steps: list[nn.Module] = []
        if stride > 1:
            steps.append(nn.AvgPool2d(stride, ceil_mode=True))
        if in_channels != out_channels:
            steps.append(ConvBlock(in_channels, out_channels, 1, activation="none"))
        self.shortcut = nn.Sequential(*steps)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Given NCHW features, do apply both paths and return their rectified sum."""
        return torch.relu(self.second(self.first(features)) + self.shortcut(features))


class ResidualStudent(nn.Module):
    """A small plain residual net for 100x100 pictures."""

    def __init__(
        self,
        stem: tuple[tuple[int, int], ...],
        blocks: tuple[tuple[int, int], ...],
        class_count: int,
        dropout: float = 0.1,
    ) -> None:
        """Given (channels, stride) of the stem and blocks, do build the net."""
        super().__init__()
        layers: list[nn.Module] = []
        channels = 3
        for out_channels, stride in stem:
            layers.append(ConvBlock(channels, out_channels, 3, stride))
            channels = out_channels
        for out_channels, stride in blocks:
            layers.append(ResidualBlock(channels, out_channels, stride))
            channels = out_channels
        self.features = nn.Sequential(*layers)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(channels, class_count)

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        """Given normalised pictures f32[N,3,H,W], do classify and return logits f32[N,classes]."""
        pooled = self.features(pictures).mean(dim=(2, 3))
        return self.head(self.dropout(pooled))


class SeparableBlock(nn.Module):
    """A depthwise and a pointwise convolution, as in the nano detector's backbone."""

    def __init__(self, in_channels: int, out_channels: int, stride: int = 1) -> None:
        """Given the channel counts and the stride, do build the block."""
        super().__init__()
        self.depthwise = ConvBlock(
            in_channels, in_channels, 3, stride, groups=in_channels, activation="silu"
        )
        self.pointwise = ConvBlock(in_channels, out_channels, 1, activation="silu")

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Given NCHW features, do apply the block and return the new features."""
        return self.pointwise(self.depthwise(features))


class Bottleneck(nn.Module):
    """A pointwise and a separable convolution with an optional shortcut."""

    def __init__(self, channels: int, *, shortcut: bool) -> None:
        """Given the channel count, do build the block."""
        super().__init__()
        self.reduce = ConvBlock(channels, channels, 1, activation="silu")
        self.mix = SeparableBlock(channels, channels)
        self.shortcut = shortcut

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Given NCHW features, do apply the block and return the new features."""
        mixed = self.mix(self.reduce(features))
        return mixed + features if self.shortcut else mixed


class SplitStage(nn.Module):
    """A cross-stage-partial stage: half the channels go through bottlenecks."""

    def __init__(self, channels: int, depth: int, *, shortcut: bool = True) -> None:
        """Given the channel count and the number of bottlenecks, do build the stage."""
        super().__init__()
        half = channels // 2
        self.main = ConvBlock(channels, half, 1, activation="silu")
        self.side = ConvBlock(channels, half, 1, activation="silu")
        self.chain = nn.Sequential(*(Bottleneck(half, shortcut=shortcut) for _ in range(depth)))
        self.merge = ConvBlock(channels, channels, 1, activation="silu")

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Given NCHW features, do apply both halves and return the merged features."""
        return self.merge(torch.cat((self.chain(self.main(features)), self.side(features)), 1))


class PyramidPool(nn.Module):
    """Max pools of 5, 9 and 13 cells beside the features themselves."""

    def __init__(self, channels: int) -> None:
        """Given the channel count, do build the block."""
        super().__init__()
        half = channels // 2
        self.reduce = ConvBlock(channels, half, 1, activation="silu")
        self.pools = nn.ModuleList(nn.MaxPool2d(size, 1, size // 2) for size in (5, 9, 13))
        self.merge = ConvBlock(half * 4, channels, 1, activation="silu")

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Given NCHW features, do pool at four sizes and return the merged features."""
        reduced = self.reduce(features)
        return self.merge(torch.cat([reduced, *(pool(reduced) for pool in self.pools)], 1))


class DetectorBackbone(nn.Module):
    """The YOLOX-nano backbone (CSPDarknet, depthwise) with a classification head."""

    def __init__(self, class_count: int, dropout: float = 0.1, *, last_stage: int = 5) -> None:
        """Given the class count, do build the net; stages after last_stage are left out."""
        super().__init__()
        self.stem = ConvBlock(12, 16, 3, activation="silu")
        stages: list[nn.Module] = [
            nn.Sequential(SeparableBlock(16, 32, 2), SplitStage(32, 1)),
            nn.Sequential(SeparableBlock(32, 64, 2), SplitStage(64, 3)),
            nn.Sequential(SeparableBlock(64, 128, 2), SplitStage(128, 3)),
            nn.Sequential(
                SeparableBlock(128, 256, 2), PyramidPool(256), SplitStage(256, 1, shortcut=False)
            ),
        ]
        self.stages = nn.Sequential(*stages[: last_stage - 1])
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(16 * 2 ** (last_stage - 1), class_count)

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        """Given normalised pictures f32[N,3,H,W], do classify and return logits f32[N,classes]."""
        corners = (
            pictures[..., 0::2, 0::2],
            pictures[..., 1::2, 0::2],
            pictures[..., 0::2, 1::2],
            pictures[..., 1::2, 1::2],
        )
        features = self.stages(self.stem(torch.cat(corners, 1)))
        return self.head(self.dropout(features.mean(dim=(2, 3))))
