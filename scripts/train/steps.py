"""Train, validate and export `step-detector`; reads `steps/oxford` and `steps/phone`.

    OMP_NUM_THREADS=1 PYTHONPATH=. python scripts/train/steps.py --data ../shared/data/steps

Needs torch, openvino, numpy and msgspec. Every network is kept in `--work` and not trained again,
so that a run that was killed goes on where it was. Only `oxford` is trained on; `phone` is
measured. A minute of one idle core for each of 23 networks. Seeds are fixed: the same versions on
the same kind of processor give the same network.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import pathlib
import sys

import numpy as np
import torch

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))

from steps_card import Findings, card
from steps_data import PHONE_RATE_HZ, Walk, read_oxford, read_phone
from steps_evidence import best, gather
from steps_export import describe, export
from steps_fit import MAIN, fit, predict
from steps_net import StepNet
from steps_score import answering, found, offset, simulated, speed

HERE = pathlib.Path(__file__).resolve()
STARTER = HERE.parents[2] / "appliance" / "starter" / "step-detector" / "1"


def main() -> None:
    """Run the whole course: validation walk by walk, the thresholds, the network, its card."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=pathlib.Path, required=True)
    parser.add_argument("--work", type=pathlib.Path, default=pathlib.Path("build/steps"))
    parser.add_argument("--out", type=pathlib.Path, default=STARTER)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    arguments.work.mkdir(parents=True, exist_ok=True)
    walks = read_oxford(arguments.data / "oxford" / "optimisation")
    findings = validated(walks, arguments.work)
    export(trained(walks, arguments.work / "final.pt"), arguments.out)
    answer, picking = answering(arguments.out / "model.xml"), findings.picking
    findings.phone = {
        rate: [
            (walk, found(answer(walk.signal), picking))
            for walk in read_phone(arguments.data / "phone", rate)
        ]
        for rate in (PHONE_RATE_HZ, 100.0)
    }
    findings.simulated = simulated(lambda signal: found(answer(signal), picking))
    findings.speed = speed(arguments.out / "model.xml")
    describe(picking, arguments.out, card(findings))


def validated(walks: list[Walk], work: pathlib.Path) -> Findings:
    """Return what is found on every walk by a network that has seen all but it: with the
    thresholds that the walks choose together, and with those that all but it choose.
    """
    nets = [
        trained([other for other in walks if other is not walk], work / f"without-{walk.name}.pt")
        for walk in walks
    ]
    unseen = [predict(net, walk.signal) for net, walk in zip(nets, walks, strict=True)]
    evidences = [
        gather(lambda signal, net=net: predict(net, signal), walk, number)
        for number, (net, walk) in enumerate(zip(nets, walks, strict=True))
    ]
    picking = best(evidences)
    late = offset(walks, [found(probability, picking) for probability in unseen])
    picking = dataclasses.replace(picking, lag_seconds=float(np.round(late, 3)))
    others = [best(evidences[:n] + evidences[n + 1 :]) for n in range(len(walks))]
    return Findings(
        walks=walks,
        fixed=[found(probability, picking) for probability in unseen],
        nested=[
            found(probability, choice) for probability, choice in zip(unseen, others, strict=True)
        ],
        nested_pickings=others,
        picking=picking,
    )


def trained(walks: list[Walk], path: pathlib.Path) -> StepNet:
    """Return a network trained on walks, from its file where that is already there."""
    if not path.exists():
        part = path.with_suffix(".part")
        torch.save(fit(walks).state_dict(), part)
        os.replace(part, path)
        print(path, flush=True)
    net = StepNet(MAIN.width)
    net.load_state_dict(torch.load(path))
    return net


if __name__ == "__main__":
    main()
