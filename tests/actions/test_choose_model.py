"""Which model answers a client that names none."""

import pytest

from appliance.actions.choose_model import model_for, models_for, scene_model_for
from appliance.errors import Conflict, Forbidden, ModelUnavailable, NotFound
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


GENERAL = {"class": tuple(f"class {number}" for number in range(1000))}


def test_the_only_classifier_tells_scenes_whatever_it_knows() -> None:
    assert scene_model_for(engine(), ADMIN, configured="") == "a"


def test_of_several_classifiers_the_general_one_tells_scenes() -> None:
    several = StubEngine(a_status("a"), a_status("zoo", labels=GENERAL), a_status("vehicle-type"))
    assert scene_model_for(several, ADMIN, configured="") == "zoo"
    assert scene_model_for(several, a_device(models=("a",)), configured="") == "a"
    assert scene_model_for(several, ADMIN, configured="a") == "a"


def test_a_general_model_is_known_by_its_shape_where_it_has_no_labels() -> None:
    shaped = a_status("b", labels={}, outputs=({"name": "y", "shape": [1, 1001]},))
    assert scene_model_for(StubEngine(a_status("a"), shaped), ADMIN, configured="") == "b"


def test_a_hundred_classes_are_meant_for_any_picture_and_one_fewer_is_not() -> None:
    for count, is_chosen in ((100, True), (99, False)):
        shaped = a_status("b", labels={}, outputs=({"name": "y", "shape": [1, count]},))
        several = StubEngine(a_status("a"), shaped)
        if is_chosen:
            assert scene_model_for(several, ADMIN, configured="") == "b"
            continue
        with pytest.raises(Conflict):
            scene_model_for(several, ADMIN, configured="")


@pytest.mark.parametrize("labels", [{"type": ("truck", "van")}, GENERAL])
def test_several_of_a_kind_are_named_and_none_is_guessed(
    labels: dict[str, tuple[str, ...]],
) -> None:
    several = StubEngine(*(a_status(name, labels=labels) for name in ("a", "b")))
    with pytest.raises(Conflict, match=r"\(a, b\).*dialects\.scene_model"):
        scene_model_for(several, ADMIN, configured="")


def test_without_a_classifier_no_scene_is_told() -> None:
    with pytest.raises(NotFound, match="appliance model install"):
        scene_model_for(StubEngine(a_status("d", task=DETECTION)), ADMIN, configured="")
    with pytest.raises(Forbidden):
        scene_model_for(engine(), a_device(models=("d",)), configured="a")
