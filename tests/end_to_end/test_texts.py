"""Texts by the whole product, with a model of a few words."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.end_to_end.running import Answer, Running, start, wait_for
from tests.tiny_texts import write_text_model

MOST_TEXTS = 20
PLAIN, LISTS = "text/plain; charset=utf-8", "application/json"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    state: Path = tmp_path_factory.mktemp("texts") / "state"
    write_text_model(state / "models", golden_label="positive")
    write_text_model(state / "models", name="vector", task="embedding")
    running = start(state, {"APPLIANCE_LIMITS__TEXTS": str(MOST_TEXTS)})
    yield running
    running.kill()


def ask(served: Running, path: str, body: bytes | str, kind: str = PLAIN) -> Answer:
    raw = body if isinstance(body, bytes) else body.encode()
    return served.call(
        "POST", f"/api/v1/models/{path}", raw, headers={"Content-Type": kind}, timeout_seconds=60
    )


def result(answer: Answer) -> Any:
    assert answer.status == 200, answer
    return answer.json()["result"]


def test_a_text_and_a_list_are_answered(served: Running) -> None:
    one = result(ask(served, "mood/predict?top_k=1", "good food"))
    assert one["predictions"][0]["label"] == "positive"
    many = result(ask(served, "mood/predict", '{"texts": ["bad", "good"]}', LISTS))
    assert [each["predictions"][0]["label"] for each in many["results"]] == [
        "negative",
        "positive",
    ]


def test_a_file_of_a_form_is_a_text_too(served: Running) -> None:
    form = (
        b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.txt"\r\n'
        b"Content-Type: text/plain\r\n\r\nbad film\r\n--x--\r\n"
    )
    found = result(ask(served, "mood/predict", form, "multipart/form-data; boundary=x"))
    assert found["predictions"][0]["label"] == "negative"


def test_embeddings_and_any_labels(served: Running) -> None:
    assert result(ask(served, "vector/predict?normalise=true", "good"))["embedding"] == [0.0, 1.0]
    found = result(ask(served, "vector/predict?labels=bad,good&template=%7B%7D", "very good food"))
    assert found["predictions"][0]["label"] == "good"


def test_a_prediction_is_found_again_by_its_label(served: Running) -> None:
    ask(served, "mood/predict", "bad bad")

    def rows() -> Any:
        return served.call("GET", "/api/v1/predictions?model=mood&label=negative").json()

    wait_for(lambda: rows()["predictions"], "the row")  # history is written after the answer


@pytest.mark.parametrize(
    "text",
    [
        "x" * 1024 * 1024,
        "😀" * 10_000,
        "\u200b\u200d\ufeff." * 1000,
        "e\u0301" * 10_000,
        "\x01\x02\x7f good",
    ],
    ids=["a megabyte without spaces", "emoji", "zero width", "combining", "controls"],
)
def test_strange_texts_are_answered(served: Running, text: str) -> None:
    found = result(ask(served, "mood/predict", text))
    assert found["tokens"] <= 16
    found = result(ask(served, "mood/predict", json.dumps({"text": text[:20_000]}), LISTS))
    assert found["tokens"] <= 16


@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        (b"\xff\xfe", PLAIN, 422),
        (b"a\0b", PLAIN, 422),
        (b" ", PLAIN, 422),
        (b'{"text": "\\ud800"}', LISTS, 422),
        (b'{"texts": []}', LISTS, 422),
        (b'{"text": "a"}' + b" " * (1024 * 1024), LISTS, 413),
        (json.dumps({"texts": ["a"] * (MOST_TEXTS + 1)}).encode(), LISTS, 413),
        (b"<p>", "text/html", 415),
    ],
)
def test_what_is_no_text_is_refused(served: Running, body: bytes, kind: str, status: int) -> None:
    answer = ask(served, "mood/predict", body, kind)
    assert answer.status == status, answer
    assert answer.problem
