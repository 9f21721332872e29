"""The dialect as a whole: who may do what, and one shape for every error."""

import json
import subprocess
import sys

import pytest

from appliance import errors
from appliance.actions.callers import Caller, Role, anonymous
from appliance.config import Limits
from appliance.web.dialects import open_inference
from appliance.web.dialects.open_inference_sequences import Sequences
from appliance.web.dialects.tensor_relay import Relay
from appliance.web.operation import Access, operation_of
from tests.tensor_models import ALL, InProcessEngine
from tests.web.dialects.open_inference_server import (
    Served,
    error,
    infer,
    json_request,
    raw,
)


def test_health_is_public_inference_is_for_devices_and_loading_for_operators() -> None:
    engine, found = InProcessEngine(*ALL), {}
    relay = Relay(engine, Limits(), Served())
    for route in open_inference.routes(
        engine, relay, Sequences(None), limits=Limits(), load=print, unload=print
    ):
        for method in ("GET", "POST"):
            described = operation_of(route.resource, method, route.suffix)
            if described is not None:
                assert described.dialect == "open-inference"
                assert described.any_query
                found[route.path] = described.access
    assert {path for path, access in found.items() if access is Access.PUBLIC} == {
        "/v2/health/live",
        "/v2/health/ready",
    }
    assert {path for path, access in found.items() if access is Access.OPERATOR} == {
        "/v2/repository/models/{model}/load",
        "/v2/repository/models/{model}/unload",
    }
    assert set(found.values()) == {Access.PUBLIC, Access.DEVICE, Access.OPERATOR}


def test_a_key_sees_and_uses_only_the_models_of_its_scope(v2: Served) -> None:
    v2.caller = Caller(key_name="one", address="127.0.0.1", role=Role.OPERATOR, models=("upper",))
    assert json.loads(raw(v2, "GET", "/v2/models")[2]) == {"models": ["upper"]}
    index = json.loads(raw(v2, "POST", "/v2/repository/index")[2])
    assert [entry["name"] for entry in index] == ["upper"]
    rows = json.loads(raw(v2, "GET", "/v2/models/stats")[2])["model_stats"]
    assert [row["name"] for row in rows] == ["upper"]
    for part in ("", "/ready", "/config", "/stats"):
        error(raw(v2, "GET", f"/v2/models/scores{part}"), 403)
    error(infer(v2, json_request()), 403)
    for verb in ("load", "unload"):
        error(raw(v2, "POST", f"/v2/repository/models/scores/{verb}"), 403)
    assert v2.changes == []


def test_anonymous_callers_get_health(v2: Served) -> None:
    v2.caller = anonymous("127.0.0.1")
    assert raw(v2, "GET", "/v2/health/live")[0] == 200
    assert raw(v2, "GET", "/v2/health/ready")[0] == 200


def test_paths_and_methods_that_are_not_there_have_the_protocols_error_shape(
    v2: Served,
) -> None:
    error(raw(v2, "GET", "/v2/nothing"), 404)
    error(raw(v2, "GET", "/v2/logging"), 404)
    error(raw(v2, "POST", "/v2/models/add"), 405)
    error(raw(v2, "DELETE", "/v2"), 405)
    error(raw(v2, "GET", "/v2/models/add/infer"), 405)


def test_a_bug_has_the_protocols_error_shape_and_no_trace(
    v2: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> None:
        raise ZeroDivisionError("secret")

    monkeypatch.setattr(v2.engine, "status", fails)
    assert "secret" not in error(raw(v2, "GET", "/v2/models/add"), 500)


@pytest.mark.parametrize("kind", list(errors.all_problems().values()))
def test_every_problem_has_a_body_that_clients_can_read(kind: type[errors.Problem]) -> None:
    status, media_type, body = open_inference.error_body(kind("What happened."))
    assert status == (400 if kind.status == 422 else kind.status)
    assert media_type == "application/json"
    assert json.loads(body) == {"error": "What happened."}


def test_an_empty_detail_still_makes_a_text() -> None:
    assert json.loads(open_inference.error_body(errors.NotFound(""))[2])["error"]


def test_the_dialect_imports_neither_numpy_nor_pillow_nor_openvino() -> None:
    code = (
        "import sys, appliance.web.dialects.open_inference;"
        "assert not {'numpy', 'PIL', 'openvino'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
