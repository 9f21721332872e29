"""What answers is changed by operators, in words that are checked before anything happens."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from appliance.actions import audit
from appliance.actions.serve_model import ModelChanges
from appliance.clock import ManualClock
from appliance.store import models
from appliance.store.database import Database
from appliance.web.openapi import Route
from appliance.web.operation import Access, operation_of
from appliance.web.resources.model_life import ModelLife
from tests.access_parts import opened
from tests.actions.examples import StubEngine, a_device, a_status, broken
from tests.web.routed import Routed

MODEL = "/api/v1/models/vehicle-type"
JSON = {"Content-Type": "application/json"}
VERBS = ("rollback", "load", "unload", "traffic", "policy", "comparison")


def registered(database: Database) -> None:
    """Register two versions, of which the first is active."""
    for version in (1, 2):
        models.add_version(
            database,
            models.Version(
                name="vehicle-type",
                version=version,
                state="ready",
                sha256="",
                size_bytes=1,
                created_seconds=0.0,
            ),
        )
    models.switch(database, "vehicle-type", 1, actor="a test", at_seconds=0.0)


def life_routes(engine: StubEngine, database: Database) -> list[Route]:
    """Return the routes under test, over an engine without processes."""
    changes = ModelChanges(engine, database, ManualClock())  # type: ignore[arg-type]
    life = ModelLife(engine, changes)  # type: ignore[arg-type]
    base = "/api/v1/models/{model}"
    return [
        Route(base + "/versions/{version}/activate", life, "activate"),
        *(Route(f"{base}/{verb}", life, verb) for verb in VERBS),
    ]


@pytest.fixture
def engine() -> StubEngine:
    return StubEngine(a_status(version=1), a_status(version=2, is_active=False))


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with opened(tmp_path / "state", ManualClock()) as database:
        registered(database)
        yield database


@pytest.fixture
def served(engine: StubEngine, database: Database) -> Routed:
    return Routed(*life_routes(engine, database))


def put(served: Routed, path: str, value: Any) -> Any:
    return served.client.simulate_put(path, body=json.dumps(value).encode(), headers=JSON)


def test_an_activation_tells_what_answers_and_what_did(
    served: Routed, engine: StubEngine, database: Database
) -> None:
    answer = served.post(f"{MODEL}/versions/2/activate")
    assert answer.json == {
        "model": "vehicle-type",
        "active_version": 2,
        "previous_version": 1,
    }
    assert engine.changes == ["activate 2 vehicle-type"]
    assert models.active_version(database, "vehicle-type") == 2
    assert served.post(f"{MODEL}/rollback").json["active_version"] == 1


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("versions/x/activate", b""),
        ("versions/0/activate", b""),
        ("versions/2/activate", b'{"auto_rollback":{"seconds":-1}}'),
        ("versions/2/activate", b'{"auto_rollbak":null}'),
        ("load", b'{"version":0}'),
        ("load", b'{"version":9223372036854775808}'),
    ],
)
def test_what_cannot_be_meant_changes_nothing(
    served: Routed, engine: StubEngine, path: str, body: bytes
) -> None:
    assert served.post(f"{MODEL}/{path}", body, headers=JSON).status_code == 422
    assert engine.changes == []


def test_a_version_that_fails_is_told_in_the_engines_words(
    served: Routed, engine: StubEngine
) -> None:
    engine.fault = broken()
    answer = served.post(f"{MODEL}/versions/2/activate")
    assert (answer.status_code, answer.json["type"]) == (422, "/problems/model-invalid")
    assert "the weights are cut off" in answer.json["detail"]


def test_a_model_is_unloaded_and_loaded(served: Routed, database: Database) -> None:
    assert served.post(f"{MODEL}/unload").json["active_version"] is None
    assert models.active_version(database, "vehicle-type") is None
    loaded = served.post(f"{MODEL}/load", b'{"version":2}', headers=JSON)
    assert loaded.json["active_version"] == 2
    assert models.active_version(database, "vehicle-type") == 2


@pytest.mark.parametrize(
    ("spread", "words"),
    [
        ({"traffic": {"1": 90, "2": 20}}, "add up to 110 %"),
        ({"traffic": {"1": 100, "x": 0}}, "number of a version"),
        ({"traffic": {"1": 101}}, "<= 100"),
        ({"shadow": "0"}, "number of a version"),
    ],
)
def test_shares_that_make_no_whole_are_refused(
    served: Routed, engine: StubEngine, spread: Any, words: str
) -> None:
    answer = put(served, f"{MODEL}/traffic", spread)
    assert answer.status_code == 422
    assert words in answer.json["detail"]
    assert engine.changes == []


def test_traffic_and_policy_come_back_as_they_were_set(served: Routed) -> None:
    spread = {"traffic": {"1": 90.0, "2": 10.0}, "shadow": "2"}
    assert put(served, f"{MODEL}/traffic", spread).json == spread
    assert served.get(f"{MODEL}/traffic").json == spread
    policy = {"auto_rollback": {"seconds": 60}}
    assert put(served, f"{MODEL}/policy", policy).json["auto_rollback"]["max_error_rate"] == 0.05
    assert served.get(f"{MODEL}/policy").json["auto_rollback"]["seconds"] == 60
    assert put(served, f"{MODEL}/policy", {}).json == {"auto_rollback": None}


def test_the_comparison_is_told(served: Routed) -> None:
    answer = served.get(f"{MODEL}/comparison")
    assert answer.json["agreement"]["ratio"] == 0.75
    assert served.get("/api/v1/models/nobody/comparison").status_code == 404


def test_every_change_is_an_operators_and_inside_the_scope_of_the_key(
    served: Routed, engine: StubEngine, database: Database
) -> None:
    for route in life_routes(engine, database):
        for method in ("GET", "PUT", "POST"):
            found = operation_of(route.resource, method, route.suffix)
            assert found is None or found.access is Access.OPERATOR
    served.caller = a_device(models=("step-detector",))
    for path in ("rollback", "load", "unload", "versions/2/activate"):
        assert served.post(f"{MODEL}/{path}").status_code == 403
    for path in ("traffic", "policy", "comparison"):
        assert served.get(f"{MODEL}/{path}").status_code == 403
    assert engine.changes == []
    assert audit.page(database, before_sequence=None, limit=1)[0] == ()
