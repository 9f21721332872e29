import msgspec
import numpy as np
import pytest

from appliance.errors import InvalidInput, ModelInvalid
from appliance.library.manifest import Input, Manifest, Output
from appliance.tasks.contract import Model
from appliance.tasks.text_classification import TextParams
from appliance.tasks.texts import Texts
from appliance.tasks.zero_shot import (
    TEMPLATE,
    check_zero_shot,
    template_of,
    zero_shot_predictions,
    zero_shot_turn,
)

ONE = Texts(("text",), is_list=False)


def model(**settings: object) -> Model:
    return Model(
        manifest=Manifest(
            manifest_version=1,
            name="text",
            version=1,
            task="embedding",
            inputs=(Input(tensor="ids"),),
            outputs=(Output(tensor="embedding"),),
            settings=settings,
        ),
        labels={},
        input_shapes={"ids": [-1, -1]},
    )


def sentences(wording: str | None, *labels: str, **settings: object) -> list[str]:
    turn = zero_shot_turn(ONE, model(**settings), labels=labels, template=wording)
    rows: dict[int, str] = {}
    for group, tensors in zip(turn.context.groups, turn.inputs, strict=True):
        for row, ids in zip(group, tensors["ids"], strict=True):
            rows[row] = bytes(ids[ids > 0].tolist()).decode()
    return [rows[row] for row in sorted(rows)]


def test_each_label_becomes_a_sentence_beside_the_text() -> None:
    assert sentences(None, "sports", "money") == [
        "text",
        "This text is about sports.",
        "This text is about money.",
    ]


def test_the_caller_or_the_manifest_words_the_sentence() -> None:
    assert sentences("It was {}.", "good") == ["text", "It was good."]
    assert sentences(None, "good", template="So {}!") == ["text", "So good!"]
    assert template_of(model()) == TEMPLATE


def test_labels_are_trimmed_and_named_once() -> None:
    turn = zero_shot_turn(ONE, model(), labels=[" a", "a", "b "], template=None)
    assert turn.context.labels == ("a", "b")


def test_what_cannot_be_meant_is_refused() -> None:
    with pytest.raises(InvalidInput, match="label is empty"):
        zero_shot_turn(ONE, model(), labels=["a", " "], template=None)
    with pytest.raises(InvalidInput, match=r"must hold \{\}"):
        zero_shot_turn(ONE, model(), labels=["a"], template="about")
    for params in ({"labels": []}, {"labels": ["a"] * 101}, {"labels": ["a" * 201]}):
        with pytest.raises(msgspec.ValidationError):
            msgspec.convert(params, TextParams)


def test_the_nearest_label_wins_whatever_the_length_of_the_vectors() -> None:
    rows = np.array([[9.0, 1.0], [0.0, 0.1], [2.0, 0.0], [0.0, 50.0]], np.float32)
    found = zero_shot_predictions(rows, ("right", "up"), TextParams(), model())
    assert [one.label for one in found] == ["right", "up"]
    assert found[0].head == "labels"
    assert sum(one.confidence for one in found[0].top) == pytest.approx(1)


def test_a_larger_scale_is_surer() -> None:
    rows = np.array([[1.0, 0.5], [1.0, 0.0], [0.0, 1.0]])
    mild, sure = (
        zero_shot_predictions(rows, ("a", "b"), TextParams(), model(similarity_scale=scale))[0]
        for scale in (1, 20)
    )
    assert mild.confidence is not None
    assert sure.confidence is not None
    assert mild.confidence < sure.confidence


def test_values_that_are_no_numbers_are_flagged() -> None:
    rows = np.array([[np.nan, 1.0], [1.0, 0.0], [0.0, 1.0]])
    (found,) = zero_shot_predictions(rows, ("a", "b"), TextParams(), model())
    assert found.label is None
    assert "not numbers" in found.warning


@pytest.mark.parametrize(
    "settings", [{"template": "none"}, {"similarity_scale": 0}, {"similarity_scale": "x"}]
)
def test_a_manifest_that_cannot_be_meant_is_refused(settings: dict[str, object]) -> None:
    check_zero_shot(model())
    with pytest.raises(ModelInvalid, match="settings"):
        check_zero_shot(model(**settings))
