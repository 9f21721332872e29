"""A real OpenVINO detector, built in a test: it sees red in the middle and blue in a corner."""

from pathlib import Path
from typing import Any

from appliance.library.checksums import write_sums
from appliance.library.versions import VersionDirectory
from tests.tiny_models import save

SIZE = 64
LABELS = ("person", "fire engine")
#: Parts of the picture: left, top, right, bottom.
BOXES = ((0.25, 0.25, 0.75, 0.75), (0.0, 0.0, 0.5, 0.5))
_MANIFEST = """\
manifest_version = 1
name = "{name}"
version = 1
task = "object-detection"
title = "Two fixed boxes"
license = "Apache-2.0"
[[inputs]]
tensor = "image"
layout = "NCHW"
color_order = "RGB"
[[outputs]]
tensor = "boxes"
decoder = "ssd"
labels = "labels.txt"
[settings]
threshold = 0.3
"""


def write_detector(models_directory: Path, *, name: str = "boxes") -> VersionDirectory:
    """Write a version whose two boxes are as sure as the picture is red and blue."""
    import numpy as np

    from appliance.host.openvino_import import ov

    ops = ov.opset13
    directory = models_directory / name / "1"
    directory.mkdir(parents=True)
    image = ops.parameter([1, 3, SIZE, SIZE], np.float32, name="image")
    image.output(0).set_names({"image"})
    means = ops.divide(ops.reduce_mean(image, np.array([2, 3])), np.float32(255))
    rows = [_row(ops, means, place) for place in range(2)]
    boxes = ops.reshape(ops.concat(rows, 0), np.array([1, 1, 2, 7]), special_zero=False)
    boxes.output(0).set_names({"boxes"})
    save([boxes], [image], directory)
    (directory / "labels.txt").write_text("\n".join(LABELS) + "\n")
    (directory / "manifest.toml").write_text(_MANIFEST.format(name=name))
    (directory / "card.md").write_text("Made for tests.\n")
    write_sums(directory)
    return VersionDirectory(name, 1, directory)


def _row(ops: Any, means: Any, place: int) -> Any:
    """Return picture, class, score and corners: red is channel 0, blue channel 2."""
    import numpy as np

    channel = np.array([2 * place])
    score = ops.reshape(ops.gather(means, channel, np.array(1)), np.array([1]), special_zero=False)
    head = ops.constant(np.array([0, place], np.float32))
    return ops.concat([head, score, ops.constant(np.array(BOXES[place], np.float32))], 0)
