"""What `openvino-model-api` and its kin ask of a served model: `rt_info.model_info`.

Geti and OpenVINO Training Extensions write it into the model's own file; what that lacks is filled
in from the manifest, so that a model imported from elsewhere is run by those clients as well.
Source of the names: openvino-model-api, `models/parameters.py`.
"""

from collections.abc import Mapping, Sequence

from appliance.host.network import is_picture
from appliance.library.manifest import Input, Manifest

#: What a stranger's file may make the front keep of it.
_MOST_CHARACTERS = 64 * 1024
_MOST_ENTRIES = 64
_KINDS = {
    "yolox": "YOLOX",
    "yolov5": "YOLOv5",
    "yolov8": "YOLOv8",
    "ssd": "SSD",
    "geti": "SSD",
}
_RESIZES = {"stretch": "standard", "letterbox": "fit_to_window_letterbox", "crop": "crop"}


def model_info(
    in_file: Mapping[str, str], manifest: Manifest, labels: Mapping[str, Sequence[str]]
) -> dict[str, str]:
    """Given what a model's file says, its manifest and its labels, return its `model_info`."""
    return _bounded({**_from_manifest(manifest, labels), **in_file})


def _from_manifest(manifest: Manifest, labels: Mapping[str, Sequence[str]]) -> dict[str, str]:
    told: dict[str, str] = {}
    kind = _kind(manifest)
    if kind:
        told["model_type"] = kind
    head = next((names for names in labels.values() if names), ())
    if head:
        # These clients split labels at spaces.
        told["labels"] = " ".join("_".join(label.split()) or "_" for label in head)
    picture = next((one for one in manifest.inputs if is_picture(one)), None)
    if picture is not None:
        told |= _of_picture(picture)
    for setting, name in (("threshold", "confidence_threshold"), ("iou", "iou_threshold")):
        if setting in manifest.settings:
            told[name] = str(manifest.settings[setting])
    return told


def _of_picture(picture: Input) -> dict[str, str]:
    told = {
        "resize_type": _resize(picture),
        # Their pictures are BGR, as OpenCV reads them.
        "reverse_input_channels": "YES" if picture.color_order == "RGB" else "NO",
        "pad_value": str(picture.pad_value),
    }
    if picture.mean:
        told["mean_values"] = _numbers(picture.mean)
    if picture.scale:
        told["scale_values"] = _numbers(picture.scale)
    return told


def _resize(picture: Input) -> str:
    if picture.resize == "letterbox" and picture.pad_position == "top-left":
        return "fit_to_window"
    return _RESIZES[picture.resize]


def _kind(manifest: Manifest) -> str:
    decoder = next((one.decoder for one in manifest.outputs), "")
    if manifest.task == "image-classification" and len(manifest.outputs) == 1:
        return "Classification"
    return _KINDS.get(decoder, "")


def _numbers(values: Sequence[float]) -> str:
    every = tuple(values) * 3 if len(values) == 1 else values
    return " ".join(f"{value:g}" for value in every)


def _bounded(told: dict[str, str]) -> dict[str, str]:
    kept: dict[str, str] = {}
    room = _MOST_CHARACTERS
    for name, value in list(told.items())[:_MOST_ENTRIES]:
        room -= len(name) + len(value)
        if room < 0:
            break
        kept[name] = value
    return kept
