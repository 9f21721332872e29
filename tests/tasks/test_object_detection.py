"""Pictures to objects, by the whole task with what a detector would have said."""

import io
import math
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from appliance.errors import InvalidInput, ModelInvalid
from appliance.library.manifest import Input, Manifest, Output
from appliance.tasks.contract import Draws, Model, NoState, Payload
from appliance.tasks.object_detection import TASK, Detection, DetectionParams
from tests.tasks.picture_files import encoded, exif_of

LABELS = ("cat", "dog", "fire truck")


def model(
    *,
    size: tuple[int, int] = (64, 64),
    decoder: str = "yolov8",
    labels: tuple[str, ...] = LABELS,
    outputs: dict[str, list[int]] | None = None,
    activation: str = "none",
    settings: dict[str, Any] | None = None,
    **described: Any,
) -> Model:
    outputs = outputs or {"boxes": [1, 4 + len(LABELS), -1]}
    manifest = Manifest(
        manifest_version=1,
        name="detector",
        version=1,
        task="object-detection",
        inputs=(Input(tensor="image", layout="NCHW", **{"resize": "letterbox", **described}),),
        outputs=tuple(
            Output(
                tensor=name,
                decoder="" if number else decoder,
                labels="" if number else "labels.txt",
                activation=activation,  # type: ignore[arg-type]
            )
            for number, name in enumerate(outputs)
        ),
        settings=settings or {},
    )
    return Model(
        manifest=manifest,
        labels={name: labels if not number else () for number, name in enumerate(outputs)},
        input_shapes={"image": [1, size[1], size[0], 3]},
        output_shapes=outputs,
    )


def payload(size: tuple[int, int], form: str = "PNG", **options: Any) -> Payload:
    return Payload(encoded(Image.new("RGB", size, "grey"), form, **options), "")


def told(*rows: tuple[list[float], float, int]) -> dict[str, np.ndarray]:
    """Return the output of a YOLOv8 that says just this: corners on its input, score, class."""
    columns = np.zeros((1, 4 + len(LABELS), max(len(rows), 8)), np.float32)
    for place, ((x1, y1, x2, y2), score, kind) in enumerate(rows):
        columns[0, :4, place] = [(x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1]
        columns[0, 4 + kind, place] = score
    return {"boxes": columns}


def detected(
    size: tuple[int, int], *answers: dict[str, np.ndarray], by: Model | None = None, **params: Any
) -> Detection:
    by = by or model()
    chosen = DetectionParams(**params)
    turn = TASK.decode(payload(size), chosen, NoState(), by)
    assert len(turn.inputs) == len(answers)
    return TASK.encode([*answers], turn, chosen, NoState(), by)


def plain(found: Detection) -> list[tuple[str, float, tuple[float, ...]]]:
    return [(one.label, one.confidence, msgspec.structs.astuple(one.box)) for one in found.objects]


def test_boxes_are_told_in_pixels_of_the_picture() -> None:
    # 128 × 64 on an input of 64 × 64: shrunk by two, with 16 pixels above and below.
    found = detected((128, 64), told(([0, 16, 32, 48], 0.75, 1)))
    assert msgspec.json.decode(msgspec.json.encode(found)) == {
        "width": 128,
        "height": 64,
        "objects": [
            {
                "label": "dog",
                "class_id": 1,
                "confidence": 0.75,
                "box": {"x1": 0.0, "y1": 0.0, "x2": 64.0, "y2": 64.0},
            }
        ],
    }


@pytest.mark.parametrize(
    ("described", "corners"),
    [
        ({"resize": "letterbox"}, (32.0, 0.0, 64.0, 32.0)),
        ({"resize": "letterbox", "pad_position": "top-left"}, (32.0, 32.0, 64.0, 64.0)),
        ({"resize": "stretch"}, (32.0, 16.0, 64.0, 32.0)),
        ({"resize": "crop"}, (48.0, 16.0, 64.0, 32.0)),
    ],
)
def test_however_the_picture_was_fitted_its_boxes_find_back(
    described: dict[str, str], corners: tuple[float, ...]
) -> None:
    found = detected((128, 64), told(([16, 16, 32, 32], 0.75, 0)), by=model(**described))
    ((_, _, box),) = plain(found)
    assert box == corners


def test_the_surest_come_first_and_boxes_end_at_the_edge_of_the_picture() -> None:
    found = detected(
        (64, 64),
        told(([-10, -10, 20, 20], 0.5, 0), ([50, 50, 90, 90], 0.9, 2), ([70, 0, 80, 9], 0.8, 1)),
    )
    assert plain(found) == [
        ("fire truck", 0.9, (50.0, 50.0, 64.0, 64.0)),
        ("cat", 0.5, (0.0, 0.0, 20.0, 20.0)),
    ]


def test_a_caller_chooses_threshold_overlap_number_and_classes() -> None:
    answer = told(
        ([0, 0, 40, 40], 0.9, 0), ([0, 0, 40, 30], 0.6, 0), ([0, 0, 40, 40], 0.3, 1),
        ([50, 50, 60, 60], 0.2, 2),
    )  # fmt: skip

    def labels(**params: Any) -> list[str]:
        return [one.label for one in detected((64, 64), answer, **params).objects]

    assert labels() == ["cat", "dog"]
    assert labels(threshold=0.1) == ["cat", "dog", "fire truck"]
    assert labels(threshold=0.95) == []
    assert labels(iou=0.8) == ["cat", "cat", "dog"]
    assert labels(threshold=0.1, max_objects=2) == ["cat", "dog"]
    assert labels(threshold=0.1, classes=("Dog", " fire truck")) == ["dog", "fire truck"]


def test_the_model_has_a_threshold_and_overlap_of_its_own() -> None:
    by = model(settings={"threshold": 0.7, "iou": 0.8})
    answer = told(([0, 0, 40, 40], 0.9, 0), ([0, 0, 40, 30], 0.8, 0), ([0, 0, 9, 9], 0.6, 0))
    assert len(detected((64, 64), answer, by=by).objects) == 2
    assert len(detected((64, 64), answer, by=by, threshold=0.1).objects) == 3


def test_a_class_that_the_model_does_not_know_is_refused_by_name() -> None:
    with pytest.raises(InvalidInput, match=r"no class 'cow'.*cat, dog, fire truck\.") as refused:
        TASK.decode(payload((8, 8)), DetectionParams(classes=("cat", "cow")), NoState(), model())
    assert refused.value.errors[0].pointer == "/query/classes/1"


def test_a_class_without_a_label_is_told_by_its_number() -> None:
    found = detected((64, 64), told(([0, 0, 40, 40], 0.9, 2)), by=model(labels=("cat",)))
    assert found.objects[0].label == "class 2"


def test_a_crop_is_looked_at_alone_and_boxes_are_still_of_the_whole_picture() -> None:
    found = detected((200, 100), told(([-9, 0, 32, 99], 0.9, 0)), crop=(100, 20, 64, 64))
    assert plain(found) == [("cat", 0.9, (100.0, 20.0, 132.0, 84.0))]
    with pytest.raises(InvalidInput, match="reaches outside"):
        detected((200, 100), crop=(150, 20, 64, 64))


def test_tiles_are_looked_at_beside_the_whole_and_merged() -> None:
    # The picture of 200 × 64 in two tiles of 112 × 64: the second begins at 88.
    nothing = told()
    found = detected(
        (200, 64),
        nothing,
        told(([10, 14, 20, 34], 0.8, 1)),
        told(([30, 14, 40, 34], 0.6, 2)),
        tiles="2x1",
        overlap=0.21,
    )
    assert [one.label for one in found.objects] == ["dog", "fire truck"]
    first, second = (one.box for one in found.objects)
    assert first.x1 < 30 < 88 < second.x1 < second.x2 < 200
    assert len(detected((64, 64), nothing, tiles="auto").objects) == 0, "small: no tiles"


@pytest.mark.parametrize("tiles", ["", "0x1", "9x1", "2", "2x", "auto\n", "2x2\n", "10x10"])
def test_a_grid_that_is_none_is_refused(tiles: str) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"tiles": tiles}, DetectionParams)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_answers_that_are_no_numbers_are_told_and_no_object_is_invented(value: float) -> None:
    answer = told(([0, 0, 40, 40], 0.9, 0))
    answer["boxes"][0, 2, 5] = value
    found = detected((64, 64), answer)
    assert found.objects == ()
    assert "not numbers" in found.warning
    assert TASK.summary(found) == (None, None)
    assert (found.width, found.height) == (64, 64)


def test_a_prediction_is_found_again_by_its_surest_object() -> None:
    found = detected((64, 64), told(([0, 0, 9, 9], 0.5, 0), ([30, 30, 40, 40], 0.75, 1)))
    assert TASK.summary(found) == ("dog", 0.75)
    assert TASK.join([found]) is found
    assert TASK.flush(DetectionParams(), NoState(), model()).inputs == []


@pytest.mark.parametrize("form", ["JPEG", "PNG", "TIFF"])
@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_the_size_is_that_of_the_upright_picture(form: str, orientation: int) -> None:
    given = payload((900, 300), form, exif=exif_of(orientation))
    turn = TASK.decode(given, DetectionParams(), NoState(), model())
    found = TASK.encode([told()], turn, DetectionParams(), NoState(), model())
    assert (found.width, found.height) == ((900, 300) if orientation < 5 else (300, 900))


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_a_reduced_jpeg_is_fitted_like_the_full_picture(data: st.DataObject) -> None:
    """A white rectangle lies on the input where the mapping says that it does."""
    size = data.draw(st.tuples(st.integers(200, 1500), st.integers(200, 1500)))
    orientation = data.draw(st.sampled_from([1, 3, 6]))
    by = model(pad_position=data.draw(st.sampled_from(["center", "top-left"])))
    upright = np.zeros((size[1], size[0], 3), np.uint8)
    x1, y1, x2, y2 = size[0] // 4, size[1] // 3, size[0] * 3 // 4, size[1] * 2 // 3
    upright[y1:y2, x1:x2] = 255
    stored = np.rot90(upright, {1: 0, 3: 2, 6: 1}[orientation])
    body = encoded(
        Image.fromarray(np.ascontiguousarray(stored)),
        "JPEG",
        quality=95,
        exif=exif_of(orientation),
    )
    turn = TASK.decode(Payload(body, ""), DetectionParams(), NoState(), by)
    pixels = turn.inputs[0]["image"][0, :, :, 0].astype(float)
    ys, xs = (pixels > 180).nonzero()
    seen = np.array([[xs.min(), ys.min(), xs.max() + 1, ys.max() + 1]], float)
    placement = turn.context.placements[0]
    back = placement.to_picture(seen)[0]
    per_pixel = 1 / min(placement.scale)
    assert back == pytest.approx([x1, y1, x2, y2], abs=1.5 * per_pixel + 1)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"decoder": ""}, r"first of \[\[outputs\]\].*yolox, yolov5.*says ''"),
        ({"decoder": "yolov9000"}, "says 'yolov9000'"),
        ({"labels": ("cat",)}, "for the decoder yolov8 has 3 classes, but there are 1 labels"),
        ({"outputs": {"boxes": [1, 7, 90], "more": [1]}}, r"has 1 \[\[outputs\]\], not 2"),
        ({"activation": "softmax"}, "activation none, sigmoid, not softmax"),
        ({"settings": {"limit": 1}}, r"\[settings\] of a detector.*limit"),
        ({"size": (0, 64)}, "picture of fixed size"),
    ],
)
def test_a_model_that_cannot_be_decoded_is_refused_with_the_reason(
    wrong: dict[str, Any], words: str
) -> None:
    by = model(**{"outputs": {"boxes": [1, 7, 90]}, **wrong})
    with pytest.raises(ModelInvalid, match=words):
        TASK.check(by)


@pytest.mark.parametrize(
    ("decoder", "outputs", "activation"),
    [
        ("yolov8", {"boxes": [1, 7, 90]}, "none"),
        ("yolov5", {"boxes": [1, 90, 8]}, "sigmoid"),
        ("yolox", {"boxes": [1, 84, 8]}, "none"),
        ("ssd", {"boxes": [1, 1, 100, 7]}, "none"),
        ("detr", {"logits": [1, 100, 4], "boxes": [1, 100, 4]}, "softmax"),
        ("geti", {"boxes": [-1, 5], "labels": [-1]}, "none"),
    ],
)
def test_a_model_that_can_be_decoded_is_taken(
    decoder: str, outputs: dict[str, list[int]], activation: str
) -> None:
    TASK.check(model(decoder=decoder, outputs=outputs, activation=activation))


def test_the_first_output_with_labels_names_the_classes() -> None:
    by = model(decoder="geti", outputs={"boxes": [-1, 5], "labels": [-1]})
    answer = {"boxes": np.array([[1, 2, 30, 40, 0.9]], np.float32), "labels": np.array([2])}
    found = detected((64, 64), answer, by=by)
    assert plain(found) == [("fire truck", 0.9, (1.0, 2.0, 30.0, 40.0))]


@pytest.mark.parametrize("media", TASK.drawn_types)
def test_the_upright_picture_is_answered_with_its_boxes(media: str) -> None:
    assert isinstance(TASK, Draws)
    found = detected((64, 64), told(([10, 20, 50, 60], 0.9, 0)))
    given = payload((300, 200), "JPEG", exif=exif_of(6))
    picture = Image.open(io.BytesIO(TASK.draw(given, found, model(), media)))
    assert picture.format == media.partition("/")[2].upper()
    assert picture.size == (200, 300)
    pixels = np.asarray(picture.convert("RGB")).astype(int)
    assert np.ptp(pixels[20:60, 10:50]) > 100
    assert np.ptp(pixels[200:, 100:]) < 10


@settings(max_examples=60, deadline=None)
@given(
    st.tuples(st.integers(1, 1500), st.integers(1, 1500)),
    st.sampled_from(["JPEG", "PNG"]),
    st.sampled_from([None, "auto", "1x3", "2x2", "8x1"]),
    st.sampled_from(["stretch", "letterbox", "crop"]),
    st.booleans(),
)
def test_every_shape_of_picture_is_looked_at(
    size: tuple[int, int], form: str, tiles: str | None, resize: str, cropped: bool
) -> None:
    by = model(resize=resize, pad_value=128)
    crop = (size[0] // 3, size[1] // 3, 1 + size[0] // 2, 1 + size[1] // 2) if cropped else None
    if crop and (crop[0] + crop[2] > size[0] or crop[1] + crop[3] > size[1]):
        crop = None
    params = DetectionParams(tiles=tiles, crop=crop)
    turn = TASK.decode(payload(size, form), params, NoState(), by)
    for one in turn.inputs:
        assert one["image"].shape == (1, 64, 64, 3)
        assert np.abs(one["image"].astype(int) - 128).max() <= 2, "grey all over"
    everywhere = told(([0, 0, 64, 64], 0.9, 0))
    found = TASK.encode([everywhere] * len(turn.inputs), turn, params, NoState(), by)
    assert (found.width, found.height) == size
    left, top, right, bottom = turn.context.part
    for _, _, (x1, y1, x2, y2) in plain(found):
        assert left <= x1 < x2 <= right
        assert top <= y1 < y2 <= bottom
