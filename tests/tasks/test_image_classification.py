import json

import msgspec
import numpy as np
import pytest

from appliance.errors import InvalidInput, ModelInvalid
from appliance.library.manifest import Input, Manifest, Output
from appliance.tasks.contract import Model, NoState, Payload
from appliance.tasks.image_classification import TASK, Classification, ClassificationParams
from tests.tiny_models import picture

TYPES = ("car", "bus", "truck")
COLOURS = ("white", "black")


def model(
    *,
    activation: str = "none",
    input_shape: tuple[int, ...] = (1, 8, 8, 3),
    layout: str = "NCHW",
    heads: tuple[str, ...] = ("type", "colour"),
    labels: dict[str, tuple[str, ...]] | None = None,
    output_shapes: dict[str, tuple[int, ...]] | None = None,
) -> Model:
    return Model(
        manifest=Manifest(
            manifest_version=1,
            name="vehicle",
            version=1,
            task="image-classification",
            inputs=(Input(tensor="image", layout=layout),),
            outputs=tuple(
                Output(
                    tensor=f"{head}_out", head=head, labels=f"{head}.txt", activation=activation
                )
                for head in heads
            ),
        ),
        labels={"type": TYPES, "colour": COLOURS} if labels is None else labels,
        input_shapes={"image": input_shape},
        output_shapes=output_shapes or {"type_out": (1, 3), "colour_out": (1, 2)},
    )


def classified(type_scores: list[float], **params: object) -> Classification:
    chosen = msgspec.convert(params, ClassificationParams)
    described = model()
    turn = TASK.decode(Payload(picture("red"), "image/png"), chosen, NoState(), described)
    outputs = [
        {
            "type_out": np.array([type_scores], np.float32),
            "colour_out": np.array([[0.9, 0.1]], np.float32),
        }
    ]
    return TASK.encode(outputs, turn, chosen, NoState(), described)


def test_a_picture_becomes_the_models_only_input() -> None:
    turn = TASK.decode(
        Payload(picture("red"), "image/png"), ClassificationParams(), NoState(), model()
    )
    (request,) = turn.inputs
    assert request["image"].shape == (1, 8, 8, 3)
    assert request["image"].dtype == np.uint8
    assert (request["image"] == [255, 0, 0]).all()


def test_every_head_gives_its_most_likely_labels_in_order() -> None:
    found = classified([0.2, 0.1, 0.7])
    first, second = found.predictions
    assert (first.head, first.label, first.confidence) == ("type", "truck", 0.7)
    assert [(one.label, one.index) for one in first.top] == [("truck", 2), ("car", 0), ("bus", 1)]
    assert (second.head, second.label) == ("colour", "white")
    assert TASK.summary(found) == ("truck", 0.7)


def test_top_k_bounds_each_head() -> None:
    found = classified([0.2, 0.1, 0.7], top_k=1)
    assert [len(one.top) for one in found.predictions] == [1, 1]
    assert [len(one.top) for one in classified([0.2, 0.1, 0.7], top_k=1000).predictions] == [3, 2]


def test_labels_below_min_confidence_are_left_out() -> None:
    found = classified([0.2, 0.1, 0.7], min_confidence=0.15)
    assert [one.label for one in found.predictions[0].top] == ["truck", "car"]
    nothing = classified([0.2, 0.1, 0.4], min_confidence=0.5).predictions[0]
    assert (nothing.label, nothing.confidence, nothing.top) == (None, None, ())


def test_equal_scores_keep_the_order_of_the_labels() -> None:
    assert [one.index for one in classified([0.5, 0.5, 0.5]).predictions[0].top] == [0, 1, 2]


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_values_that_are_no_numbers_are_flagged_and_the_json_is_valid(value: float) -> None:
    found = classified([0.2, value, 0.7])
    first, second = found.predictions
    assert (first.label, first.confidence, first.top) == (None, None, ())
    assert "not numbers" in first.warning
    assert second.label == "white"
    assert json.loads(msgspec.json.encode(found), parse_constant=pytest.fail)
    assert TASK.summary(found) == (None, None)


def test_a_class_without_label_is_named_by_its_index() -> None:
    described = model(heads=("type",), labels={"type": ()})
    turn = TASK.decode(
        Payload(picture(), "image/png"), ClassificationParams(), NoState(), described
    )
    outputs = [{"type_out": np.array([[0.1, 0.9]], np.float16)}]
    found = TASK.encode(outputs, turn, ClassificationParams(), NoState(), described)
    assert found.predictions[0].label == "class 1"


def test_softmax_and_sigmoid_are_those_of_the_manifest() -> None:
    scores = np.array([[1.0, 2.0, 1000.0]], np.float32)
    outputs = [{"type_out": scores}]
    for activation, expected in (("softmax", [0, 0, 1]), ("sigmoid", [0.731059, 0.880797, 1])):
        described = model(activation=activation, heads=("type",))
        turn = TASK.decode(
            Payload(picture(), "image/png"), ClassificationParams(), NoState(), described
        )
        found = TASK.encode(outputs, turn, ClassificationParams(), NoState(), described)
        by_index = sorted(found.predictions[0].top, key=lambda one: one.index)
        assert [one.confidence for one in by_index] == pytest.approx(expected, abs=1e-6)


def test_a_crop_outside_is_refused_by_name() -> None:
    params = ClassificationParams(crop=(10, 10, 10, 10))
    with pytest.raises(InvalidInput, match="16×16"):
        TASK.decode(Payload(picture("red", size=16), "image/png"), params, NoState(), model())


@pytest.mark.parametrize(
    "wrong",
    [
        {"top_k": 0},
        {"top_k": 1001},
        {"min_confidence": 1.1},
        {"min_confidence": -0.1},
        {"crop": [1, 2, 3]},
        {"topk": 1},
    ],
)
def test_parameters_out_of_bounds_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(wrong, ClassificationParams, strict=False)


def test_a_fitting_model_passes_the_check() -> None:
    TASK.check(model())
    TASK.check(model(output_shapes={"type_out": (-1, 3), "colour_out": ()}))


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (model(input_shape=(1, 8, 8, 4)), "shape is"),
        (model(input_shape=(1, -1, -1, 3)), "Fix height and width"),
        (model(input_shape=(1, 3)), "shape is"),
        (model(layout=""), "how pixels lie"),
        (model(heads=()), "names no output"),
        (model(heads=("type", "type")), "different names"),
        (model(output_shapes={"type_out": (1, 4), "colour_out": (1, 2)}), "4 classes.*names 3"),
    ],
)
def test_a_model_that_does_not_fit_is_refused_with_the_reason(wrong: Model, words: str) -> None:
    with pytest.raises(ModelInvalid, match=words):
        TASK.check(wrong)


def test_a_model_with_several_inputs_is_refused() -> None:
    wrong = msgspec.structs.replace(model().manifest, inputs=())
    described = Model(manifest=wrong, labels={}, input_shapes={"a": (1, 2), "b": (1, 2)})
    with pytest.raises(ModelInvalid, match="this model has 2"):
        TASK.check(described)


def test_a_session_is_one_turn() -> None:
    found = classified([0.2, 0.1, 0.7])
    turn = TASK.flush(ClassificationParams(), NoState(), model())
    assert turn.inputs == []
    assert turn.context is None
    assert TASK.join([found]) is found
    assert (
        msgspec.msgpack.decode(
            msgspec.msgpack.encode(TASK.open(ClassificationParams(), model())), type=TASK.State
        )
        == NoState()
    )
