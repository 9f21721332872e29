"""The step network: features that do not know how the phone is held, then a small temporal net."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

RATE_HZ = 50
WINDOW = 160
HOP = 16
LOOKAHEAD = 20
STRIDE = 2
BEFORE = WINDOW - HOP - LOOKAHEAD
CORES = HOP // STRIDE
#: One m/s² in feature units, and where features saturate: hits of 40 m/s² tell no more than 20.
FEATURE_SCALE = 0.1
FEATURE_LIMIT = 2.0


class StepNet(nn.Module):
    """Acceleration [N, 3, 160] in m/s² at 50 Hz in, step probability [N, 8] at 25 Hz out.

    Two strided convolutions go down to 12.5 Hz, three dilated ones there see back 1.8 s, which is
    two slow steps, and one at 25 Hz places the step. Only what the answers depend on is computed.
    """

    def __init__(self, width: int = 24) -> None:
        super().__init__()
        self.enter = nn.Conv1d(3, 16, 8, stride=2, padding=3)
        self.down = nn.Conv1d(16, width, 5, stride=2, padding=2)
        self.near = nn.Conv1d(width, width, 5)
        self.middle = nn.Conv1d(width, width, 5, dilation=3)
        self.far = nn.Conv1d(width, width, 5, dilation=7)
        self.place = nn.Conv1d(width + 16, 16, 5)
        self.decide = nn.Conv1d(16, 1, 1)

    def forward(self, acceleration: Tensor) -> Tensor:
        """Given acceleration [N, 3, 160], return the logits of a step [N, 8]."""
        fine = functional.relu(self.enter(features(acceleration)))
        coarse = functional.relu(self.down(fine))
        # The answers lie at six coarse places; each convolution eats its reach on both sides.
        first, reach = BEFORE // 4 - 1, 2 * (1 + 3 + 7)
        coarse = functional.pad(
            coarse[:, :, first - reach :], (0, first + 6 + reach - WINDOW // 4)
        )
        near = functional.relu(self.near(coarse))
        middle = functional.relu(self.middle(near)) + near[:, :, 6:-6]
        far = functional.relu(self.far(middle)) + middle[:, :, 14:-14]
        wide = far.repeat_interleave(2, dim=2)
        begin = BEFORE // 2 - 2
        joined = torch.cat((wide, fine[:, :, begin : begin + 12]), dim=1)
        return self.decide(functional.relu(self.place(joined)))[:, 0]


class StepProbability(nn.Module):
    """The network as it ships: the same, answering with probabilities."""

    def __init__(self, net: StepNet) -> None:
        super().__init__()
        self.net = net

    def forward(self, signal: Tensor) -> Tensor:
        """Given acceleration [N, 3, 160], return step probabilities [N, 8]."""
        return torch.sigmoid(self.net(signal))


def features(acceleration: Tensor) -> Tensor:
    """Given acceleration [N, 3, W] in m/s², return [N, 3, W]: up-and-down, length and sideways.

    Down is the mean of the window. None of the three changes when the phone is turned.
    """
    gravity = acceleration.mean(dim=2, keepdim=True)
    strength = (gravity.square().sum(dim=1, keepdim=True) + 1e-6).sqrt()
    vertical = (acceleration * gravity).sum(dim=1, keepdim=True) / strength
    square = acceleration.square().sum(dim=1, keepdim=True)
    length = (square + 1e-6).sqrt()
    sideways = (functional.relu(square - vertical.square()) + 1e-3).sqrt()
    length = length - length.mean(dim=2, keepdim=True)
    joined = torch.cat((vertical - strength, length, sideways), dim=1)
    return (joined * FEATURE_SCALE).clamp(-FEATURE_LIMIT, FEATURE_LIMIT)
