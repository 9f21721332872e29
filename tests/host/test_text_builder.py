import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from appliance.errors import ModelInvalid
from appliance.host import text_builder
from appliance.host.bert_encoder import BertShape
from appliance.host.hosted_model import HostedModel
from appliance.library import text_package
from appliance.library.versions import VersionDirectory
from tests.host.test_hosted_model import specification
from tests.tiny_bert import CONFIG, HIDDEN, states, tiny_weights, write_package
from tests.tiny_texts import write_safetensors

SHAPE = msgspec.convert(CONFIG, BertShape)
TOKENS = [2, 4, 6, 3]  # good food


def recipe(folder: Path, name: str) -> Path:
    """Return a copy of what ships, without the answers of the real encoder."""
    target = folder / "recipes" / name
    shutil.copytree(text_package.RECIPES / name, target)
    shutil.rmtree(target / "golden", ignore_errors=True)
    return target


def built(folder: Path, name: str, weights: Any) -> HostedModel:
    package = write_package(folder / "package")
    found = recipe(folder, name)
    if name == "sentiment":
        write_safetensors(found / text_builder.HEAD, weights)
    directory = text_builder.build(
        found,
        folder / "models",
        weights=tiny_weights(),
        shape=SHAPE,
        tokenizer=package / "tokenizer.json",
    )
    return HostedModel(specification(VersionDirectory(name, 1, directory)))


def ask(model: HostedModel, text: str) -> Any:
    header = {"method": "predict", "content_type": "text/plain"}
    return json.loads(model.answer(header, bytearray(text.encode()))[1])


def test_the_embedding_is_the_mean_of_the_last_layer(tmp_path: Path) -> None:
    found = ask(built(tmp_path, "text-embedding", None), "good food")
    wanted = states(tiny_weights(), TOKENS)[-1].mean(0)
    assert found["dimensions"] == HIDDEN
    np.testing.assert_allclose(found["embedding"], wanted, atol=5e-3)  # weights stored as f16


def test_a_head_reads_the_means_of_as_many_last_layers_as_it_is_wide(tmp_path: Path) -> None:
    random = np.random.default_rng(1)
    head = {
        "weight": random.normal(size=(2, 2 * HIDDEN)).astype(np.float32),
        "bias": np.array([0.5, -0.5], np.float32),
    }
    found = ask(built(tmp_path, "sentiment", head), "good food")["predictions"][0]
    means = np.concatenate([state.mean(0) for state in states(tiny_weights(), TOKENS)[-2:]])
    scores = head["weight"] @ means + head["bias"]
    best = int(np.argmax(scores))
    assert found["label"] == ("negative", "positive")[best]
    confidence = 1 / (1 + np.exp(scores[1 - best] - scores[best]))
    assert found["confidence"] == pytest.approx(confidence, abs=0.01)


def test_a_head_of_another_width_is_refused() -> None:
    head = {"weight": np.zeros((2, HIDDEN + 1)), "bias": np.zeros(2)}
    with pytest.raises(ModelInvalid, match="no number of layers"):
        text_builder.text_network(tiny_weights(), SHAPE, head=head)


def test_weights_that_are_no_bert_are_refused() -> None:
    with pytest.raises(ModelInvalid, match=r"lack 'embeddings.word_embeddings.weight'"):
        text_builder.text_network({}, SHAPE)


def test_tensors_come_as_they_were_written(tmp_path: Path) -> None:
    wanted = {
        "a": np.arange(6, dtype=np.float32).reshape(2, 3),
        "b": np.zeros((0, 3), np.float32),
        "c": np.array([[-1]], np.int64),
    }
    write_safetensors(tmp_path / "x.safetensors", wanted)
    found = text_builder.tensors_of(tmp_path / "x.safetensors")
    assert {name: one.tolist() for name, one in found.items()} == {
        name: one.tolist() for name, one in wanted.items()
    }


def test_as_a_program_it_says_why_it_failed(tmp_path: Path) -> None:
    package = write_package(tmp_path / "package", {"x": np.zeros(1, np.float32)})
    done = subprocess.run(
        [sys.executable, "-m", "appliance.host.text_builder", str(package), str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.returncode == 1
    assert "it is no BERT" in done.stdout
