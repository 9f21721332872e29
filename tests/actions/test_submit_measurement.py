"""What a measurement is told: checked before it waits. The routes' tests do the rest."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from appliance import errors
from appliance.actions.callers import Caller, Role
from appliance.actions.submit_job import JobSubmission
from appliance.actions.submit_measurement import MeasurementSubmission, WantedMeasurement
from appliance.engine.engine import Engine
from tests.actions.examples import StubEngine
from tests.job_parts import ADMIN, SETTINGS, Bench, active, bench


@pytest.fixture
def parts(tmp_path: Path) -> Iterator[Bench]:
    with bench(tmp_path / "state") as found:
        yield found


def submit(parts: Bench, kind: str, caller: Caller = ADMIN, **told: str) -> Any:
    submission = JobSubmission(
        SETTINGS,
        parts.clock,
        database=parts.database,
        disk=parts.disk,
        files=parts.files,
        news=parts.news,
        resolve_version=active,
    )
    wanted = WantedMeasurement(caller=caller, kind=kind, model="vehicle-type", told=told)
    measurements = MeasurementSubmission(cast("Engine", StubEngine()), submission)
    return measurements.submit(wanted).job


def test_parameters_of_the_kind_and_of_the_task_are_told_apart(parts: Bench) -> None:
    job = submit(parts, "evaluate", most_items="7", crop="1,2,3,4")
    assert job.params["most_items"] == 7
    assert job.params["params"] == {"crop": ["1", "2", "3", "4"]}
    assert job.params["version"] == 2


def test_parameters_that_nobody_takes_are_named(parts: Bench) -> None:
    with pytest.raises(errors.InvalidInput, match="colour"):
        submit(parts, "evaluate", colour="red")
    with pytest.raises(errors.InvalidInput, match=r"'colour'\. Known are: version"):
        submit(parts, "tune", colour="red")
    with pytest.raises(errors.InvalidInput, match="model"):
        submit(parts, "evaluate", model="another")


def test_a_key_measures_its_own_models_only(parts: Bench) -> None:
    stranger = Caller(
        key_name="k", key_id="k1", role=Role.OPERATOR, address="192.0.2.9", models=("other",)
    )
    with pytest.raises(errors.Forbidden):
        submit(parts, "tune", stranger)
