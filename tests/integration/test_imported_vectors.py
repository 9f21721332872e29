"""Models of texts, and of pictures that become vectors, as somebody brings them along."""

import io
import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from appliance.host.hosted_model import HostedModel
from tests.import_parts import a_specification, run
from tests.shared_data import shared_file
from tests.tiny_texts import write_text_model

pytestmark = pytest.mark.filterwarnings("ignore:::PIL")


def installed(tmp_path: Path, files: dict[str, bytes], **said: Any) -> HostedModel:
    told = a_specification(tmp_path, files, **said)
    run(told)
    return HostedModel(told.host)


def ask(model: HostedModel, body: bytes, kind: str, **params: Any) -> Any:
    header = {"method": "predict", "params": params, "content_type": kind}
    return json.loads(model.answer(header, bytearray(body))[1])


def small(photo: Path) -> bytes:
    buffer = io.BytesIO()
    Image.open(photo).convert("RGB").resize((300, 200)).save(buffer, "PNG")
    return buffer.getvalue()


def test_a_text_classifier_is_read_with_the_tokenizer_beside_it(tmp_path: Path) -> None:
    made = write_text_model(tmp_path / "made").directory
    names = ("model.xml", "model.bin", "tokenizer.json", "labels.txt")
    files = {name: (made / name).read_bytes() for name in names}
    model = installed(tmp_path / "in", files, task="text-classification")
    found = ask(model, b"good food", "text/plain")
    assert found["predictions"][0]["label"] == "positive"
    assert found["tokens"] == 4


def test_a_picture_embedder_of_tflite_answers_with_its_1024_numbers(tmp_path: Path) -> None:
    name = "mobilenet_v1_1.0_224_quant_embedding_extractor.tflite"
    file = shared_file(f"models/coral/{name}")
    model = installed(tmp_path, {name: file.read_bytes()}, task="embedding")
    photos = sorted(shared_file("photos/COPYRIGHT").parent.glob("*.jpg"))[:2]
    first, second = (ask(model, small(photo), "image/png", normalise=True) for photo in photos)
    assert first["dimensions"] == len(first["embedding"]) == 1024
    cosine = sum(a * b for a, b in zip(first["embedding"], second["embedding"], strict=True))
    assert 0 <= cosine < 0.95
