"""Write a trained step network as a model version of the appliance's library."""

from __future__ import annotations

import csv
import hashlib
import json
import pathlib

import numpy as np
import openvino
import torch
from numpy.typing import NDArray
from steps_net import HOP, LOOKAHEAD, RATE_HZ, STRIDE, WINDOW, StepNet, StepProbability
from steps_synthetic import GRAVITY, standing, waving

from appliance.tasks.step_events import Picking

MANIFEST = """\
manifest_version = 1
name = "step-detector"
version = 1
task = "step-detection"
title = "Steps from a motion sensor, however it is carried"
description = "A small temporal network over 5 s of acceleration; see card.md."
license = "Apache-2.0"
credit = "Trained on the Oxford step counter data set (Salvi et al., 2018), CC BY 4.0, \
https://github.com/Oxford-step-counter/DataSet"
precision = "f32"

[[inputs]]
tensor = "signal"
layout = "NCW"

[[outputs]]
head = "step"
tensor = "probability"
activation = "none"

[settings]
"""


def export(net: StepNet, directory: pathlib.Path) -> None:
    """Given a network, write it into the directory of a version."""
    directory.mkdir(parents=True, exist_ok=True)
    model = StepProbability(net).eval()
    example = torch.zeros(2, 3, WINDOW)
    shape = openvino.PartialShape([-1, 3, WINDOW])
    converted = openvino.convert_model(
        model, example_input=example, input=[("signal", shape, openvino.Type.f32)]
    )
    converted.inputs[0].get_tensor().set_names({"signal"})
    converted.outputs[0].get_tensor().set_names({"probability"})
    openvino.save_model(converted, directory / "model.xml", compress_to_fp16=True)


def describe(picking: Picking, directory: pathlib.Path, card: str, seed: int = 7) -> None:
    """Given how to pick the peaks of the network in a directory, and its card, write every other
    file of the version.
    """
    settings = {
        "rate_hz": RATE_HZ,
        "window": WINDOW,
        "hop": HOP,
        "lookahead": LOOKAHEAD,
        "stride": STRIDE,
        "reach": picking.reach,
        "walking": picking.walking,
        "resting": picking.resting,
        "rhythm_seconds": picking.rhythm_seconds,
        "early_share": picking.early_share,
        "lag_seconds": picking.lag_seconds,
    }
    lines = [f"{name} = {value}" for name, value in settings.items()]
    (directory / "manifest.toml").write_text(MANIFEST + "\n".join(lines) + "\n")
    (directory / "card.md").write_text(card)
    write_golden(directory / "golden", np.random.default_rng(seed))
    write_sums(directory)


def write_golden(directory: pathlib.Path, random: np.random.Generator) -> None:
    """Write made-up signals and what must come of them: 20 steps, and none in the others."""
    directory.mkdir(exist_ok=True)
    signals = {
        "walk.csv": (plain_walk(random, 20), 20, 1),
        "standing.csv": (standing(random, 12.0), 0, 0),
        "waving.csv": (waving(random, 12.0), 0, 1),
    }
    samples = []
    for name, (signal, steps, tolerance) in signals.items():
        _write_csv(directory / name, signal)
        check = {"pointer": "/step_count", "equals": steps, "tolerance": tolerance}
        samples.append(
            {"input": name, "content_type": "text/csv", "params": {}, "checks": [check]}
        )
    (directory / "samples.json").write_text(json.dumps({"samples": samples}, indent=2) + "\n")


def plain_walk(random: np.random.Generator, steps: int) -> NDArray[np.float64]:
    """Return [n, 3] m/s² at 50 Hz of someone who stands 3 s, takes steps of 0.52 s, stands 3 s;
    the phone is tilted.
    """
    time = np.arange(int((6 + steps * 0.52) * RATE_HZ)) / RATE_HZ
    landings = 3.0 + 0.52 * np.arange(steps)
    since = time[:, None] - landings
    # A landing pushes up sharply, and the body falls before and after it.
    push = 4.0 * np.exp(-((since / 0.07) ** 2)) - 1.4 * np.exp(-(((since + 0.2) / 0.1) ** 2))
    sway = 0.8 * np.sin(2 * np.pi * (time - 3.0) / 1.04) * ((time > 2.8) & (time < time[-1] - 3))
    signal = np.stack([sway, np.zeros_like(sway), GRAVITY + push.sum(axis=1)], axis=1)
    tilt = 0.6
    turn = np.array([[1, 0, 0], [0, np.cos(tilt), -np.sin(tilt)], [0, np.sin(tilt), np.cos(tilt)]])
    return np.asarray(signal @ turn.T + random.normal(0, 0.05, signal.shape))


def write_sums(directory: pathlib.Path) -> None:
    """Write SHA256SUMS of every file below a directory, in the format of sha256sum."""
    paths = sorted(path for path in directory.rglob("*") if path.is_file())
    lines = [
        f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.relative_to(directory)}"
        for path in paths
        if path.name != "SHA256SUMS"
    ]
    (directory / "SHA256SUMS").write_text("\n".join(lines) + "\n")


def _write_csv(path: pathlib.Path, signal: NDArray[np.float64]) -> None:
    with path.open("w", newline="") as lines:
        writer = csv.writer(lines, lineterminator="\n")
        writer.writerow(("t", "ax", "ay", "az"))
        for number, row in enumerate(signal.tolist()):
            writer.writerow((f"{number / RATE_HZ:.2f}", *(f"{value:.3f}" for value in row)))
