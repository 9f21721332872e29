"""Other people's models and data beside the project, where a machine has them; never committed."""

import shutil
from pathlib import Path

import pytest

from appliance.library.checksums import write_sums
from appliance.library.versions import VersionDirectory

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
YOLOX = DATA / "models" / "yolox"

needs_yolox = pytest.mark.skipif(
    not YOLOX.is_dir(), reason="../shared/data/models/yolox is not on this machine"
)

_YOLOX_MANIFEST = """\
manifest_version = 1
name = "{name}"
version = {version}
task = "object-detection"
title = "YOLOX-nano"
license = "Apache-2.0"
[[inputs]]
tensor = "images"
layout = "NCHW"
color_order = "BGR"
resize = "letterbox"
pad_position = "top-left"
[[outputs]]
tensor = "output"
decoder = "yolox"
labels = "labels.txt"
"""


def write_yolox(
    models_directory: Path, *, name: str = "yolox-nano", version: int = 1, data: Path = DATA
) -> VersionDirectory:
    """Given a models directory, write YOLOX-nano into it as a version and return its place."""
    from appliance.host.openvino_import import ov

    source = data / "models" / "yolox"
    directory = models_directory / name / str(version)
    directory.mkdir(parents=True)
    model = ov.Core().read_model(source / "yolox_nano.onnx")
    ov.save_model(model, directory / "model.xml", compress_to_fp16=False)
    shutil.copyfile(source / "coco_classes.txt", directory / "labels.txt")
    (directory / "manifest.toml").write_text(_YOLOX_MANIFEST.format(name=name, version=version))
    (directory / "card.md").write_text("Megvii's YOLOX-nano, Apache-2.0.\n")
    write_sums(directory)
    return VersionDirectory(name, version, directory)
