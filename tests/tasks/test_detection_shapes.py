import msgspec
import pytest

from appliance.tasks.detection_decoders import DECODERS
from appliance.tasks.detection_shapes import Convention, DetectionSettings, is_upright

LABELLED = Convention(width=416, height=416, classes=80)
UNLABELLED = Convention(width=416, height=416)
SOFTMAX = Convention(width=416, height=416, classes=91, activation="softmax")


@pytest.mark.parametrize(
    ("name", "shapes", "by"),
    [
        ("yolox", [(1, 3549, 85)], LABELLED),
        ("yolox", [(-1, 3549, 85)], LABELLED),
        ("yolox", [(1, -1, -1)], LABELLED),
        ("yolov5", [(1, 25200, 85)], LABELLED),
        ("yolov5", [(1, 25200, 6)], UNLABELLED),
        ("yolov8", [(1, 84, 8400)], LABELLED),
        ("yolov8", [(1, 8400, 84)], LABELLED),
        ("yolov8", [(1, 84, -1)], LABELLED),
        ("yolov8", [(1, 5, 8400)], Convention(width=8, height=8, classes=1)),
        ("yolov8-nms", [(1, 300, 6)], LABELLED),
        ("ssd", [(1, 1, 200, 7)], LABELLED),
        ("detr", [(1, 100, 92), (1, 100, 4)], SOFTMAX),
        ("detr", [(1, 300, 80), (1, 300, 4)], LABELLED),
        ("detr", [(1, 300, 81), (1, 300, 4)], LABELLED),
        ("detr", [(1, 300, 84)], LABELLED),
        ("rtdetr", [(1, 300, 6)], LABELLED),
        ("geti", [(100, 5), (100,)], LABELLED),
        ("geti", [(1, -1, 5), (1, -1)], LABELLED),
    ],
)
def test_outputs_of_real_exports_fit(
    name: str, shapes: list[tuple[int, ...]], by: Convention
) -> None:
    assert DECODERS[name].fault(shapes, by) == ""


@pytest.mark.parametrize(
    ("name", "shapes", "words"),
    [
        ("yolox", [(1, 3549, 84)], "has 79 classes, but there are 80 labels"),
        ("yolox", [(1, 8400, 85)], "8400 rows, but an input of 416×416 has 3549 cells"),
        ("yolox", [(1, 255, 52, 52)], r"must be \[1, N, 5 \+ classes\], not \[1, 255, 52, 52\]"),
        ("yolov5", [(1, 25200, 4)], r"must be \[1, N, 5 \+ classes\]"),
        ("yolov8", [(1, 116, 8400)], "has 112 classes, but there are 80 labels"),
        ("yolov8", [(1, 4, 8400)], r"must be \[1, 4 \+ classes, N\]"),
        ("yolov8", [(84,)], r"must be \[1, 4 \+ classes, N\]"),
        ("yolov8-nms", [(1, 300, 7)], r"must be \[1, N, 6\]"),
        ("ssd", [(1, 2, 200, 7)], r"must be \[1, N, 7\]"),
        ("detr", [(1, 100, 4), (1, 100, 80)], r"the one after it the boxes \[1, N, 4\]"),
        ("detr", [(1, 100, 99), (1, 100, 4)], "has 99 classes"),
        ("geti", [(1, 100, 6)], r"must be \[1, N, 5\]"),
    ],
)
def test_outputs_that_cannot_be_meant_are_told_in_words(
    name: str, shapes: list[tuple[int, ...]], words: str
) -> None:
    import re

    assert re.search(words, DECODERS[name].fault(shapes, LABELLED))


def test_the_labels_say_which_way_round_boxes_come_and_else_their_number() -> None:
    assert is_upright((8400, 84), 80)
    assert not is_upright((84, 8400), 80)
    assert is_upright((5, 6), 2), "six are four and two classes, even with fewer boxes"
    assert is_upright((100, 7), 0)
    assert not is_upright((7, 100), 0)


@pytest.mark.parametrize(
    "settings", [{"limit": 0.5}, {"threshold": 2}, {"boxes": "cm"}, {"strides": [0]}]
)
def test_settings_that_are_not_known_are_refused(settings: dict[str, object]) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(settings, DetectionSettings)
