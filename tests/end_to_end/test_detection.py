"""Detection by the whole product: boxes as JSON, the picture with boxes, and refusals."""

import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.end_to_end.running import Running, start, wait_for
from tests.real_models import DATA, YOLOX, write_yolox
from tests.tiny_models import write_detector_model

PATH = "/api/v1/models/quarters/predict"


@pytest.fixture(scope="module")
def detector(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    state = tmp_path_factory.mktemp("detector") / "state"
    write_detector_model(state / "models")
    if YOLOX.is_dir():
        write_yolox(state / "models")
    running = start(state, {})
    yield running
    running.kill()


def red_corner(width: int = 640, height: int = 480, form: str = "JPEG") -> bytes:
    picture = Image.new("RGB", (width, height))
    picture.paste((255, 0, 0), (0, 0, width // 2, height // 2))
    buffer = io.BytesIO()
    picture.save(buffer, form)
    return buffer.getvalue()


def recorded(detector: Running, prediction_id: str) -> dict[str, Any]:
    """The history's record of a prediction, which follows the answer a moment later."""
    path = f"/api/v1/predictions/{prediction_id}"
    wait_for(lambda: detector.get(path).status == 200, "the record")
    found: dict[str, Any] = detector.get(path).json()
    return found


def test_objects_are_told_with_their_boxes(detector: Running) -> None:
    answer = detector.predict(red_corner(), model="quarters", content_type="image/jpeg")
    assert answer.status == 200, answer
    document = answer.json()
    assert document["task"] == "object-detection"
    ((found),) = document["result"]["objects"]
    assert found["label"] == "red"
    assert found["confidence"] > 0.95
    assert found["box"] == {"x1": 0.0, "y1": 0.0, "x2": 320.0, "y2": 240.0}
    assert recorded(detector, document["id"])["label"] == "red"


@pytest.mark.parametrize("media", ["image/jpeg", "image/png"])
def test_who_accepts_a_picture_gets_it_with_boxes(detector: Running, media: str) -> None:
    answer = detector.predict(
        red_corner(), model="quarters", content_type="image/jpeg", headers={"Accept": media}
    )
    assert (answer.status, answer.headers["content-type"]) == (200, media)
    picture = Image.open(io.BytesIO(answer.body))
    assert picture.size == (640, 480)
    history = recorded(detector, answer.headers["x-prediction-id"])
    assert history["result"]["objects"][0]["label"] == "red"


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("threshold=2", "threshold"),
        ("classes=red,cow", "no class 'cow'"),
        ("tiles=99x1", "tiles"),
        ("crop=600,0,100,10", "reaches outside"),
        ("colour=red", "has no parameter 'colour'"),
    ],
)
def test_parameters_that_do_not_fit_are_refused_by_name(
    detector: Running, query: str, words: str
) -> None:
    headers = {"Content-Type": "image/jpeg", "Accept": "image/jpeg"}
    answer = detector.call("POST", f"{PATH}?{query}", red_corner(), headers=headers)
    assert (answer.status, answer.problem) == (422, "invalid-input")
    assert re.search(words, answer.json()["detail"])


def test_parameters_do_what_they_say(detector: Running) -> None:
    def labels(query: str) -> list[str]:
        answer = detector.call(
            "POST", f"{PATH}?{query}", red_corner(), headers={"Content-Type": "image/jpeg"}
        )
        assert answer.status == 200, answer
        return [one["label"] for one in answer.json()["result"]["objects"]]

    assert labels("classes=Red") == ["red"]
    assert labels("classes=blue") == []
    assert labels("threshold=1") == []
    assert labels("crop=320,240,320,240") == []
    assert labels("tiles=2x2&max_objects=1") == ["red"]


def test_the_description_lists_the_parameters(detector: Running) -> None:
    described = detector.get("/api/v1/models/quarters").json()
    names = {one["name"] for one in described["params"]}
    assert names == {
        "threshold", "iou", "max_objects", "classes", "tiles", "overlap", "crop",
    }  # fmt: skip
    assert described["labels"] == {"boxes": ["red", "blue"]}
    paths = detector.get("/openapi.json").json()["paths"]
    content = paths["/api/v1/models/{model}/predict"]["post"]["responses"]["200"]["content"]
    assert {"application/json", "image/jpeg", "image/png"} <= set(content)


@pytest.mark.skipif(not YOLOX.is_dir(), reason="../shared/data/models/yolox is not here")
def test_a_real_detector_answers(detector: Running) -> None:
    body = (Path(DATA) / "coco" / "images" / "000000000285.jpg").read_bytes()
    answer = detector.predict(body, model="yolox-nano", content_type="image/jpeg")
    assert [one["label"] for one in answer.json()["result"]["objects"]] == ["bear"]
