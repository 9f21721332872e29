"""The dialect asks the engine by the path's words, inside the caller's scope."""

import pytest

from appliance.errors import Forbidden, NotFound
from appliance.host.tensor_spec import TensorSpec
from appliance.web.dialects.open_inference_engine import (
    status_for,
    tensors_of,
    unknown_model,
    version_number,
    visible,
)
from tests.actions.examples import ADMIN, StubEngine, a_device, a_status


@pytest.fixture
def engine() -> StubEngine:
    return StubEngine(a_status("step-detector"), a_status("vehicle-type", 3))


def test_no_version_in_the_path_is_the_active_one(engine: StubEngine) -> None:
    assert version_number("vehicle-type", None) is None
    assert status_for(engine, ADMIN, "vehicle-type", None).version == 3
    assert status_for(engine, ADMIN, "vehicle-type", "3").version == 3


@pytest.mark.parametrize("version", ["", "0", "-1", "x", "3.0", "٣", "+3", " 3", "9" * 11])
def test_what_cannot_be_a_version_is_an_unknown_model(version: str) -> None:
    with pytest.raises(NotFound, match=r"^Request for unknown model: 'vehicle-type'"):
        version_number("vehicle-type", version)


def test_the_words_clients_look_for_name_model_and_version() -> None:
    assert unknown_model("add", None).detail == ("Request for unknown model: 'add' is not found.")
    assert unknown_model("add", "9").detail == (
        "Request for unknown model: 'add' version 9 is not found."
    )
    assert len(unknown_model("x" * 9000, "1" * 9000).detail) < 250


@pytest.mark.parametrize(("model", "version"), [("nowhere", None), ("vehicle-type", "9")])
def test_what_is_not_installed_is_told_in_the_dialects_words(
    engine: StubEngine, model: str, version: str | None
) -> None:
    with pytest.raises(NotFound, match=f"^Request for unknown model: '{model}'"):
        status_for(engine, ADMIN, model, version)


def test_scope_comes_before_everything_else(engine: StubEngine) -> None:
    caller = a_device(models=("step-detector",))
    for model, version in (("vehicle-type", None), ("nowhere", None), ("nowhere", "x")):
        with pytest.raises(Forbidden):
            status_for(engine, caller, model, version)


def test_a_list_holds_what_the_caller_may_use(engine: StubEngine) -> None:
    def names(*models: str) -> list[str]:
        return [status.name for status in visible(engine, a_device(models=models))]

    assert names() == ["step-detector", "vehicle-type"]
    assert names("vehicle-type") == ["vehicle-type"]
    assert names("nowhere") == []


def tensor(*shape: int, name: str = "x") -> dict[str, object]:
    return {"name": name, "datatype": "FP32", "shape": list(shape)}


@pytest.mark.parametrize("size", [1, -1])
def test_a_first_size_that_is_the_callers_choice_is_shown_as_free(size: int) -> None:
    status = a_status(inputs=(tensor(size, 8),), outputs=(tensor(size, 2, name="y"),))
    assert tensors_of(status) == (
        (TensorSpec("x", "FP32", (-1, 8)),),
        (TensorSpec("y", "FP32", (-1, 2)),),
        True,
    )


@pytest.mark.parametrize("outputs", [(tensor(2),), (tensor(1, 2), tensor(3))])
def test_where_rows_cannot_be_added_shapes_stay_as_they_are(
    outputs: tuple[dict[str, object], ...],
) -> None:
    inputs, shown, has_batch = tensors_of(a_status(inputs=(tensor(1, 8),), outputs=outputs))
    assert not has_batch
    assert inputs[0].shape == (1, 8)
    assert [list(spec.shape) for spec in shown] == [one["shape"] for one in outputs]
