"""Writes a trained vehicle-type net as a served model folder (OpenVINO IR and manifest)."""

from __future__ import annotations

import copy
import hashlib
import os
import pathlib
import shutil
import statistics
import time

import numpy as np
import openvino
import torch
from torch import nn
from vehicle_data import CLASS_NAMES, PICTURE_SIZE_PX, PIXEL_MEAN, PIXEL_SCALE
from vehicle_nets import ConvBlock

MANIFEST = """\
manifest_version = 1
name = "vehicle-type"
version = 1
task = "image-classification"
title = "Vehicle type"
description = "{description}"
license = "Apache-2.0"
credit = "{credit}"
precision = "f32"

[[inputs]]
tensor = "image"
layout = "NCHW"
color_order = "RGB"
mean = [{mean}]
scale = [{scale}]
resize = "stretch"

[[outputs]]
head = "type"
tensor = "type"
labels = "labels.txt"
activation = "softmax"
"""
DESCRIPTION = (
    "Type of the one vehicle in a traffic-camera crop: "
    "bike, car, juggernaut, minibus, pickup or truck."
)
CREDIT = (
    "Trained on the vehicle pictures of Zenodo record 6634554 (CC BY 4.0), "
    "doi.org/10.5281/zenodo.6634554. First weights: the backbone of YOLOX-nano (Megvii, "
    "Apache-2.0)."
)


def fold_normalisation(model: nn.Module) -> nn.Module:
    """Given a trained net, do merge every batch normalisation into its convolution.

    Return a new net that computes the same.
    """
    merged = copy.deepcopy(model).eval()
    for block in merged.modules():
        if isinstance(block, ConvBlock) and isinstance(block.norm, nn.BatchNorm2d):
            block.conv = nn.utils.fuse_conv_bn_eval(block.conv, block.norm)
            block.norm = nn.Identity()
    return merged


@torch.no_grad()
def divide_logits(model: nn.Module, temperature: float) -> nn.Module:
    """Given a net and a temperature, do divide its logits by it; return the same net."""
    model.head.weight.div_(temperature)
    model.head.bias.div_(temperature)
    return model


def save_ir(model: nn.Module, xml_path: pathlib.Path) -> None:
    """Given a trained net, do write it as OpenVINO IR with f16 weights; return nothing."""
    merged = fold_normalisation(model).to(memory_format=torch.contiguous_format)
    example = torch.zeros(1, 3, PICTURE_SIZE_PX, PICTURE_SIZE_PX)
    converted = openvino.convert_model(merged, example_input=example)
    converted.reshape([1, 3, PICTURE_SIZE_PX, PICTURE_SIZE_PX])
    for port, name in ((converted.input(0), "image"), (converted.output(0), "type")):
        port.get_tensor().set_names({name})
        port.get_node().set_friendly_name(name if name == "image" else "type_logits")
    openvino.save_model(converted, xml_path, compress_to_fp16=True)


def write_sums(folder: pathlib.Path) -> None:
    """Given a model folder, do write SHA256SUMS over all its other files; return nothing."""
    lines = []
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.name != "SHA256SUMS":
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
            lines.append((path.relative_to(folder).as_posix(), digest))
    text = "".join(f"{digest}  {name}\n" for name, digest in sorted(lines))
    (folder / "SHA256SUMS").write_text(text, encoding="utf-8")


def write_manifest(folder: pathlib.Path) -> None:
    """Given a model folder, do write manifest.toml and labels.txt; return nothing."""
    text = MANIFEST.format(
        description=DESCRIPTION,
        credit=CREDIT,
        mean=", ".join(map(str, PIXEL_MEAN)),
        scale=", ".join(map(str, PIXEL_SCALE)),
    )
    (folder / "manifest.toml").write_text(text, encoding="utf-8")
    (folder / "labels.txt").write_text("".join(f"{n}\n" for n in CLASS_NAMES), encoding="utf-8")


def replace_folder(new: pathlib.Path, target: pathlib.Path) -> None:
    """Given a finished folder, do put it in place of the target by renaming; return nothing."""
    target.parent.mkdir(parents=True, exist_ok=True)
    old = target.parent / f".{target.name}.old-{os.getpid()}"
    if target.exists():
        target.rename(old)
    new.rename(target)
    shutil.rmtree(old, ignore_errors=True)


def compile_ir(xml_path: pathlib.Path) -> openvino.CompiledModel:
    """Given an IR file, do compile it for one CPU thread in f32; return the compiled model."""
    settings = {
        "INFERENCE_NUM_THREADS": 1,
        "NUM_STREAMS": 1,
        "INFERENCE_PRECISION_HINT": "f32",
    }
    return openvino.Core().compile_model(xml_path, "CPU", settings)


def predict_ir(xml_path: pathlib.Path, pictures: torch.Tensor) -> np.ndarray:
    """Given an IR file and normalised pictures, do run them one by one; return their logits."""
    request = compile_ir(xml_path).create_infer_request()
    rows = [request.infer([row[None].numpy()])["type"].copy() for row in pictures]
    return np.concatenate(rows)


def measure_latency_ms(xml_path: pathlib.Path, runs: int = 2000) -> dict[str, float]:
    """Given an IR file, do time single pictures on one thread; return the median and 90 %."""
    request = compile_ir(xml_path).create_infer_request()
    shape = (1, 3, PICTURE_SIZE_PX, PICTURE_SIZE_PX)
    picture = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    times_ms = []
    for _ in range(runs):
        started = time.perf_counter()
        request.infer([picture], share_inputs=True)
        times_ms.append((time.perf_counter() - started) * 1000)
    times_ms = times_ms[runs // 10 :]
    return {
        "median_ms": statistics.median(times_ms),
        "p90_ms": statistics.quantiles(times_ms, n=10)[-1],
        "min_ms": min(times_ms),
    }
