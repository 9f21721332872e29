"""Callers are told of the models they may use, and of no other."""

import pytest

from appliance.web.openapi import Route
from appliance.web.resources.models import Models
from tests.actions.examples import StubEngine, a_device, a_status
from tests.web.routed import Routed

PATH = "/api/v1/models"


@pytest.fixture
def served() -> Routed:
    engine = StubEngine(
        a_status("step-detector", task="step-detection"),
        a_status("vehicle-type", 1, is_active=False),
        a_status("vehicle-type", 2),
    )
    models = Models(engine)  # type: ignore[arg-type]
    return Routed(Route(PATH, models), Route(PATH + "/{model}", models, "model"))


def test_the_list_names_every_model_once(served: Routed) -> None:
    told = served.get(PATH).json["models"]
    assert [(one["name"], one["versions"], one["active_version"]) for one in told] == [
        ("step-detector", [1], 1),
        ("vehicle-type", [1, 2], 2),
    ]


def test_a_model_is_described_with_what_it_takes(served: Routed) -> None:
    told = served.get(f"{PATH}/vehicle-type").json
    assert (told["name"], told["active_version"]) == ("vehicle-type", 2)
    assert [one["version"] for one in told["versions"]] == [1, 2]
    assert "image/jpeg" in told["media_types"]
    assert "top_k" in [one["name"] for one in told["params"]]


def test_a_key_with_a_scope_is_told_of_its_models_only(served: Routed) -> None:
    served.caller = a_device(models=("step-detector",))
    assert [one["name"] for one in served.get(PATH).json["models"]] == ["step-detector"]
    assert served.get(f"{PATH}/step-detector").status_code == 200


def test_a_key_with_a_scope_cannot_find_out_which_other_models_exist(served: Routed) -> None:
    served.caller = a_device(models=("step-detector",))
    foreign, nothing = (served.get(f"{PATH}/{name}") for name in ("vehicle-type", "nowhere"))
    assert foreign.status_code == nothing.status_code == 403
    assert foreign.json["title"] == nothing.json["title"]


def test_an_unknown_model_is_not_found(served: Routed) -> None:
    answer = served.get(f"{PATH}/nowhere")
    assert answer.status_code == 404
    assert "nowhere" in answer.json["detail"]


def test_neither_takes_parameters(served: Routed) -> None:
    for path in (PATH, f"{PATH}/vehicle-type"):
        assert served.get(path, query_string="verbose=1").status_code == 422
