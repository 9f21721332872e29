"""Choose the two thresholds by one rule that sees training walks only; needs nothing but numpy.

The mean error of the count on ordinary walks hardly depends on the thresholds, so that it says
little about a walk unlike them. The rule therefore adds up what comes of every bar that the
detector has to keep under, each as a share of it: the mean error, that of the worst quarter of all
trials, and the false steps of each kind of simulated non-walking. The trials are the training
walks and what the augmentation makes of them (slower, dawdling, softer, halting), each judged by a
network that has not seen the walk.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
#: The share of the trials that are the worst ones.
WORST_SHARE = 0.25
#: The bars: the error of the count on average and of the worst, and false steps a minute.
MEAN_BAR = 0.03
WORST_BAR = 0.08
FALSE_STEPS_BAR = 1.0


def choose(errors: Array, false_steps: Array) -> int:
    """Given the relative errors of the count [choice, trial] and false steps a minute [choice,
    kind], return the choice for which the mean error, that of the worst quarter and the false
    steps of each kind, all as shares of their bars, have the least sum.
    """
    sizes = np.sort(np.abs(errors), axis=1)
    worst = sizes[:, -max(1, round(WORST_SHARE * errors.shape[1])) :]
    cost = sizes.mean(axis=1) / MEAN_BAR + worst.mean(axis=1) / WORST_BAR
    return int(np.argmin(cost + false_steps.sum(axis=1) / FALSE_STEPS_BAR))
