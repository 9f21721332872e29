"""The whole app: what it routes and what its OpenAPI document lists are the same, both ways."""

import re
from collections.abc import Iterator
from pathlib import Path

import falcon
import falcon.inspect
import falcon.testing
import pytest

from appliance.clock import SystemClock
from appliance.config import Config, Models, State
from appliance.core import assemble
from appliance.web.app import create_app
from appliance.web.openapi import METHODS

Operations = set[tuple[str, str]]


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator["falcon.App"]:
    """The whole app over a real appliance without models."""
    state = tmp_path_factory.mktemp("routes")
    config = Config(state=State(dir=str(state), reserve_bytes=1), models=Models(starter=False))
    parts = assemble(config, SystemClock())
    yield create_app(parts)
    parts.stop()


@pytest.fixture(scope="module")
def routed(app: "falcon.App") -> Operations:
    """Every method of every template that Falcon's own router knows."""
    return {
        (re.sub(r"{(\w+)(?::[^}]*)?}", r"{\1}", route.path), method.method)
        for route in falcon.inspect.inspect_routes(app)
        for method in route.methods
        if method.method in METHODS and not method.internal
    }


@pytest.fixture(scope="module")
def documented(app: "falcon.App") -> Operations:
    answer = falcon.testing.TestClient(app).simulate_get("/openapi.json")
    assert answer.status_code == 200
    return {
        (path, method.upper())
        for path, methods in answer.json["paths"].items()
        for method in methods
    }


def test_every_route_is_documented(routed: Operations, documented: Operations) -> None:
    assert routed - documented == set()


def test_everything_documented_is_routed(routed: Operations, documented: Operations) -> None:
    assert documented - routed == set()


def test_nothing_is_served_past_the_routes(app: "falcon.App") -> None:
    inspected = falcon.inspect.inspect_app(app)
    assert (inspected.sinks, inspected.static_routes) == ([], [])


def test_every_operation_has_its_own_name(app: "falcon.App") -> None:
    paths = falcon.testing.TestClient(app).simulate_get("/openapi.json").json["paths"]
    names = [one["operationId"] for methods in paths.values() for one in methods.values()]
    assert len(names) == len(set(names))


def test_every_problem_has_its_page(app: "falcon.App", tmp_path: Path) -> None:
    client = falcon.testing.TestClient(app)
    for slug in ("not-found", "invalid-input", "overloaded", "internal", "host-died"):
        assert client.simulate_get(f"/problems/{slug}").status_code == 200
