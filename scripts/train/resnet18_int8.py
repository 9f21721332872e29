"""Trains a ResNet-18 on the vehicle pictures, to see what INT8 costs a network of that size.

    python scripts/train/resnet18_int8.py

It is not shipped: it goes through `appliance model install` and `appliance model quantise` as a
model of a user would, and docs/evaluate.md says what came out. Seven minutes of one core: the
pictures are small and the epochs few. More stages, each at a size of its own, follow each other;
each leaves an IR in the folder of its size. The accuracy itself is of no interest.
"""

from __future__ import annotations

import argparse
import copy
import pathlib
import sys
import time

import openvino
import torch
from resnet18_net import ResNet18
from torch import nn
from vehicle_augment import AugmentStrength
from vehicle_data import CLASS_NAMES, PictureSet, drop_duplicates, read_pictures
from vehicle_fit import FitPlan, fit, predict

ROOT = pathlib.Path(__file__).resolve().parents[2]
#: Flips, shifts, a little zoom, light and colour: nothing that a few epochs could not learn.
STRENGTH = AugmentStrength(
    rotation_degrees=5.0,
    log_zoom=0.10,
    log_stretch=0.05,
    shear=0.03,
    shift_share=0.06,
    log_gain=0.2,
    offset=0.2,
    log_saturation=0.4,
    noise=0.03,
    erase_probability=0.0,
    soften_probability=0.0,
    mix_probability=0.0,
)


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    """Given the command line, do parse it and return the options."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--data", type=pathlib.Path, default=ROOT.parent / "shared" / "data" / "vehicles")
    add("--work", type=pathlib.Path, default=ROOT / "build" / "resnet18")
    add("--stages", nargs="+", default=["64x6:2e-3"])
    add("--seed", type=int, default=0)
    add("--threads", type=int, default=1)
    return parser.parse_args(arguments)


def parse_stage(text: str) -> FitPlan:
    """Given SIZExEPOCHS:RATE, do read it and return the plan."""
    size, _, rest = text.partition("x")
    epochs, _, rate = rest.partition(":")
    return FitPlan(
        epochs=int(epochs),
        learning_rate=float(rate),
        average_decay=0.99,
        size_px=int(size),
        strength=STRENGTH,
    )


def obtain_stage(
    model: nn.Module, number: int, options: argparse.Namespace, train: PictureSet, val: PictureSet
) -> nn.Module:
    """Given the model so far, do load or train one stage and return the model after it."""
    text = options.stages[number]
    path = options.work / f"stage-{number}-{text.replace(':', '-')}.pt"
    if path.exists():
        model.load_state_dict(torch.load(path, weights_only=True))
        return model
    model = fit(model, train, parse_stage(text), options.seed + number, watched=val, name=text)
    options.work.mkdir(parents=True, exist_ok=True)
    torch.save(model.state_dict(), path)
    return model


def save_ir(model: nn.Module, size_px: int, folder: pathlib.Path) -> None:
    """Given a trained net and its input's size, do write IR (f32) and labels; return nothing."""
    folder.mkdir(parents=True, exist_ok=True)
    plain = copy.deepcopy(model).eval().to(memory_format=torch.contiguous_format)
    converted = openvino.convert_model(plain, example_input=torch.zeros(1, 3, size_px, size_px))
    converted.reshape([1, 3, size_px, size_px])
    converted.input(0).get_tensor().set_names({"image"})
    converted.output(0).get_tensor().set_names({"type"})
    openvino.save_model(converted, folder / "model.xml", compress_to_fp16=False)
    (folder / "labels.txt").write_text("".join(f"{n}\n" for n in CLASS_NAMES), encoding="utf-8")


def main() -> None:
    """Given the command line, do train what is missing and export; return nothing."""
    options = parse_arguments()
    torch.set_num_threads(options.threads)
    torch.set_flush_denormal(True)
    torch.manual_seed(options.seed)
    val = read_pictures(options.data / "val")
    train = drop_duplicates(read_pictures(options.data / "train"), val)
    model: nn.Module = ResNet18(len(CLASS_NAMES))
    weights = sum(one.numel() for one in model.parameters())
    print(f"{weights:,} weights, {len(train.labels)} pictures", file=sys.stderr)
    for number, text in enumerate(options.stages):
        started = time.monotonic()
        model = obtain_stage(model, number, options, train, val)
        size_px = parse_stage(text).size_px
        right = (predict(model, val, size_px).argmax(1) == val.labels).float().mean().item()
        seconds = time.monotonic() - started
        print(f"{text}: {right:.4f} of val right, {seconds:.0f} s", file=sys.stderr, flush=True)
        save_ir(model, size_px, options.work / str(size_px))


if __name__ == "__main__":
    main()
