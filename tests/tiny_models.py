"""Real OpenVINO models, built in a test: they name a picture's strongest colour."""

import io
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from appliance.library.checksums import write_sums
from appliance.library.versions import VersionDirectory

COLOURS = ("red", "green", "blue")

_MANIFEST = """\
manifest_version = 1
name = "{name}"
version = {version}
task = "{task}"
title = "Strongest colour"
license = "Apache-2.0"
precision = "{precision}"
[[inputs]]
tensor = "image"
layout = "NCHW"
color_order = "{color_order}"
mean = {mean}
scale = {scale}
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
    precision: str = "f32",
    task: str = "image-classification",
    mean: tuple[float, ...] = (127.5, 127.5, 127.5),
    scale: tuple[float, ...] = (127.5, 127.5, 127.5),
    has_golden: bool = True,
) -> VersionDirectory:
    """Write a version whose three scores are the mean of each channel times `factor`."""
    import numpy as np

    from appliance.host.openvino_import import ov

    ops = ov.opset13

    directory = models_directory / name / str(version)
    directory.mkdir(parents=True)
    channels = 1 if color_order == "GRAY" else 3
    batch = -1 if dynamic_batch else 1
    image = ops.parameter([batch, channels, size, size], np.float32, name="image")
    image.output(0).set_names({"image"})
    scores = ops.multiply(
        ops.reduce_mean(image, np.array([2, 3]), keep_dims=False), np.float32(factor)
    )
    scores.output(0).set_names({"colour"})
    save([scores], [image], directory)
    (directory / "labels.txt").write_text("\n".join(labels) + "\n")
    (directory / "manifest.toml").write_text(
        _MANIFEST.format(
            name=name,
            version=version,
            task=task,
            precision=precision,
            color_order=color_order,
            mean=list(mean),
            scale=list(scale),
        )
    )
    (directory / "card.md").write_text("Made for tests.\n")
    if has_golden:
        _write_golden(directory, golden_label or labels[0])
    write_sums(directory)
    return VersionDirectory(name, version, directory)


def save(outputs: list[Any], inputs: list[Any], directory: Path) -> None:
    """Write a graph as the version's model.xml and model.bin, with its weights as they are."""
    from appliance.host.openvino_import import ov

    model = ov.Model(outputs, inputs, directory.parent.name)
    ov.save_model(model, directory / "model.xml", compress_to_fp16=False)


def write_two_headed_model(models_directory: Path, *, name: str = "vehicle") -> VersionDirectory:
    """Write a version with a head for the strongest colour and one for light or dark."""
    import numpy as np

    from appliance.host.openvino_import import ov

    ops = ov.opset13

    place = write_colour_model(models_directory, name=name, has_golden=False)
    image = ops.parameter([1, 3, 8, 8], np.float32, name="image")
    image.output(0).set_names({"image"})
    colour = ops.reduce_mean(image, np.array([2, 3]), keep_dims=False)
    colour.output(0).set_names({"colour"})
    light = ops.reduce_mean(image, np.array([1, 2, 3]), keep_dims=False)
    both = ops.concat(
        [ops.unsqueeze(light, np.array(1)), ops.unsqueeze(ops.negative(light), np.array(1))], 1
    )
    both.output(0).set_names({"brightness"})
    save([colour, both], [image], place.directory)
    with (place.directory / "manifest.toml").open("a") as file:
        file.write(
            '[[outputs]]\nhead = "brightness"\ntensor = "brightness"\nlabels = "light.txt"\n'
            'activation = "sigmoid"\n'
        )
    (place.directory / "light.txt").write_text("light\ndark\n")
    write_sums(place.directory)
    return place


def write_hungry_model(models_directory: Path, *, name: str, megabytes: int) -> VersionDirectory:
    """Write a version that needs that much memory for every inference."""
    import numpy as np

    from appliance.host.openvino_import import ov

    ops = ov.opset13

    place = write_colour_model(models_directory, name=name, has_golden=False)
    image = ops.parameter([1, 3, 8, 8], np.float32, name="image")
    image.output(0).set_names({"image"})
    flat = ops.reshape(image, np.array([192, 1]), special_zero=False)
    columns = megabytes * 1024 * 1024 // 4 // 192
    # It depends on the picture, so that nothing is folded when the model is compiled.
    wide = ops.matmul(
        flat,
        ops.broadcast(ops.reduce_mean(flat, np.array([0, 1]), True), np.array([1, columns])),
        False,
        False,
    )
    total = ops.reduce_max(ops.softmax(wide, 1), np.array([0, 1]), keep_dims=True)
    scores = ops.concat([total, total, total], 1)
    scores.output(0).set_names({"colour"})
    save([scores], [image], place.directory)
    write_sums(place.directory)
    return place


def change(place: VersionDirectory, name: str, edit: Callable[[bytes], bytes]) -> None:
    """Change one file of a version and sign it again, as if it had been imported like that."""
    path = place.directory / name
    path.write_bytes(edit(path.read_bytes()))
    write_sums(place.directory)


def substitute(pattern: str, replacement: str) -> Callable[[bytes], bytes]:
    """Return an edit that replaces the first match of a pattern, which must be there."""

    def edit(content: bytes) -> bytes:
        changed, count = re.subn(pattern.encode(), replacement.encode(), content, count=1)
        assert count == 1, pattern
        return changed

    return edit


def picture(
    colour: str | tuple[int, int, int] = "red", *, size: int = 16, format: str = "PNG"
) -> bytes:
    """Return a picture all of one colour, encoded."""
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


_DETECTOR = """\
manifest_version = 1
name = "{name}"
version = {version}
task = "object-detection"
title = "Red and blue quarters"
license = "Apache-2.0"
[[inputs]]
tensor = "image"
layout = "NCHW"
resize = "{resize}"
pad_value = 0
pad_position = "{pad_position}"
[[outputs]]
tensor = "boxes"
decoder = "yolov8"
labels = "labels.txt"
"""


def write_detector_model(
    models_directory: Path,
    *,
    name: str = "quarters",
    version: int = 1,
    resize: str = "stretch",
    pad_position: str = "center",
    factor: float = 1 / 255,
) -> VersionDirectory:
    """Write a detector of 32 × 32 pixels: each quarter of its input is an object, "red" as surely
    as its mean red is high and "blue" likewise.
    """
    import numpy as np

    from appliance.host.openvino_import import ov

    ops = ov.opset13

    directory = models_directory / name / str(version)
    directory.mkdir(parents=True)
    image = ops.parameter([1, 3, 32, 32], np.float32, name="image")
    image.output(0).set_names({"image"})
    quarters = ops.avg_pool(image, [16, 16], [0, 0], [0, 0], [16, 16], True)
    channels = ops.gather(quarters, np.array([0, 2]), np.array(1))
    scores = ops.multiply(
        ops.reshape(channels, np.array([1, 2, 4]), special_zero=False), np.float32(factor)
    )
    centres = np.array([[8, 24, 8, 24], [8, 8, 24, 24], [16] * 4, [16] * 4], np.float32)
    boxes = ops.concat([ops.constant(centres[None]), scores], 1)
    boxes.output(0).set_names({"boxes"})
    save([boxes], [image], directory)
    (directory / "labels.txt").write_text("red\nblue\n")
    (directory / "manifest.toml").write_text(
        _DETECTOR.format(name=name, version=version, resize=resize, pad_position=pad_position)
    )
    (directory / "card.md").write_text("Made for tests.\n")
    write_sums(directory)
    return VersionDirectory(name, version, directory)
