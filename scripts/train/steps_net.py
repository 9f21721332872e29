"""The step network: features that do not know how the phone is held, then a small temporal net."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

RATE_HZ = 50
WINDOW = 256
HOP = 16
LOOKAHEAD = 20
STRIDE = 2
BEFORE = WINDOW - HOP - LOOKAHEAD
#: One m/s² in feature units, and where features saturate: hits of 40 m/s² tell no more than 20.
FEATURE_SCALE = 0.1
FEATURE_LIMIT = 2.0
#: Down is the mean over blocks of four samples: 25 of them, 2 s, the last five of them ahead.
BLOCK = 4
BLOCKS = 25
BLOCKS_AHEAD = 5


class StepNet(nn.Module):
    """Acceleration [N, 3, 256] in m/s² at 50 Hz in, step probability [N, 8] at 25 Hz out.

    Two strided convolutions go down to 12.5 Hz, four dilated ones there see back 4.2 s, which is
    six slow steps, and one at 25 Hz places the step. Only what the answers depend on is computed.
    A longer window gets more answers, all but its first 4.4 s and its last 0.4 s.
    """

    def __init__(self, width: int = 24) -> None:
        super().__init__()
        self.enter = nn.Conv1d(3, 16, 8, stride=2, padding=3)
        self.down = nn.Conv1d(16, width, 5, stride=2, padding=2)
        self.near = nn.Conv1d(width, width, 5)
        self.middle = nn.Conv1d(width, width, 5, dilation=2)
        self.far = nn.Conv1d(width, width, 5, dilation=6)
        self.farther = nn.Conv1d(width, width, 3, dilation=10)
        self.place = nn.Conv1d(width + 16, 16, 5)
        self.decide = nn.Conv1d(16, 1, 1)

    def forward(self, acceleration: Tensor) -> Tensor:
        """Given acceleration [N, 3, W], return the logits of a step [N, (W - 240) / 2]."""
        return self.answers(features(acceleration, _down(acceleration)))

    def answers(self, seen: Tensor) -> Tensor:
        """Given features [N, 3, W], return the logits of a step [N, (W - 240) / 2]."""
        fine = functional.relu(self.enter(seen))
        coarse = functional.relu(self.down(fine))
        # The coarse places of the answers and one on each side. The first two convolutions look
        # as far ahead as there is; the last two only back.
        core = seen.shape[2] - BEFORE - LOOKAHEAD
        first, count = BEFORE // 4 - 1, core // 4 + 2
        back, ahead = 2 + 6 + 24 + 20, 2 + 2
        coarse = coarse[:, :, first - back : first + count + ahead]
        near = functional.relu(self.near(coarse)) + coarse[:, :, 2:-2]
        middle = functional.relu(self.middle(near)) + near[:, :, 6:-2]
        far = functional.relu(self.far(middle)) + middle[:, :, 24:]
        farther = functional.relu(self.farther(far)) + far[:, :, 20:]
        wide = farther.repeat_interleave(2, dim=2)
        begin = BEFORE // 2 - 2
        joined = torch.cat((wide, fine[:, :, begin : begin + 2 * count]), dim=1)
        return self.decide(functional.relu(self.place(joined)))[:, 0]


class StepProbability(nn.Module):
    """The network as it ships: the same for one window, answering with probabilities.

    The moving mean is a matrix here, which is what the appliance's runtime multiplies fastest.
    """

    smoothing: Tensor

    def __init__(self, net: StepNet) -> None:
        super().__init__()
        self.net = net
        blocks = torch.eye(WINDOW // BLOCK).repeat_interleave(BLOCK, dim=1)
        self.register_buffer("smoothing", _down(blocks[:, None])[:, 0].contiguous())

    def forward(self, signal: Tensor) -> Tensor:
        """Given acceleration [N, 3, 256], return step probabilities [N, 8]."""
        blocks = signal.reshape(-1, 3, WINDOW // BLOCK, BLOCK).mean(dim=3)
        down = torch.matmul(blocks, self.smoothing)
        return torch.sigmoid(self.net.answers(features(signal, down)))


def features(acceleration: Tensor, gravity: Tensor) -> Tensor:
    """Given acceleration and where down is, [N, 3, W] in m/s², return [N, 3, W]: up-and-down,
    length and sideways.

    None of the three changes when the phone is turned, nor much while it is being turned.
    """
    strength = (gravity.square().sum(dim=1, keepdim=True) + 1e-6).sqrt()
    vertical = (acceleration * gravity).sum(dim=1, keepdim=True) / strength
    square = acceleration.square().sum(dim=1, keepdim=True)
    length = (square + 1e-6).sqrt()
    sideways = (functional.relu(square - vertical.square()) + 1e-3).sqrt()
    joined = torch.cat((vertical - strength, length - strength, sideways), dim=1)
    return (joined * FEATURE_SCALE).clamp(-FEATURE_LIMIT, FEATURE_LIMIT)


def _down(acceleration: Tensor) -> Tensor:
    """Return [N, 3, W] the mean of acceleration from 1.5 s before to 0.5 s after each sample, of
    what there is. Nothing beyond the lookahead counts, so the answers of windows agree.
    """
    blocks = functional.avg_pool1d(acceleration, BLOCK, BLOCK)
    half = BLOCKS // 2
    means = functional.avg_pool1d(blocks, BLOCKS, 1, half, count_include_pad=False)
    late = half - BLOCKS_AHEAD
    first = means[:, :, :1].expand(-1, -1, late)
    return torch.cat((first, means[:, :, :-late]), dim=2).repeat_interleave(BLOCK, dim=2)
