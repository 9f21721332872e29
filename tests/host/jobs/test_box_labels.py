import json
from pathlib import Path
from typing import Any

import pytest

from appliance.errors import InvalidInput
from appliance.host.jobs import box_labels
from appliance.host.jobs.box_labels import TrueBox

COCO: dict[str, Any] = {
    "images": [{"id": 1, "file_name": "a.jpg"}, {"id": 2, "file_name": "empty.jpg"}],
    "annotations": [
        {"image_id": 1, "category_id": 3, "bbox": [10, 20, 30, 40], "area": 1200, "iscrowd": 0},
        {"image_id": 1, "category_id": 3, "bbox": [0, 0, 5, 5], "iscrowd": 1},
        {"image_id": 9, "category_id": 3, "bbox": [0, 0, 5, 5]},
    ],
    "categories": [{"id": 3, "name": "car", "supercategory": "vehicle"}],
}


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "labels"
    path.write_text(text)
    return path


def test_boxes_of_coco_become_corners(tmp_path: Path) -> None:
    truth = box_labels.read_coco(written(tmp_path, json.dumps(COCO)), "instances.json")
    assert truth is not None
    assert truth.boxes["a.jpg"] == (TrueBox("car", (10, 20, 40, 60), False),)
    assert truth.boxes["empty.jpg"] == ()
    assert "1 boxes around crowds" in truth.notes[0]


def test_other_json_is_not_taken_for_coco(tmp_path: Path) -> None:
    assert box_labels.read_coco(written(tmp_path, '{"a": 1}'), "a.json") is None
    assert box_labels.read_coco(written(tmp_path, "[]"), "a.json") is None


@pytest.mark.parametrize(
    "text", ["{", '{"images": 1, "annotations": []}', '{"images": [{}], "annotations": []}']
)
def test_a_broken_coco_file_is_named(tmp_path: Path, text: str) -> None:
    with pytest.raises(InvalidInput, match=r"a\.json"):
        box_labels.read_coco(written(tmp_path, text), "a.json")


def test_boxes_of_yolo_become_corners_in_parts(tmp_path: Path) -> None:
    path = written(tmp_path, "0 0.5 0.5 0.2 0.4\n\n12 0.1 0.1 0.2 0.2\n")
    first, second = box_labels.read_yolo(path, "a.txt", ["cat"])
    assert first.label == "cat"
    assert first.edges == pytest.approx((0.4, 0.3, 0.6, 0.7))
    assert first.is_relative
    assert second.label == "12"


@pytest.mark.parametrize("line", ["0 0.5 0.5 0.2", "cat 0 0 1 1", "0.5 0 0 1 1", "0 nan 0 1 1"])
def test_a_line_that_is_no_box_is_named(tmp_path: Path, line: str) -> None:
    with pytest.raises(InvalidInput, match=r"Line 2 of a\.txt"):
        box_labels.read_yolo(written(tmp_path, f"0 0 0 1 1\n{line}\n"), "a.txt", [])


def test_a_label_file_lies_beside_its_picture_or_in_the_folder_for_labels() -> None:
    files = {"x/a.txt": Path(), "set/labels/val/b.txt": Path()}
    assert box_labels.yolo_file_of("x/a.jpg", files) == "x/a.txt"
    assert box_labels.yolo_file_of("set/images/val/b.png", files) == "set/labels/val/b.txt"
    assert box_labels.yolo_file_of("set/images/val/c.png", files) is None
    assert box_labels.yolo_file_of("c.png", files) is None


def test_a_list_of_names_is_found(tmp_path: Path) -> None:
    path = written(tmp_path, "cat\ndog\n")
    assert box_labels.yolo_names({"set/classes.txt": path}) == ["cat", "dog"]
    assert box_labels.yolo_names({"set/other.txt": path}) == ()
