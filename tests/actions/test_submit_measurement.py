"""What a measurement is told: checked before it waits. The routes' tests do the rest."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, cast

import pytest

from appliance import errors
from appliance.actions.callers import Caller, Role
from appliance.actions.job_files import SentFile
from appliance.actions.submit_job import JobSubmission
from appliance.actions.submit_measurement import MeasurementSubmission, WantedMeasurement
from appliance.clock import ManualClock
from appliance.engine.engine import Engine
from tests.actions.examples import StubEngine
from tests.actions.input_examples import Keeping
from tests.job_parts import ADMIN, SETTINGS, Bench, a_zip, active, bench, sent

A_ZIP = a_zip({"a.png": b"x"})


@pytest.fixture
def parts(tmp_path: Path) -> Iterator[Bench]:
    with bench(tmp_path / "state") as found:
        yield found


class Recorded:
    """Stands for kept inputs: one zip, or none at all."""

    def __init__(self, parts: Bench) -> None:
        self.keeping = Keeping(parts.directory, parts.database, ManualClock())
        self.asked: list[tuple[str, int]] = []

    def gather(self, model: str, most_items: int) -> Iterator[SentFile]:
        self.asked.append((model, most_items))
        return iter([sent("recorded-1.zip", A_ZIP, "application/zip")])


def submit(
    parts: Bench,
    kind: str,
    caller: Caller = ADMIN,
    *,
    files: Sequence[SentFile] = (),
    recorded: Any = None,
    key: str | None = None,
    **told: str,
) -> Any:
    submission = JobSubmission(
        SETTINGS,
        parts.clock,
        database=parts.database,
        disk=parts.disk,
        files=parts.files,
        news=parts.news,
        resolve_version=active,
    )
    wanted = WantedMeasurement(
        caller=caller,
        kind=kind,
        model="vehicle-type",
        told=told,
        files=files,
        idempotency_key=key,
    )
    measurements = MeasurementSubmission(
        cast("Engine", StubEngine()), submission, recorded or Recorded(parts)
    )
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


def test_recorded_inputs_calibrate_and_what_is_sent_only_measures(parts: Bench) -> None:
    recorded = Recorded(parts)
    files = [sent("val/a.png"), sent("validation-b.png")]
    job = submit(parts, "quantise", calibration="recorded", files=files, recorded=recorded)
    assert [one.name for one in job.inputs] == [
        "recorded-1.zip",
        "validation-val/a.png",
        "validation-b.png",
    ]
    assert recorded.asked == [("vehicle-type", 300 + 2000)]
    assert job.params["calibration"] == "recorded"


def test_the_same_request_is_the_same_job_whatever_was_recorded_meanwhile(parts: Bench) -> None:
    class Growing(Recorded):
        def gather(self, model: str, most_items: int) -> Iterator[SentFile]:
            self.asked.append((model, most_items))
            body = a_zip({f"{len(self.asked)}.png": b"x"})
            return iter([sent("recorded-1.zip", body, "application/zip")])

    recorded = Growing(parts)
    first, again = (
        submit(parts, "quantise", calibration="recorded", recorded=recorded, key="once")
        for _ in range(2)
    )
    assert first.id == again.id


def test_kinds_that_do_not_calibrate_know_no_recorded_inputs(parts: Bench) -> None:
    with pytest.raises(errors.InvalidInput):
        submit(parts, "evaluate", calibration="recorded")
    with pytest.raises(errors.InvalidInput, match="calibration"):
        submit(parts, "quantise", calibration="guessed")
