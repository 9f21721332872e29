"""DeepStack's routes: what Frigate's detector and Blue Iris read, byte for byte."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import falcon
import falcon.testing
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from appliance.actions.callers import Role
from appliance.actions.predict import Predictor
from appliance.clock import ManualClock
from appliance.config import Dialects, History, Limits
from appliance.errors import ModelUnavailable
from appliance.metrics import Metrics
from appliance.store import predictions
from appliance.store.database import Database
from appliance.web.dialects import deepstack
from appliance.web.middleware.access import AccessMiddleware
from appliance.web.middleware.requests import Requests
from appliance.web.problems import ErrorShapes
from tests.access_parts import DEVICE_ADDRESS, Parts, issued, opened
from tests.actions.examples import StubEngine, a_status
from tests.web.routed import Observed, form

DETECT = "/v1/vision/detection"
OBJECTS = json.dumps(
    {
        "width": 640,
        "height": 480,
        "objects": [
            {
                "label": "car",
                "class_id": 2,
                "confidence": 0.41,
                "box": {"x1": 0.4, "y1": 9.6, "x2": 100.5, "y2": 200.2},
            },
            {
                "label": "person",
                "class_id": 0,
                "confidence": 0.93,
                "box": {"x1": 300, "y1": 20, "x2": 420, "y2": 470},
            },
        ],
    }
).encode()
MOST = 100_000


class Served:
    """The dialect behind the real gate: keys, limits and scopes are those of every route."""

    def __init__(self, database: Database, clock: ManualClock, **chosen: str) -> None:
        self.access = Parts(database, clock)
        self.database = database
        self.engine = StubEngine(
            a_status("yolox", 2, task=deepstack.DETECTION),
            a_status("aaa-detector", 1, task=deepstack.DETECTION),
            a_status("scenes", 1),
        )
        self.engine.result = OBJECTS
        predictor = Predictor(self.engine, database, clock, History(), Metrics())  # type: ignore[arg-type]
        table = deepstack.routes(
            self.engine,
            predictor,
            clock,
            limits=Limits(input_bytes=MOST),
            settings=Dialects(**chosen),
        )
        access = AccessMiddleware(
            self.access.gate,
            {route.path: route.suffix for route in table if route.suffix},
            key_in_body=lambda request: deepstack.key_in_form(request, most_bytes=MOST),
        )
        app: Any = falcon.App(middleware=[Requests(Observed(), None), access])
        app.req_options.auto_parse_qs_csv = False
        ErrorShapes({deepstack.PREFIX: deepstack.error_body}).install(app)
        for route in table:
            app.add_route(route.path, route.resource, suffix=route.suffix)
        self.client = falcon.testing.TestClient(app)
        self.key = issued(self.access.ring)

    def post(
        self, path: str, *parts: tuple[str, bytes], key: str | None = None, **given: Any
    ) -> falcon.testing.Result:
        body, headers = form(*parts)
        if key is not None:
            headers["X-API-Key"] = key
        given.setdefault("remote_addr", DEVICE_ADDRESS)
        return self.client.simulate_post(path, body=body, headers=headers, **given)


def field(name: str, value: str) -> tuple[str, bytes]:
    return f'Content-Disposition: form-data; name="{name}"', value.encode()


def image(content: bytes = b"jpeg", name: str = "image") -> tuple[str, bytes]:
    """A file as `requests` sends bytes: named after its part, without a type."""
    return f'Content-Disposition: form-data; name="{name}"; filename="{name}"', content


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def database(tmp_path: Path, clock: ManualClock) -> Iterator[Database]:
    with opened(tmp_path / "state", clock) as database:
        yield database


@pytest.fixture
def served(database: Database, clock: ManualClock) -> Served:
    return Served(database, clock, detection_model="yolox", scene_model="scenes")


def test_the_answer_is_what_frigate_reads_with_the_key_in_the_form(served: Served) -> None:
    answer = served.post(DETECT, field("api_key", served.key), image())
    assert answer.status_code == 200
    document = answer.json
    for name in ("inferenceMs", "processMs", "analysisRoundTripMs"):
        assert isinstance(document.pop(name), int)
    assert document == {
        "success": True,
        "message": "Found person, car",
        "moduleId": "yolox",
        "moduleName": "yolox@2",
        "code": 200,
        "command": "detect",
        "executionProvider": "OpenVINO",
        "canUseGPU": False,
        "timestampUTC": "Mon, 21 Sep 2026 14:13:20 GMT",
        "predictions": [
            {
                "confidence": 0.93,
                "label": "person",
                "x_min": 300,
                "y_min": 20,
                "x_max": 420,
                "y_max": 470,
            },
            {
                "confidence": 0.41,
                "label": "car",
                "x_min": 0,
                "y_min": 10,
                "x_max": 100,
                "y_max": 200,
            },
        ],
        "count": 2,
    }
    (call,) = served.engine.calls
    assert (call[0], call[2]["params"], call[3]) == ("yolox", {"threshold": "0.4"}, b"jpeg")


def test_a_detection_is_recorded_for_the_key_in_the_form(served: Served) -> None:
    served.post(DETECT, field("api_key", served.key), image())
    assert served.database.flush()
    (row,) = predictions.find(served.database, predictions.Filter()).predictions
    assert (row.model, row.key_name) == ("yolox", "a device")


@pytest.mark.parametrize(
    ("given", "asked"), [("0.6", "0.6"), ("", "0.4"), ("1", "1"), ("0", "0"), ("0.55", "0.55")]
)
def test_min_confidence_becomes_the_threshold(served: Served, given: str, asked: str) -> None:
    parts = (field("min_confidence", given), image())
    assert served.post(DETECT, *parts, key=served.key).status_code == 200
    assert served.engine.calls[0][2]["params"] == {"threshold": asked}


@pytest.mark.parametrize(
    ("parts", "status", "words"),
    [
        ((field("min_confidence", "60"), image()), 400, "min_confidence"),
        ((field("min_confidence", "nan"), image()), 400, "min_confidence"),
        ((field("api_key", "x"), field("api_key", "y"), image()), 400, "more than once"),
        ((image(b""),), 400, "empty"),
        ((image(), image()), 400, "exactly one file"),
        ((field("other", "x"),), 400, "exactly one file"),
        ((image(b"x" * (MOST + 1)),), 413, "larger"),
    ],
)
def test_faults_have_the_shape_its_clients_know(
    served: Served, parts: Any, status: int, words: str
) -> None:
    answer = served.post(DETECT, *parts, key=served.key)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/json"
    assert list(answer.json) == ["success", "error", "code"]
    assert (answer.json["success"], answer.json["code"]) == (False, status)
    assert words in answer.json["error"]
    assert served.engine.calls == []


def test_without_a_valid_key_nothing_is_answered(served: Served) -> None:
    for key in (None, "", "app_wrong", "schlüssel", "x" * 5000):
        parts = () if key is None else (field("api_key", key),)
        answer = served.post(DETECT, *parts, image())
        assert (answer.status_code, answer.json["success"]) == (401, False)
    assert served.engine.calls == []


def test_a_key_in_the_form_counts_against_its_own_limit(served: Served) -> None:
    answer = served.post(DETECT, field("api_key", served.key), image())
    keyed = served.post(DETECT, image(), key=served.key)
    assert answer.headers["ratelimit-policy"] == keyed.headers["ratelimit-policy"]


def test_a_key_in_the_form_has_its_scope(served: Served) -> None:
    scoped = issued(served.access.ring, Role.DEVICE, models=("scenes",))
    for path in (DETECT, "/v1/vision/custom/yolox"):
        answer = served.post(path, field("api_key", scoped), image())
        assert (answer.status_code, answer.json["success"]) == (403, False)
    listed = served.client.simulate_get(
        "/v1/vision/custom/list", headers={"X-API-Key": scoped}, remote_addr=DEVICE_ADDRESS
    )
    assert listed.json["models"] == []


def test_a_custom_model_is_named_in_the_path_and_listed(served: Served) -> None:
    served.post("/v1/vision/custom/aaa-detector", field("api_key", served.key), image())
    assert served.engine.calls[0][0] == "aaa-detector"
    answer = served.post("/v1/vision/custom/list", field("api_key", served.key))
    assert answer.json["models"] == ["aaa-detector", "yolox"]
    missing = served.post("/v1/vision/custom/nothing", image(), key=served.key)
    assert (missing.status_code, missing.json["success"]) == (404, False)
    other = served.post("/v1/vision/custom/scenes", image(), key=served.key)
    assert other.status_code == 400
    assert "image-classification" in other.json["error"]


def test_without_a_configured_model_the_first_that_detects_answers(
    database: Database, clock: ManualClock
) -> None:
    served = Served(database, clock)
    served.post(DETECT, image(), key=served.key)
    assert served.engine.calls[0][0] == "aaa-detector"
    served.engine.statuses = served.engine.statuses[2:]
    answer = served.post(DETECT, image(), key=served.key)
    assert answer.status_code == 404
    assert "appliance model install" in answer.json["error"]


def test_a_scene_is_the_classifiers_best_label(served: Served) -> None:
    served.engine.result = json.dumps(
        {"predictions": [{"head": "h", "label": "street", "confidence": 0.7, "top": []}]}
    ).encode()
    for path in ("/v1/vision/scene", "/v1/vision/detect/scene"):
        document = served.post(path, image(), key=served.key).json
        assert (document["success"], document["label"]) == (True, "street")
        assert (document["confidence"], document["command"]) == (0.7, "scene")


def test_of_several_classifiers_none_is_guessed(database: Database) -> None:
    clock = ManualClock()
    served = Served(database, clock)
    served.engine.statuses.append(a_status("vehicle-type", 1))
    answer = served.post("/v1/vision/scene", image(), key=served.key)
    assert (answer.status_code, answer.json["success"], answer.json["code"]) == (409, False, 409)
    assert "scenes, vehicle-type" in answer.json["error"]
    assert "dialects.scene_model" in answer.json["error"]


def test_a_model_that_is_not_served_is_told_as_such(served: Served) -> None:
    served.engine.fault = ModelUnavailable("yolox@2 is starting.")
    answer = served.post(DETECT, image(), key=served.key)
    assert (answer.status_code, answer.json["error"]) == (503, "yolox@2 is starting.")


def test_blue_iris_is_told_that_there_is_no_update(served: Served) -> None:
    answer = served.client.simulate_get(
        "/v1/status/updateavailable",
        headers={"X-API-Key": served.key},
        remote_addr=DEVICE_ADDRESS,
    )
    assert (answer.json["success"], answer.json["updateAvailable"]) == (True, False)


@settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(body=st.binary(max_size=400), cut=st.integers(0, 300), keyed=st.booleans())
def test_no_body_is_our_fault(served: Served, body: bytes, cut: int, keyed: bool) -> None:
    whole, headers = form(field("api_key", served.key), image(body), field("x", "y"))
    if keyed:
        headers["X-API-Key"] = served.key
    for sent in (whole[:cut], body, whole[:cut] + body + whole[cut:]):
        answer = served.client.simulate_post(
            DETECT, body=sent, headers=headers, remote_addr=DEVICE_ADDRESS
        )
        assert answer.status_code in (200, 400, 401, 413, 415, 429)
        assert answer.json["success"] is (answer.status_code == 200)
