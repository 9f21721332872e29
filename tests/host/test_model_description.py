"""`rt_info.model_info`: what the file says, and from the manifest what it does not."""

import msgspec
import pytest

from appliance.host.model_description import model_info
from appliance.library.manifest import Input, Manifest, Output

LABELS = {"boxes": ("person", "fire engine", "")}


def manifest(**changes: object) -> Manifest:
    described = Manifest(
        manifest_version=1,
        name="m",
        version=1,
        task="object-detection",
        inputs=(Input(tensor="image", layout="NCHW", mean=(1.0,), scale=(2.0, 3.0, 4.5)),),
        outputs=(Output(tensor="boxes", decoder="ssd"),),
        settings={"threshold": 0.3, "iou": 0.5},
    )
    return msgspec.structs.replace(described, **changes)


def test_the_manifest_fills_in_what_the_file_does_not_say() -> None:
    assert model_info({}, manifest(), LABELS) == {
        "model_type": "SSD",
        "labels": "person fire_engine _",
        "resize_type": "standard",
        "reverse_input_channels": "YES",
        "pad_value": "114",
        "mean_values": "1 1 1",
        "scale_values": "2 3 4.5",
        "confidence_threshold": "0.3",
        "iou_threshold": "0.5",
    }


def test_the_files_own_words_count() -> None:
    told = model_info({"model_type": "YOLOX", "other": "x"}, manifest(), LABELS)
    assert (told["model_type"], told["other"]) == ("YOLOX", "x")


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"resize": "letterbox"}, "fit_to_window_letterbox"),
        ({"resize": "letterbox", "pad_position": "top-left"}, "fit_to_window"),
        ({"resize": "crop"}, "crop"),
    ],
)
def test_the_way_of_resizing_has_their_name(changes: dict[str, str], told: str) -> None:
    picture = Input(tensor="image", layout="NCHW", color_order="BGR", **changes)  # type: ignore[arg-type]
    found = model_info({}, manifest(inputs=(picture,)), {})
    assert (found["resize_type"], found["reverse_input_channels"]) == (told, "NO")


@pytest.mark.parametrize(
    ("task", "decoder", "kind"),
    [
        ("object-detection", "yolox", "YOLOX"),
        ("object-detection", "yolov5", "YOLOv5"),
        ("object-detection", "yolov8", "YOLOv8"),
        ("object-detection", "detr", None),
        ("image-classification", "", "Classification"),
        ("step-detection", "", None),
    ],
)
def test_a_kind_is_named_only_where_theirs_does_the_same(
    task: str, decoder: str, kind: str | None
) -> None:
    described = manifest(task=task, outputs=(Output(tensor="o", decoder=decoder),))
    assert model_info({}, described, {}).get("model_type") == kind


def test_what_a_file_says_is_bounded() -> None:
    many = {f"name{number}": "x" * 1000 for number in range(500)}
    found = model_info(many, manifest(), LABELS)
    assert len(found) <= 64
    assert sum(map(len, found.values())) <= 64 * 1024
    assert model_info({"big": "x" * 100_000}, manifest(), {}).get("big") is None
