"""What monitors ask: alive, ready, everything, and numbers."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.actions.callers import anonymous
from appliance.actions.health import HealthCheck
from appliance.clock import ManualClock
from appliance.config import Config
from appliance.metrics import NAMESPACE, Metrics
from appliance.store.disk import DiskWatch
from appliance.web.openapi import Route
from appliance.web.operation import Access, operation_of
from appliance.web.resources.health import Operations
from tests.access_parts import opened
from tests.actions.examples import StubEngine, a_status
from tests.web.routed import Routed


@pytest.fixture
def engine() -> StubEngine:
    return StubEngine()


@pytest.fixture
def operations(tmp_path: Path, engine: StubEngine) -> Iterator[Operations]:
    clock = ManualClock()
    with opened(tmp_path / "state", clock) as database:
        check = HealthCheck(
            Config(),
            clock,
            engine=engine,  # type: ignore[arg-type]
            database=database,
            disk=DiskWatch(tmp_path, reserve_bytes=4096, clock=clock),
            newest_backup=lambda: None,
            clock_state=lambda: "ok",
            recovery="",
        )
        yield Operations(check, Metrics().exposition)


@pytest.fixture
def served(operations: Operations) -> Routed:
    return Routed(
        *(Route(f"/{name}", operations, name) for name in ("live", "ready", "health", "metrics"))
    )


def test_who_answers_is_alive_even_without_a_model(served: Routed, engine: StubEngine) -> None:
    engine.statuses = [a_status(state="failed")]
    answer = served.get("/live")
    assert (answer.status_code, answer.json) == (200, {"live": True})


def test_readiness_is_200_without_reasons(served: Routed) -> None:
    answer = served.get("/ready")
    assert (answer.status_code, answer.json) == (
        200,
        {"live": True, "ready": True, "reasons": []},
    )
    assert "retry-after" not in answer.headers


def test_readiness_is_503_with_the_reasons_and_when_to_come_back(
    served: Routed, engine: StubEngine
) -> None:
    engine.statuses = [a_status(state="starting", reason="first start")]
    answer = served.get("/ready")
    assert (answer.status_code, answer.json["ready"]) == (503, False)
    assert answer.json["reasons"] == ["vehicle-type@1 is starting: first start"]
    assert int(answer.headers["retry-after"]) >= 1


def test_health_is_200_even_when_it_has_bad_news(served: Routed, engine: StubEngine) -> None:
    assert served.get("/health").json["status"] == "ok"
    engine.statuses = [a_status(canary_ok=False)]
    answer = served.get("/health")
    assert (answer.status_code, answer.json["status"]) == (200, "failing")
    assert answer.json["reasons"] == ["vehicle-type@1 failed its canary"]
    assert {"disk", "memory", "database", "models", "backup", "clock"} <= set(answer.json)


def test_metrics_come_in_the_format_the_scraper_accepts(served: Routed) -> None:
    plain = served.get("/metrics")
    assert plain.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert f"{NAMESPACE}_up 1.0" in plain.text
    accept = {"Accept": "application/openmetrics-text; version=1.0.0"}
    open_metrics = served.get("/metrics", headers=accept)
    assert open_metrics.headers["content-type"].startswith("application/openmetrics-text")
    assert open_metrics.text.endswith("# EOF\n")


@pytest.mark.parametrize(
    ("name", "access"),
    [
        ("live", Access.PUBLIC),
        ("ready", Access.PUBLIC),
        ("health", Access.METRICS),
        ("metrics", Access.METRICS),
    ],
)
def test_only_what_gives_nothing_away_is_public(
    operations: Operations, name: str, access: Access
) -> None:
    described = operation_of(operations, "GET", name)
    assert described is not None
    assert described.access is access


def test_who_shows_no_key_gets_states_without_their_reasons(
    operations: Operations, engine: StubEngine
) -> None:
    engine.statuses = [a_status(state="failed", reason="/srv/secret/model.bin is missing")]
    routes = [Route(f"/{name}", operations, name) for name in ("ready", "health")]
    known = Routed(*routes)
    unknown = Routed(*routes, caller=anonymous("192.0.2.1"))
    for path in ("/ready", "/health"):
        assert "/srv/secret" in known.get(path).text
        answer = unknown.get(path)
        assert "/srv/secret" not in answer.text
        assert answer.json["reasons"] == ["vehicle-type@1 is failed"]
