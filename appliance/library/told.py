"""What a model's file says in words about itself, in the terms of a manifest.

Three conventions are understood: `model_info` of OpenVINO's Model API, which Geti and OpenVINO
Training Extensions write; the metadata of YOLO exports; and `names` or `labels` in ONNX metadata.
"""

import re
from collections.abc import Mapping

import msgspec

from appliance.library.label_files import labels_of_names

_RESIZE = {
    "standard": ("stretch", ""),
    "fit_to_window": ("letterbox", "top-left"),
    "fit_to_window_letterbox": ("letterbox", "center"),
    "crop": ("crop", ""),
}
_TASKS = {
    "detect": "object-detection",
    "detection": "object-detection",
    "classify": "image-classification",
    "classification": "image-classification",
    "object-detection": "object-detection",
    "image-classification": "image-classification",
}
_MODEL_TYPES = {
    "ssd": "ssd",
    "yolox": "yolox",
    "yolov5": "yolov5",
    "yolov8": "yolov8",
    "yolo11": "yolov8",
    "detr": "detr",
}
_NOT_SERVED = ("segment", "pose", "obb", "anomaly", "keypoint", "maskrcnn", "rotated")
_YES = frozenset({"true", "yes", "1"})


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """What was said; empty where nothing was. `unserved` names a kind of task not served here."""

    source: str = ""
    task: str = ""
    decoder: str = ""
    labels: tuple[str, ...] = ()
    mean: tuple[float, ...] = ()
    scale: tuple[float, ...] = ()
    color: str = ""
    resize: str = ""
    pad_position: str = ""
    pad_value: int | None = None
    layout: str = ""
    activation: str = ""
    threshold: float | None = None
    iou: float | None = None
    size: tuple[int, int] | None = None
    unserved: str = ""


def told_by(metadata: Mapping[str, str]) -> Told:
    """Given a file's metadata, return what it says; nothing that is not understood is an error."""
    if "stride" in metadata and ("names" in metadata or "task" in metadata):
        return _ultralytics(metadata)
    if "model_type" in metadata or "task_type" in metadata or "mean_values" in metadata:
        return _model_api(metadata)
    labels = labels_of_names(metadata.get("names", "")) or _label_list(metadata.get("labels", ""))
    return Told(labels=labels, source="the file's metadata" if labels else "")


def _ultralytics(metadata: Mapping[str, str]) -> Told:
    """Keys as the Ultralytics exporter writes them; pictures are RGB, 0 to 1."""
    task = metadata.get("task", "detect").strip().lower()
    numbers = _numbers(metadata.get("imgsz", ""))
    is_detector = task == "detect"
    transformer = _transformer(metadata) if is_detector else ""
    return Told(
        source="the YOLO export's metadata",
        task=_TASKS.get(task, ""),
        decoder=transformer,
        unserved="" if task in _TASKS else task,
        labels=labels_of_names(metadata.get("names", "")),
        scale=(255.0,),
        color="RGB",
        resize="stretch" if transformer else "letterbox" if is_detector else "crop",
        pad_position="center" if is_detector else "",
        size=(int(numbers[-1]), int(numbers[0])) if numbers else None,
    )


def _transformer(metadata: Mapping[str, str]) -> str:
    """Return the decoder of an RT-DETR, which comes from the same exporter as the YOLOs. Releases
    that name the head pick the best classes in the graph; before, it told each class's score.
    """
    if metadata.get("head", "").strip() == "RTDETRDecoder":
        return "rtdetr"
    is_named = "rtdetr" in metadata.get("description", "").lower().replace("-", "")
    return "detr" if is_named and "head" not in metadata else ""


def _model_api(metadata: Mapping[str, str]) -> Told:
    kind = metadata.get("model_type", "").strip().lower().replace("_", "")
    task = metadata.get("task_type", "").strip().lower()
    mean, scale = (
        _numbers(metadata.get("mean_values", "")),
        _numbers(metadata.get("scale_values", "")),
    )
    is_embedded = _is_yes(metadata, "embedded_processing")
    resize, position = _RESIZE.get(metadata.get("resize_type", "").strip().lower(), ("", ""))
    pad = _numbers(metadata.get("pad_value", ""))
    unserved = next((word for word in _NOT_SERVED if word in kind or word in task), "")
    decoder = next((name for word, name in _MODEL_TYPES.items() if kind.startswith(word)), "")
    is_detector = bool(decoder) or kind.startswith("yolo") or "detect" in task
    found = "object-detection" if is_detector else _TASKS.get(kind, _TASKS.get(task, ""))
    return Told(
        source="its model_info",
        task="" if unserved else found,
        unserved=unserved,
        decoder=decoder if decoder != "ssd" else "",  # Geti says ssd of all its detectors
        labels=_label_list(metadata.get("labels", "")),
        mean=() if is_embedded else mean[:3],
        scale=() if is_embedded else scale[:3],
        color=_color(metadata, mean),
        resize=resize,
        pad_position=position,
        pad_value=int(pad[0]) if pad and 0 <= pad[0] <= 255 else None,
        activation="sigmoid" if _is_yes(metadata, "multilabel") else "",
        threshold=_share(metadata.get("confidence_threshold", "")),
        iou=_share(metadata.get("iou_threshold", "")),
    )


def _color(metadata: Mapping[str, str], mean: tuple[float, ...]) -> str:
    """Return the order the network wants. The convention feeds BGR and reverses it if told so; but
    ImageNet's means, which differ by channel, give the order away whatever is said.
    """
    if len(mean) == 3 and abs(mean[0] - mean[2]) > 5:
        return "RGB" if mean[0] > mean[2] else "BGR"
    if "reverse_input_channels" not in metadata:
        return ""
    return "RGB" if _is_yes(metadata, "reverse_input_channels") else "BGR"


def _label_list(text: str) -> tuple[str, ...]:
    """Labels of the Model API are parted by blanks, and a blank inside one is an underscore."""
    return tuple(word.replace("_", " ") for word in text.split()[:100_000])


def _numbers(text: str) -> tuple[float, ...]:
    found = re.findall(r"-?\d{1,9}(?:\.\d{1,12})?", text[:200])
    return tuple(float(number) for number in found)


def _share(text: str) -> float | None:
    numbers = _numbers(text)
    return numbers[0] if numbers and 0 <= numbers[0] <= 1 else None


def _is_yes(metadata: Mapping[str, str], key: str) -> bool:
    return metadata.get(key, "").strip().lower() in _YES


def metadata_of_yaml(text: str) -> dict[str, str]:
    """Given the metadata.yaml of a YOLO export, return its plain entries; lists are joined.

    Nested maps, such as `names`, are left to `label_files`.
    """
    found: dict[str, str] = {}
    last = ""
    for line in text.splitlines()[:10_000]:
        item = re.fullmatch(r"([a-z_]{1,40}):\s*(.*)", line)
        if item:
            last = item[1]
            found[last] = item[2].strip().strip("'\"")
        elif last and re.fullmatch(r"\s*-\s+\S.*", line):
            found[last] = f"{found[last]} {line.split('-', 1)[1].strip()}".strip()
    return found
