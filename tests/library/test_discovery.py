"""A manifest is found out, what was said comes first, and what cannot be known is asked."""

from typing import Any

import msgspec
import pytest

from appliance.errors import ModelInvalid
from appliance.library.discovery import Proposal, propose, size_wanted
from appliance.library.import_request import ImportRequest
from appliance.library.model_facts import ModelFacts, TensorFacts

UNIT = (0.0, 0.9)


def tensor(name: str, *shape: int, kind: str = "f32", **more: Any) -> TensorFacts:
    return TensorFacts(name=name, type=kind, shape=shape, **more)


def facts(
    *outputs: TensorFacts,
    picture: TensorFacts | None = None,
    metadata: dict[str, str] | None = None,
    labels: tuple[str, ...] = (),
) -> ModelFacts:
    return ModelFacts(
        format="onnx",
        inputs=(picture or tensor("image", 1, 3, 224, 224),),
        outputs=outputs,
        operations=10,
        weights_bytes=1000,
        metadata=metadata or {},
        labels=labels,
    )


def proposed(
    known: ModelFacts, beside: dict[str, tuple[str, ...]] | None = None, **said: Any
) -> Proposal:
    request = msgspec.convert({"name": "m", **said}, ImportRequest)
    return propose(known, request, version=2, beside=beside or {})


LOGITS = tensor("scores", 1, 3, low=-3.0, high=4.0)
YOLO = tensor("out", 1, 84, 8400, row_boxes=(-5.0, 630.0), row_scores=UNIT)
BIG = tensor("images", 1, 3, 640, 640)


def test_a_classifier_is_found_by_its_row_of_scores() -> None:
    found = proposed(facts(LOGITS), {"labels.txt": ("a", "b", "c")})
    manifest = found.manifest
    assert (manifest.name, manifest.version, manifest.task) == ("m", 2, "image-classification")
    assert (manifest.inputs[0].layout, manifest.inputs[0].color_order) == ("NCHW", "RGB")
    assert manifest.outputs[0].activation == "softmax"
    assert manifest.outputs[0].labels == "labels.txt"
    assert found.labels == {"labels.txt": ("a", "b", "c")}
    assert found.missing == ()
    assert any("--mean" in note for note in found.notes)


def test_an_output_whose_name_hides_something_is_refused() -> None:
    with pytest.raises(ModelInvalid, match=r"tensor holds the invisible character U\+202E"):
        proposed(facts(tensor("a\u202eb", 1, 3)))


def test_confidences_are_not_activated_again() -> None:
    done = tensor("p", 1, 3, low=0.1, high=0.6, sums_to_one=True)
    assert proposed(facts(done)).manifest.outputs[0].activation == "none"
    assert proposed(facts(done), activation="sigmoid").manifest.outputs[0].activation == "sigmoid"


def test_what_was_said_comes_first() -> None:
    manifest = proposed(
        facts(LOGITS, metadata={"model_type": "Classification", "mean_values": "1 2 3"}),
        mean=[9.0],
        scale=[2.0],
        color="BGR",
        resize="crop",
        title="T",
    ).manifest
    described = manifest.inputs[0]
    assert (described.mean, described.scale) == ((9.0,), (2.0,))
    assert (described.color_order, described.resize, manifest.title) == ("BGR", "crop", "T")


def test_each_head_gets_its_own_labels() -> None:
    two = (tensor("type", 1, 4, 1, 1, low=0.0, high=1.0), tensor("color", 1, 7, low=0.0, high=1.0))
    found = proposed(
        facts(*two),
        {"labels-type.txt": tuple("abcd"), "labels-color.txt": tuple("abcdefg")},
    )
    assert [(one.head, one.labels) for one in found.manifest.outputs] == [
        ("type", "labels-type.txt"),
        ("color", "labels-color.txt"),
    ]


def test_labels_of_the_right_number_are_taken_from_any_text() -> None:
    beside = {"imagenet_labels.txt": tuple("abcdefg"), "coco_classes.txt": tuple("abc")}
    assert proposed(facts(LOGITS), beside).labels == {"labels.txt": ("a", "b", "c")}


def test_a_thousand_classes_without_labels_are_offered_imagenets() -> None:
    found = proposed(facts(tensor("s", 1, 1000, low=-1.0, high=2.0)))
    assert found.manifest.outputs[0].labels == ""
    assert any("ImageNet" in note for note in found.notes)


def test_a_yolo_detector_is_set_up_whole() -> None:
    found = proposed(facts(YOLO, picture=BIG), {"coco.names": tuple(map(str, range(80)))})
    manifest = found.manifest
    assert (manifest.task, manifest.outputs[0].decoder) == ("object-detection", "yolov8")
    described = manifest.inputs[0]
    assert (described.scale, described.resize, described.pad_value) == ((255.0,), "letterbox", 114)
    assert len(found.labels["labels.txt"]) == 80


def test_yolox_takes_blue_first_and_the_corner() -> None:
    raw = tensor("o", 1, 3549, 85, column_boxes=(-2.0, 3.0), column_scores=UNIT)
    manifest = proposed(facts(raw, picture=tensor("i", 1, 3, 416, 416))).manifest
    described = manifest.inputs[0]
    assert (described.color_order, described.pad_position) == ("BGR", "top-left")
    assert (described.mean, described.scale) == ((), ())


def test_the_words_of_the_file_set_thresholds() -> None:
    words = {"model_type": "YOLOv8", "confidence_threshold": "0.4", "iou_threshold": "0.5"}
    manifest = proposed(facts(YOLO, picture=BIG, metadata=words)).manifest
    assert manifest.settings == {"threshold": 0.4, "iou": 0.5}


def test_rtdetr_is_not_taken_for_a_yolo_with_suppression_inside() -> None:
    rows = tensor("o", 1, 300, 6, column_boxes=(0.0, 1.0))
    words = {"task": "detect", "stride": "32", "head": "RTDETRDecoder", "names": "{0: 'a'}"}
    manifest = proposed(facts(rows, picture=BIG, metadata=words)).manifest
    assert (manifest.outputs[0].decoder, manifest.inputs[0].resize) == ("rtdetr", "stretch")
    assert (manifest.inputs[0].scale, manifest.settings) == ((255.0,), {})


def test_another_decoder_can_be_said() -> None:
    manifest = proposed(facts(YOLO, picture=BIG), decoder="yolov5").manifest
    assert manifest.outputs[0].decoder == "yolov5"


def test_a_question_is_asked_only_where_nothing_was_said() -> None:
    scores, boxes = tensor("l", 1, 100, 92, low=-9.0, high=3.0), tensor("b", 1, 100, 4)
    assert proposed(facts(scores, boxes)).missing
    assert not proposed(facts(scores, boxes), activation="softmax").missing


FEATURES = tensor("pool", 1, 1, 1, 1024, low=0.0, high=5.8)


def test_many_numbers_of_which_none_is_below_zero_are_features() -> None:
    found = proposed(facts(FEATURES), {"imagenet_labels.txt": ("a",) * 1001})
    assert found.manifest.task == "embedding"
    assert [one.tensor for one in found.manifest.outputs] == ["pool"]
    assert any("--task image-classification" in note for note in found.notes)


@pytest.mark.parametrize(
    ("output", "labels"),
    [
        (FEATURES, 1024),
        (tensor("scores", 1, 1001, low=0.0, high=5.8), 3),
        (tensor("scores", 1, 1024, low=-0.1, high=5.8), 0),
        (tensor("scores", 1, 1024, low=0.0, high=0.2), 0),
        (tensor("scores", 1, 20, low=0.0, high=5.8), 0),
        (tensor("scores", 1, 1024), 0),
    ],
)
def test_what_may_be_scores_is_taken_for_scores(output: TensorFacts, labels: int) -> None:
    beside = {"labels.txt": tuple(f"l{number}" for number in range(labels))} if labels else {}
    assert proposed(facts(output), beside).manifest.task == "image-classification"


def test_an_unknown_use_is_asked_for() -> None:
    unknown = facts(tensor("o", 1, 21, 512, 512))
    assert "--task" in proposed(unknown).missing[0]
    assert proposed(unknown, task="embedding").missing == ()


def test_a_model_without_pictures_gets_its_task_from_the_admin() -> None:
    words = facts(tensor("o", -1, 214), picture=tensor("bytes", -1, 2048, kind="i32"))
    assert proposed(words).missing
    manifest = proposed(words, task="step-detection").manifest
    assert [one.tensor for one in manifest.inputs] == ["bytes"]


def test_a_tokenizer_beside_the_model_is_named_in_its_manifest() -> None:
    outputs = (tensor("hidden", -1, -1, 384), tensor("pooled", -1, 384))
    words = facts(*outputs, picture=tensor("input_ids", -1, -1, kind="i64"))
    request = msgspec.convert({"name": "m", "task": "embedding"}, ImportRequest)
    manifest = propose(words, request, version=1, beside={}, has_tokenizer=True).manifest
    assert manifest.tokenizer is not None
    assert manifest.tokenizer.file == "tokenizer.json"
    assert [one.tensor for one in manifest.outputs] == ["pooled"]


def test_a_detector_whose_output_is_not_known_is_asked_about() -> None:
    found = proposed(facts(LOGITS), task="object-detection")
    assert "--decoder" in found.missing[0]


def test_a_kind_that_is_not_served_is_refused_by_name() -> None:
    with pytest.raises(ModelInvalid, match="segment"):
        proposed(facts(LOGITS, metadata={"task": "segment", "stride": "32"}))


def test_a_layout_that_does_not_fit_is_refused() -> None:
    with pytest.raises(ModelInvalid, match="layout"):
        proposed(facts(LOGITS), layout="CHW")


def test_a_grey_picture_is_grey_whatever_is_said() -> None:
    grey = tensor("i", 1, 1, 28, 28)
    assert proposed(facts(LOGITS, picture=grey)).manifest.inputs[0].color_order == "GRAY"


def test_the_size_is_what_was_said_or_what_the_file_says() -> None:
    request = msgspec.convert({"name": "m", "size": "640x480"}, ImportRequest)
    assert size_wanted(request, {}) == (640, 480)
    plain = msgspec.convert({"name": "m"}, ImportRequest)
    assert size_wanted(plain, {"stride": "32", "task": "detect", "imgsz": "[320, 640]"}) == (
        640,
        320,
    )
    assert size_wanted(plain, {}) is None


def test_a_tokenizer_beside_a_text_model_is_named_in_its_manifest() -> None:
    known = msgspec.structs.replace(
        facts(tensor("logits", -1, 2)),
        inputs=(tensor("input_ids", -1, -1, kind="i64"), tensor("mask", -1, -1, kind="i64")),
    )
    request = ImportRequest(name="m", task="text-classification")
    beside = {"labels.txt": ("bad", "good")}
    found = propose(known, request, version=1, beside=beside, has_tokenizer=True)
    assert found.missing == ()
    assert found.manifest.tokenizer is not None
    assert [one.tensor for one in found.manifest.inputs] == ["input_ids", "mask"]
    assert found.manifest.outputs[0].labels == "labels.txt"
