"""The family of a detector shows in the shapes of its outputs, and in one trial."""

from typing import Any

import pytest

from appliance.library.detector_discovery import Detector, find_detector
from appliance.library.model_facts import TensorFacts

UNIT = (0.0, 0.9)
PIXELS = (-20.0, 640.0)


def output(*shape: int, name: str = "o", **more: Any) -> TensorFacts:
    return TensorFacts(name=name, type="f32", shape=shape, **more)


def found(*outputs: TensorFacts, size: tuple[int, int] = (640, 640), labels: int = 0) -> Detector:
    detector = find_detector(outputs, size, labels=labels)
    assert detector is not None
    return detector


def test_ssd() -> None:
    assert found(output(1, 1, 200, 7)).decoder == "ssd"


def test_yolov8_has_one_column_for_each_cell() -> None:
    detector = found(output(1, 84, 8400, row_boxes=PIXELS, row_scores=UNIT))
    assert (detector.decoder, detector.classes) == ("yolov8", 80)
    assert (detector.boxes, detector.activation) == ("pixels", "none")


def test_yolov8_of_tflite_tells_boxes_as_parts_of_the_picture() -> None:
    assert found(output(1, 84, 8400, row_boxes=(0.0, 1.02), row_scores=UNIT)).boxes == "relative"


def test_scores_beyond_one_are_still_to_be_activated() -> None:
    detector = found(output(1, 84, 8400, row_boxes=PIXELS, row_scores=(-9.0, 2.0)))
    assert detector.activation == "sigmoid"


def test_yolov5_has_three_rows_for_each_cell() -> None:
    detector = found(output(1, 25200, 85, column_boxes=PIXELS, column_scores=UNIT))
    assert (detector.decoder, detector.classes) == ("yolov5", 80)


def test_yolox_with_raw_offsets_and_with_decoded_boxes() -> None:
    raw = output(1, 3549, 85, column_boxes=(-2.6, 3.4), column_scores=UNIT)
    done = output(1, 3549, 85, column_boxes=(-9.0, 410.0), column_scores=UNIT)
    assert found(raw, size=(416, 416)).decoder == "yolox"
    assert found(done, size=(416, 416)).decoder == "yolov5"


def test_what_a_trial_would_have_shown_is_asked() -> None:
    assert "--decoder" in found(output(1, 3549, 85), size=(416, 416)).question


def test_a_wide_picture_has_other_counts() -> None:
    cells = 80 * 60 + 40 * 30 + 20 * 15
    detector = found(output(1, 6, cells, row_boxes=PIXELS, row_scores=UNIT), size=(640, 480))
    assert (detector.decoder, detector.classes) == ("yolov8", 2)


def test_a_turned_yolov8_is_told_from_yolox_by_its_labels() -> None:
    turned = output(1, 8400, 7, column_boxes=PIXELS, column_scores=UNIT)
    assert found(turned, labels=3).decoder == "yolov8"
    assert found(turned, labels=2).decoder == "yolov5"


def test_four_strides_are_told_to_the_decoder() -> None:
    cells = sum((1280 // stride) ** 2 for stride in (8, 16, 32, 64))
    raw = output(1, cells, 85, column_boxes=(-2.0, 3.0), column_scores=UNIT)
    assert found(raw, size=(1280, 1280)).strides == (8, 16, 32, 64)


@pytest.mark.parametrize(
    ("strides", "each", "decoder"),
    [((4, 8, 16, 32), 1, "yolov8"), ((16, 32), 1, "yolov8"), ((16, 32), 3, "yolov5")],
)
def test_nets_with_a_finer_grid_and_tiny_ones_are_known(
    strides: tuple[int, ...], each: int, decoder: str
) -> None:
    cells = sum((320 // stride) ** 2 for stride in strides)
    shape = (1, 84, cells) if decoder == "yolov8" else (1, each * cells, 85)
    only = output(*shape, row_boxes=PIXELS, row_scores=UNIT, column_boxes=PIXELS)
    detector = found(only, size=(320, 320))
    assert (detector.decoder, detector.classes) == (decoder, 80)


def test_suppression_inside_leaves_six_columns() -> None:
    assert found(output(1, 300, 6, column_boxes=PIXELS)).decoder == "yolov8-nms"
    assert found(output(1, 300, 6, column_boxes=(0.0, 1.1))).boxes == "relative"


def test_geti_tells_boxes_and_labels_apart() -> None:
    detector = found(output(1, 100, name="labels"), output(1, 100, 5, name="boxes"))
    assert (detector.decoder, detector.outputs) == ("geti", ("boxes", "labels"))


def test_detr_with_labels_says_how_its_scores_are_meant() -> None:
    scores, boxes = output(1, 100, 92, name="logits"), output(1, 100, 4, name="boxes")
    softmax = found(scores, boxes, labels=91)
    assert (softmax.decoder, softmax.activation, softmax.classes) == ("detr", "softmax", 91)
    assert softmax.outputs == ("logits", "boxes")
    assert found(boxes, scores, labels=92).activation == "sigmoid"
    assert "--activation" in found(scores, boxes).question


@pytest.mark.parametrize(
    "outputs",
    [
        (output(1, 1000),),
        (output(1, 3, 512, 512),),
        (output(1, 17, 3),),
        (output(1, 116, 8400), output(1, 32, 160, 160)),
        (output(4, 84, 8400),),
        (),
        tuple(output(1, 10, name=str(number)) for number in range(3)),
    ],
)
def test_other_shapes_are_no_detector(outputs: tuple[TensorFacts, ...]) -> None:
    assert find_detector(outputs, (640, 640)) is None
