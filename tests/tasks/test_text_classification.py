import json
from pathlib import Path
from typing import Any

import pytest

from appliance.errors import InvalidInput, ModelInvalid
from appliance.host.hosted_model import HostedModel
from tests.host.test_hosted_model import specification
from tests.tiny_models import change
from tests.tiny_texts import write_text_model


@pytest.fixture
def models(tmp_path: Path) -> Path:
    return tmp_path / "models"


def hosted(models: Path, **changes: Any) -> HostedModel:
    return HostedModel(specification(write_text_model(models, **changes)))


def ask(model: HostedModel, body: str, kind: str = "text/plain", **params: Any) -> Any:
    header = {"method": "predict", "params": params, "content_type": kind}
    reply, encoded = model.answer(header, bytearray(body.encode()))
    return {**json.loads(encoded), "label": reply["label"]}


def ask_many(model: HostedModel, *texts: str, **params: Any) -> Any:
    return ask(model, json.dumps({"texts": texts}), "application/json", **params)["results"]


def test_a_text_is_answered_by_every_head(models: Path) -> None:
    found = ask(hosted(models, golden_label="positive"), "Good FOOD")
    (head,) = found["predictions"]
    assert (head["head"], head["label"], found["label"]) == ("mood", "positive", "positive")
    assert head["confidence"] == pytest.approx(0.952574)
    assert [one["label"] for one in head["top"]] == ["positive", "negative"]
    assert (found["tokens"], found["truncated"]) == (4, False)
    assert "results" not in found


def test_json_is_answered_like_plain_text(models: Path) -> None:
    model = hosted(models)
    assert ask(model, '{"text": "bad film"}', "application/json") == ask(model, "bad film")


def test_a_list_is_answered_in_its_order(models: Path) -> None:
    found = ask_many(hosted(models), "good", "bad " * 10, "not good", "good food")
    assert [one["predictions"][0]["label"] for one in found] == [
        "positive",
        "negative",
        "positive",
        "positive",
    ]
    assert [one["tokens"] for one in found] == [3, 12, 4, 4]


def test_a_list_of_one_is_still_a_list(models: Path) -> None:
    assert len(ask_many(hosted(models), "good")) == 1


def test_what_is_cut_is_told(models: Path) -> None:
    model = hosted(models, max_tokens=6)
    found = ask(model, "good good good good bad bad bad bad bad")
    assert (found["tokens"], found["truncated"]) == (6, True)
    assert found["predictions"][0]["label"] == "positive"


def test_a_network_of_fixed_shape_answers_the_same(models: Path) -> None:
    loose, fixed = hosted(models), hosted(models, name="fixed", shape=(1, 8))
    texts = ("good", "bad film", "very good food")
    assert ask_many(loose, *texts) == ask_many(fixed, *texts)


def test_without_a_tokenizer_the_network_reads_bytes(models: Path) -> None:
    model = hosted(models, has_tokenizer=False)
    assert [one["predictions"][0]["label"] for one in ask_many(model, "abc", "xyz")] == [
        "negative",
        "positive",
    ]


def test_labels_below_min_confidence_and_beyond_top_k_are_left_out(models: Path) -> None:
    model = hosted(models)
    assert len(ask(model, "good", top_k=1)["predictions"][0]["top"]) == 1
    assert ask(model, "film", min_confidence=0.9)["predictions"][0]["label"] is None


def test_a_model_with_labels_takes_no_others(models: Path) -> None:
    with pytest.raises(InvalidInput, match="labels of its own"):
        ask(hosted(models), "good", labels=["a", "b"])


def test_a_model_without_labels_needs_some(models: Path) -> None:
    model = hosted(models, decoder="embedding")
    with pytest.raises(InvalidInput, match=r"name some, such as \?labels="):
        ask(model, "good")
    found = ask(model, "very good food", labels=["bad", "good"], template="{} film")
    assert found["label"] == "good"
    (head,) = found["predictions"]
    assert {one["label"]: one["index"] for one in head["top"]} == {"bad": 0, "good": 1}


def test_a_missing_or_broken_tokenizer_is_told_when_the_model_is_loaded(models: Path) -> None:
    place = write_text_model(models)
    change(place, "tokenizer.json", lambda content: b"{}")
    with pytest.raises(ModelInvalid, match=r"tokenizer.json of mood@1 cannot be read"):
        HostedModel(specification(place))
    (place.directory / "tokenizer.json").unlink()
    change(place, "labels.txt", lambda content: content)
    with pytest.raises(ModelInvalid, match=r"tokenizer.json is missing from mood@1"):
        HostedModel(specification(place))


def test_too_few_labels_are_refused(models: Path) -> None:
    place = write_text_model(models)
    change(place, "labels.txt", lambda content: b"negative\n")
    with pytest.raises(ModelInvalid, match=r"has 2 classes, but labels.txt names 1"):
        HostedModel(specification(place))
