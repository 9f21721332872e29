"""Addresses of the systems that the appliance replaces, as their callers know them."""

import pytest

from tests.end_to_end.running import Running


@pytest.mark.parametrize(
    ("alias", "name"),
    [
        ("/health/live", "/live"),
        ("/health/ready", "/ready"),
        ("/health/detailed", "/health"),
        ("/health/metrics", "/metrics"),
    ],
)
def test_an_alias_answers_as_the_address_itself_to_everyone(
    appliance: Running, alias: str, name: str
) -> None:
    for key in (None, appliance.key, "iak_wrong"):
        one, other = appliance.get(alias, key=key), appliance.get(name, key=key)
        assert one.status == other.status
        assert one.headers["content-type"] == other.headers["content-type"]
        if one.headers["content-type"] == "application/json":
            assert one.json().keys() == other.json().keys()


def test_health_detailed_tells_of_every_model(appliance: Running) -> None:
    told = appliance.get("/health/detailed").json()
    assert {"colour", "vehicle-type", "step-detector"} <= {one["model"] for one in told["models"]}
    assert told["disk"]


def test_health_metrics_are_prometheus_text(appliance: Running) -> None:
    answer = appliance.get("/health/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=")
    assert b"\n# TYPE inference_appliance_" in answer.body


def test_modelships_models_are_listed_by_what_they_do(appliance: Running) -> None:
    told = appliance.get("/api/classify/models").json()
    assert "vehicle-type" in told["classification_models"]
    assert told["classification_models"]["colour"]["version"] in (1, 2)
    assert "step-detector" not in str(told)
    assert appliance.get("/api/classify/models", key=None).status == 401


def test_modelships_jobs_are_a_page(appliance: Running) -> None:
    told = appliance.get("/api/classify/jobs?limit=5&offset=0").json()
    assert {"jobs", "total_count", "limit", "offset"} == told.keys()
    assert told["limit"] == 5
    refused = appliance.get("/api/classify/jobs?limit=1000")
    assert (refused.status, list(refused.json())) == (422, ["detail"])
