"""Train, validate and export `step-detector`; reads `steps/oxford` and `steps/phone`.

    OMP_NUM_THREADS=1 PYTHONPATH=. python scripts/train/steps.py --data ../shared/data/steps

Needs torch, openvino, numpy and msgspec. Every network is kept in `--work` and not trained again.
Only `oxford` is trained on; `phone` is measured. About 25 minutes of one idle core, twice that
with `--carriers`. The stages of the shipped network were trained in separate runs, so that a new
run gives one like it, not the same bits.
"""

from __future__ import annotations

import argparse
import dataclasses
import pathlib
import sys

import numpy as np
import torch
from numpy.typing import NDArray

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))

from steps_card import Findings, card
from steps_data import PHONE_RATE_HZ, Walk, read_oxford, read_phone
from steps_export import export
from steps_fit import MAIN, fit, predict
from steps_net import StepNet
from steps_score import PICKING, count_errors, found, offset, simulated, speed

HERE = pathlib.Path(__file__).resolve()
STARTER = HERE.parents[2] / "appliance" / "starter" / "step-detector" / "1"
FOLDS = 6
WALKING = (0.1, 0.15, 0.2, 0.25, 0.3, 0.4)
RESTING = (0.4, 0.5, 0.6)
Samples = NDArray[np.float32]


def main() -> None:
    """Run the whole course: validation by walks and by carriers, the final network, its card."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=pathlib.Path, required=True)
    parser.add_argument("--work", type=pathlib.Path, default=pathlib.Path("build/steps"))
    parser.add_argument("--carriers", action="store_true", help="validate by user and phone too")
    parser.add_argument("--out", type=pathlib.Path, default=STARTER)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    arguments.work.mkdir(parents=True, exist_ok=True)
    walks = read_oxford(arguments.data / "oxford" / "optimisation")
    by_walk = {walk.name: str(number % FOLDS) for number, walk in enumerate(walks)}
    by_carrier = {walk.name: walk.group for walk in walks}
    net = trained(walks, arguments.work / "final.pt")
    unseen = held_out(walks, by_walk, arguments.work)
    stranger = held_out(walks, by_carrier, arguments.work) if arguments.carriers else {}
    lag = float(np.round(offset(walks, [found(unseen[walk.name]) for walk in walks]), 3))
    picking = dataclasses.replace(PICKING, lag_seconds=lag)
    findings = Findings(
        walks=walks,
        fixed=[found(unseen[walk.name], picking) for walk in walks],
        nested=nested(walks, unseen, by_walk),
        strangers=[found(stranger[walk.name], picking) for walk in walks if stranger],
        phone={
            rate: [
                (walk, found(predict(net, walk.signal), picking))
                for walk in read_phone(arguments.data / "phone", rate)
            ]
            for rate in (PHONE_RATE_HZ, 100.0)
        },
        simulated=simulated(lambda signal: found(predict(net, signal), picking)),
        speed={},
        picking=picking,
    )
    export(net, picking, arguments.out, card(findings))
    findings.speed.update(speed(arguments.out / "model.xml"))
    export(net, picking, arguments.out, card(findings))


def held_out(walks: list[Walk], fold_of: dict[str, str], work: pathlib.Path) -> dict[str, Samples]:
    """Return the probabilities of every walk from a network that saw no walk of its fold."""
    predicted = {}
    for fold in sorted(set(fold_of.values())):
        seen = [walk for walk in walks if fold_of[walk.name] != fold]
        net = trained(seen, work / f"without-{fold}.pt")
        for walk in walks:
            if fold_of[walk.name] == fold:
                predicted[walk.name] = predict(net, walk.signal)
    return predicted


def trained(walks: list[Walk], path: pathlib.Path) -> StepNet:
    """Return a network trained on walks from the file where it is already there."""
    if not path.exists():
        torch.save(fit(walks).state_dict(), path)
        print(path, flush=True)
    net = StepNet(MAIN.width)
    net.load_state_dict(torch.load(path))
    return net


def nested(
    walks: list[Walk], predicted: dict[str, Samples], fold_of: dict[str, str]
) -> list[NDArray[np.float64]]:
    """Return the steps of every walk with the thresholds that are best for the walks of the other
    folds, each predicted by a network that had not seen it.
    """
    pickings = [
        dataclasses.replace(PICKING, walking=walking, resting=resting)
        for walking in WALKING
        for resting in RESTING
    ]
    steps = [[found(predicted[walk.name], picking) for walk in walks] for picking in pickings]
    errors = np.array([np.abs(count_errors(walks, each)) for each in steps])
    chosen = []
    for number, walk in enumerate(walks):
        others = [fold_of[other.name] != fold_of[walk.name] for other in walks]
        chosen.append(steps[int(np.argmin(errors[:, others].mean(axis=1)))][number])
    return chosen


if __name__ == "__main__":
    main()
