"""Which model answers a client that names none."""

import pytest

from appliance.actions.choose_model import model_for, models_for
from appliance.errors import Forbidden, ModelUnavailable, NotFound
from tests.actions.examples import ADMIN, StubEngine, a_device, a_status

DETECTION, SCENES = "object-detection", "image-classification"


class FailingEngine(StubEngine):
    """An engine one of whose models has failed since it was listed."""

    def task_of(self, model: str, version: int | None) -> str:
        if model == "b":
            raise ModelUnavailable("b could not be started.")
        return super().task_of(model, version)


def engine() -> StubEngine:
    return FailingEngine(
        a_status("d", task=DETECTION),
        a_status("c", task=DETECTION),
        a_status("b", task=DETECTION),
        a_status("a", task=SCENES),
        a_status("idle", task=DETECTION, is_active=False),
    )


def test_the_first_by_name_that_is_active_and_does_it_answers() -> None:
    assert list(models_for(engine(), ADMIN, DETECTION)) == ["c", "d"]
    assert model_for(engine(), ADMIN, DETECTION, configured="") == "c"


def test_a_callers_scope_leaves_the_others_out() -> None:
    caller = a_device(models=("d", "a"))
    assert model_for(engine(), caller, DETECTION, configured="") == "d"
    with pytest.raises(Forbidden):
        model_for(engine(), caller, DETECTION, configured="c")


def test_what_is_configured_answers_whatever_else_there_is() -> None:
    assert model_for(engine(), ADMIN, DETECTION, configured="d") == "d"


def test_without_any_the_answer_says_what_to_do() -> None:
    with pytest.raises(NotFound, match="appliance model install"):
        model_for(engine(), ADMIN, "text-classification", configured="")
