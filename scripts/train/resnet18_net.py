"""ResNet-18 as everybody has it: 11 million weights, 1.8 GFLOP for a picture of 224x224."""

from __future__ import annotations

import torch
from torch import nn

STAGE_CHANNELS = (64, 128, 256, 512)


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions with a shortcut (He et al. 2015, figure 5, left)."""

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        """Given the channel counts and the stride, do build the block."""
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, stride, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(out_channels)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, 1, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(out_channels)
        # Begun as the identity, a block learns from the first step on.
        nn.init.zeros_(self.norm2.weight)
        self.shortcut: nn.Module = nn.Identity()
        if stride > 1 or in_channels != out_channels:
            self.shortcut = nn.Sequential(
                nn.Conv2d(in_channels, out_channels, 1, stride, bias=False),
                nn.BatchNorm2d(out_channels),
            )

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Given NCHW features, do apply the block and return the new features."""
        inner = torch.relu(self.norm1(self.conv1(features)))
        return torch.relu(self.norm2(self.conv2(inner)) + self.shortcut(features))


class ResNet18(nn.Module):
    """A 7x7 stem, four stages of two blocks, the mean over the picture and one linear layer."""

    def __init__(self, class_count: int) -> None:
        """Given the class count, do build the net."""
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(3, STAGE_CHANNELS[0], 7, 2, 3, bias=False),
            nn.BatchNorm2d(STAGE_CHANNELS[0]),
            nn.ReLU(),
            nn.MaxPool2d(3, 2, 1),
        )
        blocks: list[nn.Module] = []
        before = STAGE_CHANNELS[0]
        for channels in STAGE_CHANNELS:
            blocks += [
                ResidualBlock(before, channels, 1 if channels == STAGE_CHANNELS[0] else 2),
                ResidualBlock(channels, channels, 1),
            ]
            before = channels
        self.stages = nn.Sequential(*blocks)
        self.head = nn.Linear(before, class_count)
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        """Given normalised pictures f32[N,3,H,W], do classify and return logits f32[N,classes]."""
        return self.head(self.stages(self.stem(pictures)).mean(dim=(2, 3)))
