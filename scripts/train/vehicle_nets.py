"""The vehicle-type network: the backbone of the YOLOX-nano detector, made faster, and a head."""

from __future__ import annotations

import torch
from torch import nn

ACTIVATIONS = {"silu": nn.SiLU, "hardswish": nn.Hardswish, "relu": nn.ReLU}


class ConvBlock(nn.Module):
    """Convolution, batch normalisation and activation."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: int = 1,
        stride: int = 1,
        *,
        groups: int = 1,
        activation: str,
    ) -> None:
        """Given the sizes of one convolution, do build it with its normalisation."""
        super().__init__()
        padding = (kernel - 1) // 2
        self.conv = nn.Conv2d(
            in_channels, out_channels, kernel, stride, padding, groups=groups, bias=False
        )
        self.norm = nn.BatchNorm2d(out_channels)
        self.activation = ACTIVATIONS[activation]()

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Given NCHW features, do apply the block and return the new features."""
        return self.activation(self.norm(self.conv(features)))


class SeparableBlock(nn.Sequential):
    """A depthwise and a pointwise convolution."""

    def __init__(
        self, in_channels: int, out_channels: int, stride: int = 1, *, activation: str
    ) -> None:
        """Given the channel counts and the stride, do build the block."""
        super().__init__(
            ConvBlock(
                in_channels, in_channels, 3, stride, groups=in_channels, activation=activation
            ),
            ConvBlock(in_channels, out_channels, activation=activation),
        )


class Bottleneck(nn.Module):
    """A pointwise and a separable convolution with an optional shortcut."""

    def __init__(self, channels: int, *, shortcut: bool, activation: str) -> None:
        """Given the channel count, do build the block."""
        super().__init__()
        self.mix = nn.Sequential(
            ConvBlock(channels, channels, activation=activation),
            SeparableBlock(channels, channels, activation=activation),
        )
        self.shortcut = shortcut

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Given NCHW features, do apply the block and return the new features."""
        mixed = self.mix(features)
        return mixed + features if self.shortcut else mixed


class SplitStage(nn.Module):
    """A cross-stage-partial stage: half the channels go through bottlenecks."""

    def __init__(
        self, channels: int, depth: int, *, shortcut: bool = True, activation: str
    ) -> None:
        """Given the channel count and the number of bottlenecks, do build the stage."""
        super().__init__()
        half = channels // 2
        self.main = ConvBlock(channels, half, activation=activation)
        self.side = ConvBlock(channels, half, activation=activation)
        self.chain = nn.Sequential(
            *(Bottleneck(half, shortcut=shortcut, activation=activation) for _ in range(depth))
        )
        self.merge = ConvBlock(channels, channels, activation=activation)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Given NCHW features, do apply both halves and return the merged features."""
        return self.merge(torch.cat((self.chain(self.main(features)), self.side(features)), 1))


class PyramidPool(nn.Module):
    """Max pools of 5, 9 and 13 cells beside the features themselves.

    On the 4x4 map of a 100x100 picture the pools of 9 and of 13 cells both see everything, so
    one global maximum stands for the two: the same result for less work.
    """

    def __init__(self, channels: int, *, activation: str) -> None:
        """Given the channel count, do build the block."""
        super().__init__()
        half = channels // 2
        self.reduce = ConvBlock(channels, half, activation=activation)
        self.pool = nn.MaxPool2d(5, 1, 2)
        self.merge = ConvBlock(half * 3, channels, activation=activation)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Given NCHW features, do pool at three sizes and return the merged features."""
        reduced = self.reduce(features)
        whole = torch.amax(reduced, dim=(2, 3), keepdim=True).expand_as(reduced)
        return self.merge(torch.cat((reduced, self.pool(reduced), whole), 1))


class VehicleNet(nn.Module):
    """The YOLOX-nano backbone (CSPDarknet, depthwise) with a classification head."""

    def __init__(
        self, class_count: int, *, activation: str = "hardswish", dropout: float = 0.1
    ) -> None:
        """Given the class count and the activation, do build the net."""
        super().__init__()
        self.stem = ConvBlock(3, 16, 6, 2, activation=activation)
        stages: list[nn.Module] = []
        for channels, depth in ((32, 1), (64, 3), (128, 3), (256, 1)):
            stages.append(SeparableBlock(channels // 2, channels, 2, activation=activation))
            if channels == 256:
                stages.append(PyramidPool(channels, activation=activation))
            stages.append(
                SplitStage(channels, depth, shortcut=channels < 256, activation=activation)
            )
        self.stages = nn.Sequential(*stages)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(256, class_count)

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        """Given normalised pictures f32[N,3,H,W], do classify and return logits f32[N,classes]."""
        features = self.stages(self.stem(pictures))
        return self.head(self.dropout(features.mean(dim=(2, 3))))
