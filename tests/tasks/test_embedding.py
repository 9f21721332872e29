import json
import math
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from appliance.errors import InvalidInput, ModelInvalid
from appliance.host.hosted_model import HostedModel
from appliance.library.manifest import Input, Manifest, Output
from appliance.tasks.contract import Model, NoState, Turn
from appliance.tasks.embedding import TASK, EmbeddingParams
from tests.host.test_hosted_model import specification
from tests.tiny_models import change, picture, substitute, write_colour_model
from tests.tiny_texts import write_text_model

pytestmark = pytest.mark.filterwarnings("ignore:::PIL")


@pytest.fixture
def models(tmp_path: Path) -> Path:
    return tmp_path / "models"


@pytest.fixture
def texts(models: Path) -> HostedModel:
    return HostedModel(specification(write_text_model(models, task="embedding")))


@pytest.fixture
def pictures(models: Path) -> HostedModel:
    place = write_colour_model(models, task="embedding", has_golden=False)
    change(place, "manifest.toml", substitute('labels = "labels.txt"\n', ""))
    return HostedModel(specification(place))


def ask(model: HostedModel, body: bytes | str, kind: str = "text/plain", **params: Any) -> Any:
    header = {"method": "predict", "params": params, "content_type": kind}
    raw = body.encode() if isinstance(body, str) else body
    reply, encoded = model.answer(header, bytearray(raw))
    return {**json.loads(encoded), "label": reply["label"]}


def test_a_text_becomes_a_vector(texts: HostedModel) -> None:
    assert ask(texts, "good very") == {
        "embedding": pytest.approx([0.1, 3.1], abs=1e-6),
        "dimensions": 2,
        "tokens": 4,
        "truncated": False,
        "label": None,
    }


def test_several_texts_become_several_in_their_order(texts: HostedModel) -> None:
    found = ask(texts, '{"texts": ["bad", "good good good"]}', "application/json")
    assert found["embeddings"] == [[3.0, 0.0], [0.0, 9.0]]
    assert found["dimensions"] == 2
    assert found["texts"] == [
        {"tokens": 3, "truncated": False},
        {"tokens": 5, "truncated": False},
    ]


def test_a_vector_is_brought_to_length_one_on_request(texts: HostedModel) -> None:
    found = ask(texts, "good bad", normalise=True)["embedding"]
    assert found == pytest.approx([math.sqrt(0.5)] * 2)
    assert ask(texts, "film", normalise=True)["embedding"] == [0.0, 0.0]


def test_labels_ask_for_the_nearest_instead(texts: HostedModel) -> None:
    found = ask(texts, "very good", labels=["bad", "good"], top_k=1)
    assert found["label"] == "good"
    assert "embedding" not in found
    assert [one["label"] for one in found["predictions"][0]["top"]] == ["good"]
    many = ask(texts, '{"texts": ["bad"]}', "application/json", labels=["bad", "good"])
    assert many["results"][0]["predictions"][0]["label"] == "bad"


def test_a_picture_becomes_a_vector(pictures: HostedModel) -> None:
    found = ask(pictures, picture("red"), "image/png", normalise=True)
    assert found["dimensions"] == 3
    assert found["embedding"] == pytest.approx([3**-0.5, -(3**-0.5), -(3**-0.5)])
    assert "tokens" not in found


def test_what_belongs_to_the_other_kind_is_refused(
    texts: HostedModel, pictures: HostedModel
) -> None:
    with pytest.raises(InvalidInput, match="no part to crop"):
        ask(texts, "good", crop=[0, 0, 1, 1])
    with pytest.raises(InvalidInput, match="takes pictures"):
        ask(pictures, picture("red"), "image/png", labels=["a"])


def described(layout: str = "", outputs: int = 1) -> Model:
    return Model(
        manifest=Manifest(
            manifest_version=1,
            name="vector",
            version=1,
            task="embedding",
            inputs=(Input(tensor="x", layout=layout),),
            outputs=tuple(Output(tensor=f"out{number}") for number in range(outputs)),
        ),
        labels={},
        input_shapes={"x": [1, 8, 8, 3] if layout else [-1, -1]},
    )


def test_a_model_has_one_output(models: Path) -> None:
    TASK.check(described())
    TASK.check(described("NCHW"))
    with pytest.raises(ModelInvalid, match="names 2"):
        TASK.check(described(outputs=2))


def test_values_that_are_no_numbers_are_flagged() -> None:
    outputs = [{"out0": np.array([[1.0, np.inf]], np.float32)}]
    found = TASK.encode(
        outputs, Turn([], None), EmbeddingParams(normalise=True), NoState(), described("NCHW")
    )
    assert "not numbers" in found.warning
    assert "embedding" not in json.loads(msgspec.json.encode(found))
