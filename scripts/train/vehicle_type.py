"""Trains the vehicle-type model and writes its served folder, card and drawn samples.

    python scripts/train/vehicle_type.py

trains one run with a fold held out and one for each seed, fits the temperature on the fold,
measures every seed on val and exports the run of the first seed. Finished runs are kept in the
work folder and not trained again; `--only NAME` trains just one of them.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import pathlib
import shutil
import statistics
import sys
import time

import drawn_vehicles
import numpy as np
import torch
import vehicle_card
import vehicle_export
import vehicle_report
from PIL import Image
from vehicle_augment import TURNED, AugmentStrength, augment
from vehicle_data import (
    CLASS_NAMES,
    PICTURE_SIZE_PX,
    PictureSet,
    drop_duplicates,
    normalise,
    read_pictures,
    split_fold,
)
from vehicle_fit import FitPlan, fit, predict
from vehicle_nets import VehicleNet
from vehicle_report import Quality, judge
from vehicle_seed_weights import load_detector_backbone

ROOT = pathlib.Path(__file__).resolve().parents[2]
FOLD_RUN = "fold"
SHIPPED_ROW = "shipped file on val"
FOLD_SHARE = 0.15
STATISTICS_PICTURES = 256
LARGE_SAMPLES = ("bike", "car", "truck")
CONFIDENCE_TOLERANCE = 0.05


@dataclasses.dataclass(frozen=True)
class Parts:
    """The data set's parts: all training pictures, those beside the fold, the fold, and val."""

    train: PictureSet
    rest: PictureSet
    fold: PictureSet
    val: PictureSet
    dropped: int


@dataclasses.dataclass(frozen=True)
class Run:
    """One finished training run: its net and how long it took."""

    model: VehicleNet
    minutes: float


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    """Given the command line, do parse it and return the options."""
    shared = ROOT.parent / "shared" / "data"
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--data", type=pathlib.Path, default=shared / "vehicles")
    add("--detector", type=pathlib.Path, default=shared / "models" / "yolox" / "yolox_nano.onnx")
    add("--photos", type=pathlib.Path, default=shared / "photos")
    add("--out", type=pathlib.Path, default=ROOT / "appliance/starter/vehicle-type/1")
    add("--samples", type=pathlib.Path, default=ROOT / "docs" / "samples")
    add("--work", type=pathlib.Path, default=ROOT / "build" / "vehicle-type")
    add("--seeds", type=int, nargs="+", default=[0, 1, 2])
    add("--epochs", type=int, default=24)
    add("--learning-rate", type=float, default=1e-3)
    add("--finish-epochs", type=int, default=6)
    add("--finish-rate", type=float, default=4e-4)
    add("--threads", type=int, default=1)
    add("--only", help="train just this run: 'fold' or 'seed-N'")
    return parser.parse_args(arguments)


def read_parts(folder: pathlib.Path) -> Parts:
    """Given the data set's folder, do read and split it and return the parts."""
    everything, val = read_pictures(folder / "train"), read_pictures(folder / "val")
    train = drop_duplicates(everything, val)
    rest, fold = split_fold(train, FOLD_SHARE)
    return Parts(train, rest, fold, val, len(everything.labels) - len(train.labels))


def make_plans(options: argparse.Namespace) -> dict[str, FitPlan]:
    """Given the options, do settle both stages of the recipe and return them by name.

    The first stage mixes and covers pictures; the short second one shows whole vehicles, some
    turned as in a bend.
    """
    return {
        "base": FitPlan(epochs=options.epochs, learning_rate=options.learning_rate),
        "finished": FitPlan(
            epochs=options.finish_epochs,
            learning_rate=options.finish_rate,
            average_decay=0.99,
            strength=TURNED,
        ),
    }


def first_model(train: PictureSet, options: argparse.Namespace, seed: int) -> VehicleNet:
    """Given pictures and a seed, do build the net with the detector's weights and return it."""
    torch.manual_seed(seed)
    model = VehicleNet(len(CLASS_NAMES))
    generator = torch.Generator().manual_seed(seed)
    chosen = torch.randperm(len(train.labels), generator=generator)[:STATISTICS_PICTURES]
    calm = AugmentStrength(erase_probability=0.0, mix_probability=0.0)
    targets = torch.zeros(len(chosen), len(CLASS_NAMES))
    pictures = normalise(train.pictures[chosen])
    batch, _ = augment(pictures, targets, PICTURE_SIZE_PX, calm, generator)
    load_detector_backbone(model, options.detector, batch)
    return model


def obtain_run(name: str, parts: Parts, options: argparse.Namespace) -> Run:
    """Given a run's name, do load it from the work folder or train it; return the run."""
    is_fold = name == FOLD_RUN
    seed = options.seeds[0] if is_fold else int(name.removeprefix("seed-"))
    train = parts.rest if is_fold else parts.train
    watched = parts.fold if is_fold else None
    model, minutes = None, 0.0
    for stage, plan in make_plans(options).items():
        path = options.work / f"{name}-{stage}.pt"
        if path.exists():
            saved = torch.load(path, weights_only=True)
            model = VehicleNet(len(CLASS_NAMES))
            model.load_state_dict(saved["weights"])
            minutes = saved["minutes"]
            continue
        started = time.monotonic()
        model = first_model(train, options, seed) if model is None else model
        model = fit(model, train, plan, seed, watched=watched, name=f"{name} {stage}")
        minutes += (time.monotonic() - started) / 60
        options.work.mkdir(parents=True, exist_ok=True)
        torch.save({"weights": model.state_dict(), "minutes": minutes}, path)
    return Run(model.eval(), minutes)


def stretch(path: pathlib.Path) -> torch.Tensor:
    """Given a picture file, do stretch it to the net's size and return normalised f32[3,H,W]."""
    with Image.open(path) as opened:
        picture = opened.convert("RGB").resize(
            (PICTURE_SIZE_PX, PICTURE_SIZE_PX), Image.Resampling.BICUBIC
        )
    return normalise(torch.from_numpy(np.array(picture).transpose(2, 0, 1))[None])[0]


def answer_files(xml_path: pathlib.Path, paths: list[pathlib.Path]) -> list[tuple[str, float]]:
    """Given the IR and picture files, do classify each; return (label, confidence) pairs."""
    logits = vehicle_export.predict_ir(xml_path, torch.stack([stretch(path) for path in paths]))
    shares = torch.softmax(torch.from_numpy(logits), 1)
    return [(CLASS_NAMES[int(row.argmax())], float(row.max())) for row in shares]


def write_golden(folder: pathlib.Path, samples: pathlib.Path) -> None:
    """Given the model folder, do draw its golden pictures and the large samples.

    A drawing that the model does not recognise stops the export. Return nothing.
    """
    golden = folder / "golden"
    drawn_vehicles.write_pictures(folder / "drawn")
    small = [folder / "drawn" / f"{name}.png" for name in CLASS_NAMES]
    large = [folder / "drawn" / f"{name}.jpg" for name in LARGE_SAMPLES]
    for path, (label, confidence) in zip(
        small + large, answer_files(folder / "model.xml", small + large), strict=True
    ):
        print(f"{path.name}: {label} {confidence:.3f}", file=sys.stderr)
        if label != path.stem:
            raise RuntimeError(f"{path.name} is taken for {label}")
    golden.mkdir()
    entries = []
    answers = answer_files(folder / "model.xml", small)
    for path, (label, confidence) in zip(small, answers, strict=True):
        shutil.move(path, golden / path.name)
        entries.append(_golden_entry(path.name, label, confidence))
    text = json.dumps({"samples": entries}, indent=2)
    (golden / "samples.json").write_text(text + "\n", encoding="utf-8")
    samples.mkdir(parents=True, exist_ok=True)
    for path in large:
        shutil.move(path, samples / path.name)
    shutil.rmtree(folder / "drawn")


def _golden_entry(file_name: str, label: str, confidence: float) -> dict[str, object]:
    """Given one answer, do state what the served result must hold and return it."""
    return {
        "input": file_name,
        "content_type": "image/png",
        "params": {},
        "checks": [
            {"pointer": "/predictions/0/label", "equals": label},
            {
                "pointer": "/predictions/0/confidence",
                "equals": round(confidence, 4),
                "tolerance": CONFIDENCE_TOLERANCE,
            },
        ],
    }


def describe_others(xml_path: pathlib.Path, photos: pathlib.Path) -> str:
    """Given the IR and a folder of photographs, do classify some and return a table."""
    kinds = {".jpg", ".jpeg", ".png", ".bmp"}
    paths = sorted(path for path in photos.glob("*") if path.suffix.lower() in kinds)
    if not paths:
        return "Not measured in this run: there was no folder of photographs."
    lines = [
        "Photographs that are no crops of a vehicle, to show that an answer means nothing there:",
        "",
        "| photograph | answer | confidence |",
        "|---|---|---:|",
    ]
    for path, (label, confidence) in zip(paths, answer_files(xml_path, paths), strict=True):
        lines.append(f"| {path.name} | {label} | {confidence:.2f} |")
    return "\n".join(lines)


def describe_recipe(options: argparse.Namespace) -> str:
    """Given the options, do put the recipe into words and return them."""
    lines = [
        f"AdamW under a one-cycle rate, threads: {options.threads}, f32, seeds: {options.seeds}, "
        "in two stages:",
        "",
    ]
    for stage, plan in make_plans(options).items():
        lines.append(
            f"- {stage}: {plan.epochs} epochs, batches of {plan.batch_size}, rate up to "
            f"{plan.learning_rate}, weight decay {plan.weight_decay}, label smoothing "
            f"{plan.label_smoothing}, moving average of the weights {plan.average_decay}; "
            f"{plan.strength}"
        )
    return "\n".join(lines)


def judge_runs(
    folder: pathlib.Path,
    parts: Parts,
    options: argparse.Namespace,
    runs: dict[str, Run],
    temperature: float,
) -> dict[str, Quality]:
    """Given the exported model and all runs, do measure them and return qualities by name."""
    fold_logits = predict(runs[FOLD_RUN].model, parts.fold)
    fold_labels, val_labels = parts.fold.labels, parts.val.labels
    judged = {
        "fold run on the fold, no temperature": judge(fold_logits, fold_labels),
        "fold run on the fold": judge(fold_logits / temperature, fold_labels),
    }
    for seed in options.seeds:
        logits = predict(runs[f"seed-{seed}"].model, parts.val) / temperature
        judged[f"seed {seed} on val"] = judge(logits, val_labels)
    answers = vehicle_export.predict_ir(folder / "model.xml", normalise(parts.val.pictures))
    judged[SHIPPED_ROW] = judge(torch.from_numpy(answers), val_labels)
    return judged


def write_card(
    folder: pathlib.Path,
    parts: Parts,
    options: argparse.Namespace,
    runs: dict[str, Run],
    temperature: float,
) -> None:
    """Given the exported model and all runs, do measure them and write card.md."""
    judged = judge_runs(folder, parts, options, runs, temperature)
    accuracies = [judged[f"seed {seed} on val"].accuracy * 100 for seed in options.seeds]
    seeds = [runs[f"seed-{seed}"] for seed in options.seeds]
    values: dict[str, object] = {
        "dropped": parts.dropped,
        "weights": sum(weight.numel() for weight in seeds[0].model.parameters()),
        "recipe": describe_recipe(options),
        "fold_count": len(parts.fold.labels),
        "temperature": temperature,
        "rows": "\n".join(vehicle_report.quality_row(*item) for item in judged.items()),
        "mean_accuracy": statistics.mean(accuracies),
        "deviation": statistics.stdev(accuracies) if len(accuracies) > 1 else 0.0,
        "classes": vehicle_report.class_table(judged[SHIPPED_ROW]),
        "confusion": vehicle_report.confusion_table(judged[SHIPPED_ROW]),
        "size_bytes": sum((folder / f"model.{end}").stat().st_size for end in ("bin", "xml")),
        "minutes": ", ".join(f"{run.minutes:.0f}" for run in seeds),
        "others": describe_others(folder / "model.xml", options.photos),
        **vehicle_export.measure_latency_ms(folder / "model.xml"),
    }
    text = vehicle_card.fill_card(values)
    (folder / "card.md").write_text(text, encoding="utf-8")
    print(values["rows"], file=sys.stderr)


def export(parts: Parts, options: argparse.Namespace, runs: dict[str, Run]) -> None:
    """Given every run, do write the served folder and put it in place; return nothing."""
    temperature = vehicle_report.fit_temperature(
        predict(runs[FOLD_RUN].model, parts.fold), parts.fold.labels
    )
    folder = options.out.parent / f".{options.out.name}.new"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    shipped = vehicle_export.fold_normalisation(runs[f"seed-{options.seeds[0]}"].model)
    vehicle_export.save_ir(
        vehicle_export.divide_logits(shipped, temperature), folder / "model.xml"
    )
    vehicle_export.write_manifest(folder)
    write_golden(folder, options.samples)
    write_card(folder, parts, options, runs, temperature)
    vehicle_export.write_sums(folder)
    vehicle_export.replace_folder(folder, options.out)


def main() -> None:
    """Given the command line, do train what is missing and export; return nothing."""
    options = parse_arguments()
    torch.set_num_threads(options.threads)
    torch.set_flush_denormal(True)
    torch.use_deterministic_algorithms(True)
    parts = read_parts(options.data)
    if options.only:
        obtain_run(options.only, parts, options)
        return
    names = [FOLD_RUN, *(f"seed-{seed}" for seed in options.seeds)]
    export(parts, options, {name: obtain_run(name, parts, options) for name in names})


if __name__ == "__main__":
    main()
