"""What a file says of itself is understood in the three ways in which files say it."""

import pytest

from appliance.library.told import Told, metadata_of_yaml, told_by

GETI = {
    "model_type": "ssd",
    "task_type": "detection",
    "labels": "traffic_light car",
    "mean_values": "123.675 116.28 103.53",
    "scale_values": "58.395 57.12 57.375",
    "reverse_input_channels": "True",
    "resize_type": "fit_to_window_letterbox",
    "pad_value": "0",
    "confidence_threshold": "0.35",
    "iou_threshold": "0.6",
}


def test_the_words_of_geti_become_a_manifests() -> None:
    told = told_by(GETI)
    assert told.task == "object-detection"
    assert told.labels == ("traffic light", "car")
    assert told.mean == (123.675, 116.28, 103.53)
    assert told.scale == (58.395, 57.12, 57.375)
    assert (told.color, told.resize, told.pad_position) == ("RGB", "letterbox", "center")
    assert (told.pad_value, told.threshold, told.iou) == (0, 0.35, 0.6)


def test_a_classifier_of_several_labels_at_once_is_known() -> None:
    told = told_by({"model_type": "Classification", "labels": "a b", "multilabel": "True"})
    assert (told.task, told.activation) == ("image-classification", "sigmoid")


def test_preprocessing_inside_the_graph_is_not_done_twice() -> None:
    told = told_by({**GETI, "embedded_processing": "True"})
    assert told.mean == told.scale == ()


@pytest.mark.parametrize(
    ("words", "color"),
    [
        ({"reverse_input_channels": "YES"}, "RGB"),
        ({"reverse_input_channels": "False"}, "BGR"),
        ({}, ""),
        ({"reverse_input_channels": "False", "mean_values": "123.7 116.3 103.5"}, "RGB"),
        ({"mean_values": "103.5 116.3 123.7"}, "BGR"),
        ({"mean_values": "127.5 127.5 127.5"}, ""),
    ],
)
def test_the_order_of_colours_is_read_off_what_was_said(words: dict[str, str], color: str) -> None:
    assert told_by({"model_type": "Classification", **words}).color == color


def test_a_yolo_export_says_all_it_needs() -> None:
    told = told_by(
        {
            "task": "detect",
            "stride": "32",
            "names": "{0: 'person', 1: 'car'}",
            "imgsz": "[480, 640]",
        }
    )
    assert told.task == "object-detection"
    assert told.labels == ("person", "car")
    assert (told.scale, told.color, told.resize) == ((255.0,), "RGB", "letterbox")
    assert told.size == (640, 480)


@pytest.mark.parametrize(
    ("words", "decoder", "resize"),
    [
        (
            {"head": "RTDETRDecoder", "description": "Ultralytics rtdetr-l model"},
            "rtdetr",
            "stretch",
        ),
        ({"description": "Ultralytics RT-DETR-l model"}, "detr", "stretch"),
        ({"head": "Detect", "description": "rtdetr-like YOLOv8n"}, "", "letterbox"),
    ],
)
def test_the_transformer_among_yolo_exports_is_told_apart(
    words: dict[str, str], decoder: str, resize: str
) -> None:
    """Its boxes are centres where theirs are corners, and its pictures are stretched."""
    told = told_by({"task": "detect", "stride": "32", "names": "{0: 'a'}", **words})
    assert (told.decoder, told.resize) == (decoder, resize)


def test_a_yolo_classifier_cuts_the_middle_out() -> None:
    told = told_by({"task": "classify", "stride": "1", "names": "['a', 'b']"})
    assert (told.task, told.resize) == ("image-classification", "crop")


@pytest.mark.parametrize(
    "words",
    [
        {"task": "segment", "stride": "32"},
        {"task": "pose", "stride": "32"},
        {"model_type": "MaskRCNN"},
        {"task_type": "anomaly", "model_type": "Padim"},
    ],
)
def test_a_task_that_is_not_served_is_named(words: dict[str, str]) -> None:
    told = told_by(words)
    assert told.unserved
    assert not told.task


def test_plain_names_are_labels() -> None:
    assert told_by({"names": "['a', 'b']"}).labels == ("a", "b")
    assert told_by({"labels": "a b"}).labels == ("a", "b")


@pytest.mark.parametrize(
    "words",
    [{}, {"names": "{"}, {"model_type": "x", "pad_value": "999", "confidence_threshold": "9"}],
)
def test_what_is_not_understood_is_no_error(words: dict[str, str]) -> None:
    told = told_by(words)
    assert (told.labels, told.pad_value, told.threshold) == ((), None, None)
    assert isinstance(told, Told)


def test_the_metadata_of_an_export_is_read_without_a_yaml_parser() -> None:
    text = "description: x\ntask: detect\nstride: 32\nimgsz:\n- 640\n- 480\nnames:\n  0: a b\n"
    found = metadata_of_yaml(text)
    assert (found["task"], found["stride"], found["imgsz"]) == ("detect", "32", "640 480")
    assert told_by(found).size == (480, 640)
