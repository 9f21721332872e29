"""Real OpenVINO models small enough to be built in a test: they name a picture's strongest colour."""

import json
from pathlib import Path

from appliance.library.checksums import write_sums
from appliance.library.versions import VersionDirectory

COLOURS = ("red", "green", "blue")

_MANIFEST = """\
manifest_version = 1
name = "{name}"
version = {version}
task = "image-classification"
title = "Strongest colour"
license = "Apache-2.0"
precision = "f32"
[[inputs]]
tensor = "image"
layout = "NCHW"
color_order = "{color_order}"
mean = [127.5, 127.5, 127.5]
scale = [127.5, 127.5, 127.5]
[[outputs]]
head = "colour"
tensor = "colour"
labels = "labels.txt"
activation = "softmax"
"""


def write_colour_model(
    models_directory: Path,
    *,
    name: str = "colour",
    version: int = 1,
    labels: tuple[str, ...] = COLOURS,
    color_order: str = "RGB",
    golden_label: str | None = None,
    size: int = 8,
    dynamic_batch: bool = False,
    factor: float = 10.0,
) -> VersionDirectory:
    """Write a version whose three scores are the mean of each channel times `factor`."""
    import numpy as np
    import openvino as ov
    from openvino import opset13 as ops

    directory = models_directory / name / str(version)
    directory.mkdir(parents=True)
    batch = -1 if dynamic_batch else 1
    image = ops.parameter([batch, 3, size, size], np.float32, name="image")
    image.output(0).set_names({"image"})
    scores = ops.multiply(
        ops.reduce_mean(image, np.array([2, 3]), keep_dims=False), np.float32(factor)
    )
    scores.output(0).set_names({"colour"})
    ov.save_model(ov.Model([scores], [image], name), directory / "model.xml", compress_to_fp16=False)
    (directory / "labels.txt").write_text("\n".join(labels) + "\n")
    (directory / "manifest.toml").write_text(
        _MANIFEST.format(name=name, version=version, color_order=color_order)
    )
    (directory / "card.md").write_text("Made for tests.\n")
    _write_golden(directory, golden_label or labels[0])
    write_sums(directory)
    return VersionDirectory(name, version, directory)


def picture(colour: str = "red", *, size: int = 16, format: str = "PNG") -> bytes:
    """Return a picture all of one colour, encoded."""
    import io

    from PIL import Image

    buffer = io.BytesIO()
    Image.new("RGB", (size, size), colour).save(buffer, format)
    return buffer.getvalue()


def _write_golden(directory: Path, label: str) -> None:
    golden = directory / "golden"
    golden.mkdir()
    (golden / "red.png").write_bytes(picture("red"))
    sample = {
        "input": "red.png",
        "content_type": "image/png",
        "checks": [{"pointer": "/predictions/0/label", "equals": label}],
    }
    (golden / "samples.json").write_text(json.dumps({"samples": [sample]}))
