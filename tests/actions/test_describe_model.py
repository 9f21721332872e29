"""A description tells what goes in, what comes out and how to call, even of a broken model."""

import msgspec
import pytest

from appliance.actions.describe_model import description, parameters, summaries
from appliance.tasks.contract import Task
from appliance.tasks.registry import TASKS, task_named
from tests.actions.examples import a_status

BASE = "http://box:8080"


def test_the_list_has_one_line_for_each_model_by_name() -> None:
    found = summaries(
        [
            a_status("vehicle-type", 1, is_active=False, state="stopped"),
            a_status("vehicle-type", 2),
            a_status("step-detector", 1, task="step-detection"),
        ]
    )
    steps, vehicles = found.models
    assert (steps.name, steps.versions, steps.task) == ("step-detector", (1,), "step-detection")
    assert (vehicles.name, vehicles.versions) == ("vehicle-type", (1, 2))
    assert (vehicles.active_version, vehicles.state) == (2, "ready")
    assert summaries([]).models == ()


def test_the_active_version_is_the_one_described() -> None:
    found = description(
        [
            a_status(version=1, labels={"type": ("bus",)}),
            a_status(version=2, is_active=False, state="failed", reason="cut off"),
        ],
        BASE,
    )
    assert (found.active_version, found.state, found.labels) == (1, "ready", {"type": ("bus",)})
    assert [(one.version, one.state, one.reason) for one in found.versions] == [
        (1, "ready", ""),
        (2, "failed", "cut off"),
    ]


def test_without_an_active_version_the_newest_is_described_as_not_active() -> None:
    statuses = [
        a_status(version=1, is_active=False),
        a_status(version=2, is_active=False, state="stopped"),
    ]
    assert description(statuses, BASE).active_version is None
    assert description(statuses, BASE).state == "stopped"
    assert summaries(statuses).models[0].active_version is None


@pytest.mark.parametrize(
    ("inputs", "first", "is_both"),
    [
        (({"name": "image", "datatype": "FP32", "shape": [1, 224, 224, 3]},), "image/jpeg", False),
        (({"name": "input_ids", "datatype": "INT64", "shape": [-1, -1]},), "text/plain", False),
        ((), "text/plain", True),
    ],
)
def test_an_embedding_is_asked_with_what_that_model_takes(
    inputs: tuple[dict[str, object], ...], first: str, is_both: bool
) -> None:
    found = description([a_status(task="embedding", inputs=inputs)], BASE)
    assert found.media_types[0] == first
    assert f"Content-Type: {first}" in found.example
    assert ({"image/png", "text/plain"} <= set(found.media_types)) is is_both


def test_the_example_can_be_pasted_once_the_key_is_filled_in() -> None:
    found = description([a_status()], BASE)
    assert f"{BASE}/api/v1/models/vehicle-type/predict" in found.example
    assert f"Content-Type: {found.media_types[0]}" in found.example
    assert found.example.startswith("curl ")


def test_a_model_whose_manifest_is_broken_is_described_with_the_reason() -> None:
    status = a_status(
        task="", state="failed", reason="manifest.toml is not valid", inputs=(), labels={}
    )
    found = description([status], BASE)
    assert (found.state, found.reason) == ("failed", "manifest.toml is not valid")
    assert (found.params, found.media_types) == ((), ())


def test_a_model_of_a_task_this_release_does_not_know_is_described_too() -> None:
    found = description([a_status(task="face-recognition", state="failed", reason="why")], BASE)
    assert (found.task, found.reason, found.params) == ("face-recognition", "why", ())


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name)
def test_the_parameters_are_those_the_task_reads(task: Task) -> None:
    fields = {field.encode_name for field in msgspec.structs.fields(task.Params)}
    assert {one.name for one in parameters(task)} == fields
    assert all("description" in str(one.schema) for one in parameters(task))


def test_a_parameter_tells_its_bounds_and_default() -> None:
    found = {one.name: one for one in parameters(task_named("image-classification"))}
    assert found["top_k"].default == 5
    assert found["top_k"].schema["maximum"] == 1000
    assert found["crop"].default is None
