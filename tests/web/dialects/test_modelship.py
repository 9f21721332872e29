"""ModelShip's routes: its shapes, our answers."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import falcon.testing
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from appliance.actions.predict import Predictor
from appliance.clock import ManualClock
from appliance.config import Dialects, History, Limits
from appliance.errors import ModelUnavailable
from appliance.metrics import Metrics
from appliance.store import predictions
from appliance.store.database import Database
from appliance.web.dialects import modelship
from tests.access_parts import opened
from tests.actions.examples import StubEngine, a_device, a_status
from tests.web.routed import Routed, a_file, form

C = "/api/classify"
PICTURE = json.dumps(
    {
        "predictions": [
            {
                "head": "h",
                "label": "truck",
                "confidence": 0.75,
                "top": [
                    {"label": "truck", "index": 0, "confidence": 0.75},
                    {"label": "van", "index": 1, "confidence": 0.2},
                ],
            }
        ]
    }
).encode()
TEXT = json.dumps({**json.loads(PICTURE), "tokens": 4, "truncated": False}).encode()
OBJECTS = json.dumps(
    {
        "width": 640,
        "height": 480,
        "objects": [
            {
                "label": "person",
                "class_id": 0,
                "confidence": 0.9314,
                "box": {"x1": 300, "y1": 20, "x2": 420.4, "y2": 470},
            },
            {
                "label": "car",
                "class_id": 2,
                "confidence": 0.41,
                "box": {"x1": 0.4, "y1": 9.6, "x2": 100.5, "y2": 200},
            },
        ],
    }
).encode()
TOKENS = ({"name": "input_ids", "datatype": "INT64", "shape": [-1, -1]},)
STATUSES = (
    a_status("scenes", 4),
    a_status("yolox", 2, task=modelship.OBJECTS),
    a_status("sentiment", 1, task=modelship.TEXT, labels={"s": ("good", "bad")}),
    a_status("any-labels", 1, task=modelship.TEXT, labels={"e": ()}, inputs=TOKENS),
    a_status("faces", 1, task=modelship.EMBEDDING, labels={"e": ()}),
    a_status("likeness", 1, task=modelship.EMBEDDING, labels={"e": ()}, inputs=TOKENS),
)


class Here:
    """The routes in this process."""

    def __init__(self, database: Database, **chosen: str) -> None:
        self.engine = StubEngine(*STATUSES)
        predictor = Predictor(self.engine, database, ManualClock(), History(), Metrics())  # type: ignore[arg-type]
        table = modelship.routes(
            self.engine,  # type: ignore[arg-type]
            predictor,
            limits=Limits(input_bytes=1000),
            settings=Dialects(**chosen),
        )
        self.routed = Routed(
            *table, caller=a_device(), dialects={modelship.PREFIX: modelship.error_body}
        )

    def post(self, path: str, *parts: tuple[str, bytes]) -> falcon.testing.Result:
        body, headers = form(*parts)
        return self.routed.post(C + path, body, headers=headers)

    def text(self, **fields: str) -> falcon.testing.Result:
        return self.post("/text", *(field(name, value) for name, value in fields.items()))


def field(name: str, value: str) -> tuple[str, bytes]:
    return f'Content-Disposition: form-data; name="{name}"', value.encode()


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with opened(tmp_path / "state", ManualClock()) as database:
        yield database


@pytest.fixture
def here(database: Database) -> Here:
    return Here(database)


def test_a_picture_is_classified_in_percent(here: Here, database: Database) -> None:
    here.engine.result = PICTURE
    answer = here.post("/image", a_file(b"picture"))
    document = answer.json
    assert answer.status_code == 200
    assert database.flush()
    assert predictions.get(database, document.pop("classification_id")) is not None
    assert document.pop("processing_time") >= 0
    assert document == {
        "predicted_label": "truck",
        "confidence": 75.0,
        "model_used": "scenes@4",
        "status": "success",
        "metadata": {
            "filename": "p.png",
            "predictions": [
                {"label": "truck", "confidence": 75.0},
                {"label": "van", "confidence": 20.0},
            ],
        },
    }


def test_objects_have_the_guides_boxes_and_summary(here: Here) -> None:
    here.engine.result = OBJECTS
    document = here.post(
        "/image/detect", a_file(b"x"), field("project_id", "3"), field("model_name", "yolo8n")
    ).json
    first, second = document["detections"]
    assert first == {
        "class_name": "person",
        "class_id": 0,
        "confidence": 0.931,
        "quality_score": 0.931,
        "quality_level": "high",
        "bbox": {
            "x1": 300,
            "y1": 20,
            "x2": 420,
            "y2": 470,
            "center_x": 360,
            "center_y": 245,
            "width": 120,
            "height": 450,
        },
        "is_high_quality": True,
        "sahi_detected": False,
    }
    assert (second["quality_level"], second["is_high_quality"]) == ("medium", False)
    assert document["summary"] == {
        "unique_classes": 2,
        "class_distribution": {"person": 1, "car": 1},
        "average_confidence": 0.671,
        "max_confidence": 0.931,
        "min_confidence": 0.41,
        "high_quality_detections": 1,
    }
    assert (document["project_id"], document["model_used"]) == ("3", "yolox@2")
    assert (document["total_objects_detected"], document["slice_configuration"]) == (2, None)
    assert document["image_dimensions"] == {"width": 640, "height": 480}
    assert here.engine.calls[0][2]["params"] == {"threshold": "0.25"}


def test_slicing_looks_at_tiles(here: Here) -> None:
    here.engine.result = OBJECTS
    parts = (field("use_sahi_slicing", "true"), field("confidence_threshold", "0.5"))
    document = here.post("/image/detect", a_file(b"x"), *parts).json
    assert document["slice_configuration"] == {"tiles": "auto"}
    assert document["detections"][0]["sahi_detected"] is True
    assert here.engine.calls[0][2]["params"] == {
        "threshold": "0.5",
        "tiles": "auto",
        "overlap": "0.2",
    }


def test_a_picture_with_its_boxes_is_had_elsewhere(here: Here) -> None:
    answer = here.routed.get(f"{C}/annotated/annotated_17.jpg")
    assert (answer.status_code, list(answer.json)) == (404, ["detail"])
    assert "/api/v1/models/{model}/predict" in answer.json["detail"]
    assert "Accept: image/jpeg" in answer.json["detail"]


def test_a_detector_may_be_named(here: Here) -> None:
    here.engine.result = OBJECTS
    named = here.post("/image/detect", a_file(b"x"), field("model_name", "yolox"))
    assert named.status_code == 200
    other = here.post("/image/detect", a_file(b"x"), field("model_name", "scenes"))
    assert (other.status_code, list(other.json)) == (422, ["detail"])
    missing = here.post("/image/detect", a_file(b"x"), field("model_name", "gone"))
    assert (missing.status_code, list(missing.json)) == (404, ["detail"])


def test_a_text_is_classified_by_the_model_of_that_name(here: Here) -> None:
    here.engine.result = TEXT
    document = here.text(text="fine", include_metadata="true").json
    assert document.pop("processing_time") >= 0
    assert document.pop("classification_id")
    assert document == {
        "predicted_label": "truck",
        "confidence": 75.0,
        "status": "success",
        "classification_type": "sentiment",
        "model_used": "sentiment@1",
        "metadata": {"tokens": 4, "truncated": False},
        "all_predictions": [
            {"label": "truck", "confidence": 75.0},
            {"label": "van", "confidence": 20.0},
        ],
    }
    (call,) = here.engine.calls
    assert (call[0], call[2]["content_type"], call[3]) == ("sentiment", "text/plain", b"fine")


def test_a_text_may_come_url_encoded(here: Here) -> None:
    here.engine.result = TEXT
    answer = here.routed.post(
        C + "/text",
        b"text=gr%C3%BCn&classification_type=sentiment",
        headers={"Content-Type": "application/x-www-form-urlencoded"},
    )
    assert (answer.status_code, "metadata" in answer.json) == (200, False)
    assert here.engine.calls[0][3] == "grün".encode()


def test_custom_categories_need_a_model_without_labels_of_its_own(here: Here) -> None:
    here.engine.result = TEXT
    here.text(text="x", classification_type="topic", custom_categories="a, b,,")
    (call,) = here.engine.calls
    assert (call[0], call[2]["params"]) == ("any-labels", {"labels": ["a", "b"]})
    here.engine.statuses = [one for one in here.engine.statuses if one.name != "any-labels"]
    here.text(text="x", custom_categories="a,b")
    assert here.engine.calls[1][0] == "likeness"
    here.engine.statuses = [one for one in here.engine.statuses if one.name != "likeness"]
    answer = here.text(text="x", custom_categories="a,b")
    assert (answer.status_code, list(answer.json)) == (404, ["detail"])


def test_no_rule_of_thumb_answers_for_a_model_that_is_not_there(here: Here) -> None:
    answer = here.text(text="x", classification_type="spam")
    assert answer.status_code == 404
    assert "any-labels, sentiment" in answer.json["detail"]
    here.engine.statuses = []
    for path in ("/image", "/image/detect"):
        answer = here.post(path, a_file(b"x"))
        assert (answer.status_code, list(answer.json)) == (404, ["detail"])


def test_configured_models_answer(database: Database) -> None:
    here = Here(database, text_model="any-labels", scene_model="scenes")
    here.engine.result = TEXT
    here.text(text="x")
    assert here.engine.calls[0][0] == "any-labels"


def test_models_are_listed_by_what_they_do(here: Here) -> None:
    document = here.routed.get(C + "/models").json
    assert document["classification_models"] == {"scenes": {"name": "scenes", "version": 4}}
    assert set(document["text_models"]) == {"sentiment", "any-labels"}
    here.routed.caller = a_device(models=("yolox",))
    assert here.routed.get(C + "/models").json["classification_models"] == {}


@pytest.mark.parametrize(
    ("path", "parts", "status"),
    [
        ("/image", (field("x", "y"),), 422),
        ("/image", (a_file(b"x" * 1001),), 413),
        ("/image/detect", (a_file(b"x"), field("confidence_threshold", "2")), 422),
        ("/image/detect", (a_file(b"x"), field("use_sahi_slicing", "maybe")), 422),
        ("/text", (field("text", "  "),), 422),
    ],
)
def test_faults_have_the_guides_shape(here: Here, path: str, parts: Any, status: int) -> None:
    answer = here.post(path, *parts)
    assert (answer.status_code, list(answer.json)) == (status, ["detail"])
    assert answer.headers["content-type"] == "application/json"


def test_a_model_that_is_not_served_is_told_as_such(here: Here) -> None:
    here.engine.fault = ModelUnavailable("scenes@4 is starting.")
    answer = here.post("/image", a_file(b"x"))
    assert (answer.status_code, answer.json) == (503, {"detail": "scenes@4 is starting."})


@settings(
    max_examples=100,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    body=st.binary(max_size=200), cut=st.integers(0, 200), path=st.sampled_from(["image", "text"])
)
def test_no_body_is_our_fault(here: Here, body: bytes, cut: int, path: str) -> None:
    here.engine.result = TEXT if path == "text" else PICTURE
    whole, headers = form(field("text", "x"), a_file(body))
    for sent in (whole[:cut], body, whole):
        answer = here.routed.post(f"{C}/{path}", sent, headers=headers)
        assert answer.status_code in (200, 400, 413, 415, 422)
