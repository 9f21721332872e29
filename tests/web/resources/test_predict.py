"""POST …/predict takes bytes or a form, and answers the model's result with its timing."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import falcon.testing
import msgspec
import pytest

from appliance.actions.predict import Predictor, Timing
from appliance.clock import ManualClock
from appliance.config import History, Limits
from appliance.errors import InvalidInput, Overloaded
from appliance.metrics import Metrics
from appliance.store import predictions
from appliance.store.database import Database
from appliance.tasks.registry import TASKS
from appliance.web.openapi import Route
from appliance.web.resources.predict import (
    Predict,
    consumed,
    server_timing,
    version_number,
    wanted_picture,
)
from tests.access_parts import opened
from tests.actions.examples import TRUCK, StubEngine, a_device, a_status
from tests.web.routed import Routed, a_file, form

MOST = 1000
PATH = "/api/v1/models/vehicle-type/predict"
PNG = {"Content-Type": "image/png"}


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with opened(tmp_path / "state", ManualClock()) as database:
        yield database


@pytest.fixture
def engine() -> StubEngine:
    return StubEngine(a_status(version=1), a_status(version=2, is_active=False))


@pytest.fixture
def served(engine: StubEngine, database: Database) -> Routed:
    return routed(engine, database)


def routed(engine: StubEngine, database: Database, **history: Any) -> Routed:
    predictor = Predictor(engine, database, ManualClock(), History(**history), Metrics())  # type: ignore[arg-type]
    resource = Predict(predictor, Limits(input_bytes=MOST))
    return Routed(
        Route("/api/v1/models/{model}/predict", resource),
        Route("/api/v1/models/{model}/versions/{version}/predict", resource, "version"),
        caller=a_device(),
    )


def problem(answer: falcon.testing.Result, status: int) -> str:
    assert (answer.status_code, answer.json["status"]) == (status, status)
    return str(answer.json["detail"])


def test_a_body_is_answered_with_the_models_own_json(served: Routed, engine: StubEngine) -> None:
    answer = served.post(PATH, b"bytes", headers={**PNG, "X-Request-ID": "r7"})
    assert answer.status_code == 200
    assert answer.json["result"] == msgspec.json.decode(TRUCK)
    assert (answer.json["model"], answer.json["version"]) == ("vehicle-type", 1)
    assert answer.json["recorded"] is True
    assert answer.json["timing"]["infer_ms"] == 3.0
    ((_, version, header, body),) = engine.calls
    assert (version, header["content_type"], body) == (None, "image/png", b"bytes")


def test_the_prediction_is_recorded_under_its_key_and_request(
    served: Routed, database: Database
) -> None:
    answer = served.post(PATH, b"bytes", headers={**PNG, "X-Request-ID": "r7"})
    assert database.flush()
    row = predictions.get(database, answer.json["id"])
    assert row is not None
    assert (row.key_id, row.request_id, row.input_bytes) == ("cam001", "r7", 5)


def test_a_form_is_answered_like_the_bytes_in_it(served: Routed, engine: StubEngine) -> None:
    body, headers = form(a_file(b"bytes", media="image/webp"))
    assert served.post(PATH, body, headers=headers).status_code == 200
    assert engine.calls[0][2]["content_type"] == "image/webp"
    assert engine.calls[0][3] == b"bytes"


def test_the_steps_are_told_in_a_header_browsers_draw(served: Routed) -> None:
    answer = served.post(PATH, b"bytes", headers=PNG)
    assert "infer;dur=3.0" in answer.headers["server-timing"]


def test_server_timing_names_every_step_in_milliseconds() -> None:
    assert server_timing(Timing(1.0, 2.0, 3.0, 4.0, 10.5)) == (
        "queue;dur=1.0, decode;dur=2.0, infer;dur=3.0, encode;dur=4.0, total;dur=10.5"
    )


def test_a_version_in_the_path_is_the_one_that_answers(served: Routed, engine: StubEngine) -> None:
    path = "/api/v1/models/vehicle-type/versions/2/predict"
    assert served.post(path, b"bytes", headers=PNG).json["version"] == 2
    assert engine.calls[0][1] == 2
    problem(served.post(path.replace("/2/", "/3/"), b"x", headers=PNG), 404)


@pytest.mark.parametrize("text", ["0", "x", "1.0", "-1", "+1", "٣", "1" * 10, " 1"])
def test_a_version_is_a_whole_number(text: str) -> None:
    with pytest.raises(InvalidInput, match="whole number") as refused:
        version_number(text)
    assert refused.value.errors[0].pointer == "/path/version"
    assert version_number("999999999") == 999_999_999


def test_parameters_of_the_task_come_in_the_query(served: Routed, engine: StubEngine) -> None:
    answer = served.post(PATH, b"bytes", headers=PNG, query_string="top_k=2&crop=1,2,3,4")
    assert answer.status_code == 200
    assert engine.calls[0][2]["params"] == {"top_k": "2", "crop": ["1", "2", "3", "4"]}


@pytest.mark.parametrize(
    ("query", "status"), [("top_k=0", 422), ("topk=1", 422), ("top_k=1&top_k=2", 400)]
)
def test_wrong_parameters_are_refused(
    served: Routed, engine: StubEngine, query: str, status: int
) -> None:
    problem(served.post(PATH, b"bytes", headers=PNG, query_string=query), status)
    assert engine.calls == []


def test_an_empty_input_is_refused_before_any_model(served: Routed, engine: StubEngine) -> None:
    assert "empty" in problem(served.post(PATH, b"", headers=PNG), 422)
    body, headers = form(a_file(b""))
    assert "empty" in problem(served.post(PATH, body, headers=headers), 422)
    assert engine.calls == []


def test_an_input_beyond_the_limit_is_refused(served: Routed, engine: StubEngine) -> None:
    assert "limits.input_bytes" in problem(served.post(PATH, b"x" * (MOST + 1), headers=PNG), 413)
    assert engine.calls == []


def test_required_history_that_cannot_be_written_answers_507(
    engine: StubEngine, database: Database
) -> None:
    database.close()
    answer = routed(engine, database, required=True).post(PATH, b"x", headers=PNG)
    assert "history.required" in problem(answer, 507)


def test_a_model_outside_the_keys_scope_is_forbidden(served: Routed) -> None:
    served.caller = a_device(models=("step-detector",))
    assert "'vehicle-type'" in problem(served.post(PATH, b"x", headers=PNG), 403)


def test_a_full_waiting_line_tells_when_to_come_back(served: Routed, engine: StubEngine) -> None:
    engine.fault = Overloaded("The waiting line is full.")
    answer = served.post(PATH, b"x", headers=PNG)
    assert problem(answer, 503) == "The waiting line is full."
    assert answer.headers["retry-after"] == "1"
    assert "server-timing" not in answer.headers


def test_every_media_type_of_every_task_is_described() -> None:
    described = consumed()
    for task in TASKS:
        assert set(task.media_types) <= set(described)
    assert described["multipart/form-data"]["required"] == ["file"]
    assert described["image/png"]["format"] == "binary"
    assert "format" not in described["text/csv"]


def test_a_part_without_a_media_type_is_judged_by_its_content(
    served: Routed, engine: StubEngine
) -> None:
    untyped = ('Content-Disposition: form-data; name="file"; filename="p"', b"bytes")
    body, headers = form(untyped)
    answer = served.client.simulate_post(PATH, body=body, headers=headers)
    assert answer.status_code == 200
    assert engine.calls[-1][2]["content_type"] == "application/octet-stream"


@pytest.mark.parametrize(
    ("accept", "wanted"),
    [
        (None, ""),
        ("*/*", ""),
        ("application/json", ""),
        ("image/jpeg", "image/jpeg"),
        ("image/png", "image/png"),
        ("image/*", "image/jpeg"),
        ("image/png, image/jpeg;q=0.5", "image/png"),
        ("application/json, image/jpeg", ""),
        ("application/json;q=0.5, image/jpeg", "image/jpeg"),
        ("image/webp", ""),
        ("image/webp, */*;q=0.1", ""),
        ("image/;;;,=", ""),
    ],
)
def test_a_picture_is_answered_to_those_who_prefer_it(accept: str | None, wanted: str) -> None:
    assert wanted_picture(accept) == wanted


def test_a_detector_answers_the_picture_with_boxes_to_who_accepts_it(database: Database) -> None:
    served = routed(StubEngine(a_status(task="object-detection")), database)
    answer = served.post(PATH, b"bytes", headers={**PNG, "Accept": "image/jpeg"})
    assert (answer.status_code, answer.content) == (200, b"drawn bytes")
    assert answer.headers["content-type"] == "image/jpeg"
    assert answer.headers["vary"] == "Accept"
    assert database.flush()
    assert predictions.get(database, answer.headers["x-prediction-id"]) is not None


def test_a_task_that_draws_nothing_answers_json_all_the_same(served: Routed) -> None:
    answer = served.post(PATH, b"bytes", headers={**PNG, "Accept": "image/jpeg"})
    assert answer.json["result"] == msgspec.json.decode(TRUCK)
