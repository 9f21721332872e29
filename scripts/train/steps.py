"""Train, validate and export `step-detector`; reads `steps/oxford` and `steps/phone`.

    OMP_NUM_THREADS=1 PYTHONPATH=. python scripts/train/steps.py --data ../shared/data/steps

Needs torch, openvino, numpy and msgspec. Every network is kept in `--work` and not trained again,
so that a run that was killed goes on where it was. Only `oxford` is trained on; `phone` is
measured. About a minute of one idle core for each of 23 networks, five more with `--carriers`.
`--keep-network` leaves the network in `--out` as it is, and writes all that is said about it. The
stages of the shipped one were trained in separate runs: a new run gives one like it, not its bits.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import pathlib
import sys

import numpy as np
import torch
from numpy.typing import NDArray

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
Times = NDArray[np.float64]


def main() -> None:
    """Run the whole course: validation walk by walk, the thresholds, the network, its card."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=pathlib.Path, required=True)
    parser.add_argument("--work", type=pathlib.Path, default=pathlib.Path("build/steps"))
    parser.add_argument("--only-ready", action="store_true", help="validate by what is trained")
    parser.add_argument("--carriers", action="store_true", help="validate by user and phone too")
    parser.add_argument("--keep-network", action="store_true", help="export no new one")
    parser.add_argument("--out", type=pathlib.Path, default=STARTER)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    arguments.work.mkdir(parents=True, exist_ok=True)
    walks = read_oxford(arguments.data / "oxford" / "optimisation")
    ready = [walk for walk in walks if (arguments.work / f"without-{walk.name}.pt").exists()]
    findings = validated(
        ready if arguments.only_ready else walks,
        walks,
        arguments.work,
        by_carrier=arguments.carriers,
    )
    if not arguments.keep_network:
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


def validated(
    walks: list[Walk], all_walks: list[Walk], work: pathlib.Path, *, by_carrier: bool
) -> Findings:
    """Return what is found on every walk by a network that has seen all but it: with the
    thresholds that these walks choose together, and with those that the others of them choose.
    """
    nets = held_out(walks, all_walks, {walk.name: walk.name for walk in all_walks}, work)
    unseen = [predict(nets[walk.name], walk.signal) for walk in walks]
    evidences = [
        gather(lambda signal, net=nets[walk.name]: predict(net, signal), walk, number)
        for number, walk in enumerate(walks)
    ]
    picking = best(evidences)
    late = offset(walks, [found(probability, picking) for probability in unseen])
    picking = dataclasses.replace(picking, lag_seconds=float(np.round(late, 3)))
    others = [best(evidences[:n] + evidences[n + 1 :]) for n in range(len(walks))]
    strangers: list[Times] = []
    if by_carrier:
        nets = held_out(walks, all_walks, {walk.name: walk.group for walk in all_walks}, work)
        strangers = [found(predict(nets[walk.name], walk.signal), picking) for walk in walks]
    return Findings(
        walks=walks,
        all_walks=all_walks,
        fixed=[found(probability, picking) for probability in unseen],
        nested=[
            found(probability, choice) for probability, choice in zip(unseen, others, strict=True)
        ],
        nested_pickings=others,
        strangers=strangers,
        picking=picking,
    )


def held_out(
    walks: list[Walk], all_walks: list[Walk], group_of: dict[str, str], work: pathlib.Path
) -> dict[str, StepNet]:
    """Return for every walk a network that saw all of them but those of its group."""
    nets = {}
    for group in sorted({group_of[walk.name] for walk in walks}):
        seen = [walk for walk in all_walks if group_of[walk.name] != group]
        net = trained(seen, work / f"without-{group}.pt")
        nets.update({walk.name: net for walk in walks if group_of[walk.name] == group})
    return nets


def trained(walks: list[Walk], path: pathlib.Path) -> StepNet:
    """Return a network trained on walks from the file where it is already there."""
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
