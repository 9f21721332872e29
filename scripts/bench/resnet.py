"""A network of ResNet-18's size and shape with random weights: only its cost matters here."""

from pathlib import Path

import numpy as np
import openvino as ov
from openvino import opset13 as ops

from appliance.library.checksums import write_sums

#: Channels and first stride of the four stages, two basic blocks each (He et al. 2015, table 1).
_STAGES = ((64, 1), (128, 2), (256, 2), (512, 2))
_MANIFEST = """\
manifest_version = 1
name = "resnet18-sized"
version = 1
task = "image-classification"
title = "ResNet-18-sized network with random weights, for the benchmark"
license = "Apache-2.0"
precision = "f32"
[[inputs]]
tensor = "image"
layout = "NCHW"
mean = [123.7, 116.3, 103.5]
scale = [58.4, 57.1, 57.4]
[[outputs]]
head = "class"
tensor = "class"
activation = "softmax"
"""


def write_resnet(models_directory: Path) -> Path:
    """Given a models directory, write `resnet18-sized@1` into it and return its place."""
    directory = models_directory / "resnet18-sized" / "1"
    directory.mkdir(parents=True)
    random = np.random.default_rng(18)
    image = ops.parameter([1, 3, 224, 224], np.float32, name="image")
    image.output(0).set_names({"image"})
    node = _convolution(image, random, 3, 64, size=7, stride=2)
    node = ops.max_pool(
        node, [2, 2], [1, 1], [1, 1], [1, 1], [3, 3], "floor", "explicit", "i64"
    ).output(0)
    channels = 64
    for width, stride in _STAGES:
        node = _block(node, random, channels, width, stride)
        node = _block(node, random, width, width, 1)
        channels = width
    pooled = ops.reduce_mean(node, np.array([2, 3]), keep_dims=False)
    weights = random.normal(0, 0.01, (1000, 512)).astype(np.float32)
    scores = ops.matmul(pooled, weights, False, True)
    scores.output(0).set_names({"class"})
    ov.save_model(ov.Model([scores], [image], "resnet18"), directory / "model.xml")
    (directory / "manifest.toml").write_text(_MANIFEST)
    write_sums(directory)
    return directory


def _block(node, random, inputs: int, outputs: int, stride: int):
    inner = _convolution(node, random, inputs, outputs, size=3, stride=stride)
    inner = _convolution(inner, random, outputs, outputs, size=3, stride=1, activated=False)
    if stride != 1 or inputs != outputs:
        node = _convolution(node, random, inputs, outputs, size=1, stride=stride, activated=False)
    return ops.relu(ops.add(inner, node))


def _convolution(
    node, random, inputs: int, outputs: int, *, size: int, stride: int, activated: bool = True
):
    spread = (2.0 / (inputs * size * size)) ** 0.5
    weights = random.normal(0, spread, (outputs, inputs, size, size)).astype(np.float32)
    bias = np.zeros((1, outputs, 1, 1), np.float32)
    pad = [size // 2, size // 2]
    node = ops.convolution(node, weights, [stride, stride], pad, pad, [1, 1])
    node = ops.add(node, bias)
    return ops.relu(node) if activated else node
