"""The vehicle classifier's own route: its shape, our answers."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from appliance.actions.predict import Predictor
from appliance.clock import ManualClock
from appliance.config import History, Limits
from appliance.errors import ModelUnavailable
from appliance.metrics import Metrics
from appliance.store import predictions
from appliance.store.database import Database
from appliance.web.dialects.guides import VEHICLE_MODEL, VehicleClassifier
from appliance.web.openapi import Route
from tests.access_parts import opened
from tests.actions.examples import StubEngine, a_device, a_status
from tests.web.routed import Routed, a_file, form

PATH = "/api/vehicle/classify"
MOST = 1000


def result(**heads: dict[str, float]) -> bytes:
    """Return the task's JSON for the confidences of each head's labels."""
    told = []
    for head, confidences in heads.items():
        top = [
            {"label": label, "index": index, "confidence": confidence}
            for index, (label, confidence) in enumerate(confidences.items())
        ]
        best = next(iter(confidences.items()), (None, None))
        told.append({"head": head, "label": best[0], "confidence": best[1], "top": top})
    return json.dumps({"predictions": told}).encode()


@pytest.fixture
def engine() -> StubEngine:
    engine = StubEngine(a_status(VEHICLE_MODEL, 4))
    engine.result = result(
        type={"truck": 0.75, "van": 0.2, "bus": 0.05}, colour={"red": 0.8, "blue": 0.2}
    )
    return engine


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with opened(tmp_path / "state", ManualClock()) as database:
        yield database


@pytest.fixture
def served(engine: StubEngine, database: Database) -> Routed:
    predictor = Predictor(engine, database, ManualClock(), History(), Metrics())  # type: ignore[arg-type]
    resource = VehicleClassifier(predictor, Limits(input_bytes=MOST), ManualClock())
    return Routed(Route(PATH, resource), caller=a_device())


def classify(served: Routed, *parts: Any) -> Any:
    body, headers = form(*(parts or (a_file(b"picture"),)))
    return served.post(PATH, body, headers=headers)


def test_the_reply_has_the_guides_shape(served: Routed) -> None:
    answer = classify(served)
    assert (answer.status_code, answer.json["status"]) == (200, "success")
    data = answer.json["data"]
    assert answer.json["timestamp"] == data["timestamp"] == "2026-09-21T14:13:20.000Z"
    assert data["image_path"] == "p.png"
    assert data["model_version"] == f"{VEHICLE_MODEL}@4"
    assert data["processing_time_ms"] >= 0
    vehicle = data["predictions"]["type"]
    assert (vehicle["attribute_name"], vehicle["predicted_value"]) == ("type", "truck")
    assert vehicle["raw_probabilities"] == {"truck": 0.75, "van": 0.2, "bus": 0.05}
    assert vehicle["confidence_metrics"] == {
        "confidence": 0.75,
        "rank_1_accuracy": 0.75,
        "rank_2_accuracy": 0.95,
        "uncertainty": 0.25,
        "is_confident": False,
    }


def test_every_head_is_an_attribute_and_the_whole_is_their_mean(served: Routed) -> None:
    data = classify(served).json["data"]
    assert set(data["predictions"]) == {"type", "colour"}
    assert data["overall_confidence"] == pytest.approx((0.75 + 0.8) / 2)


def test_from_eight_tenths_on_an_attribute_counts_as_sure(served: Routed) -> None:
    colour = classify(served).json["data"]["predictions"]["colour"]
    assert colour["confidence_metrics"]["is_confident"] is True


def test_the_classification_is_a_recorded_prediction(
    served: Routed, engine: StubEngine, database: Database
) -> None:
    prediction_id = classify(served).json["data"]["prediction_id"]
    assert database.flush()
    row = predictions.get(database, prediction_id)
    assert row is not None
    assert (row.model, row.key_id, row.result) == (VEHICLE_MODEL, "cam001", engine.result)


def test_a_head_without_a_label_is_left_out(served: Routed, engine: StubEngine) -> None:
    engine.result = result(type={"truck": 0.75}, colour={})
    data = classify(served).json["data"]
    assert set(data["predictions"]) == {"type"}
    assert data["predictions"]["type"]["confidence_metrics"]["rank_2_accuracy"] == 0.75


def test_there_is_no_success_without_a_prediction(served: Routed, engine: StubEngine) -> None:
    engine.result = result(type={})
    answer = classify(served)
    assert (answer.status_code, answer.json["type"]) == (422, "/problems/invalid-input")


def test_only_a_form_with_one_file_is_taken(served: Routed, engine: StubEngine) -> None:
    plain = served.post(PATH, b"picture", headers={"Content-Type": "image/png"})
    assert plain.status_code == 415
    assert classify(served, a_file(b"x", field="image")).status_code == 422
    assert classify(served, a_file(b"x"), a_file(b"y")).status_code == 422
    assert classify(served, a_file(b"x" * (MOST + 1))).status_code == 413
    assert engine.calls == []


def test_a_key_without_the_vehicle_model_may_not_use_its_route(served: Routed) -> None:
    served.caller = a_device(models=("step-detector",))
    assert classify(served).status_code == 403


def test_a_model_that_is_not_served_is_told_as_such(served: Routed, engine: StubEngine) -> None:
    engine.fault = ModelUnavailable("vehicle-type@4 is starting.")
    assert classify(served).status_code == 503
    engine.fault, engine.statuses = None, []
    assert classify(served).status_code == 404
