"""A batch is checked like a prediction before anything of it is kept."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from appliance.actions.submit_batch import BatchSubmission, WantedBatch
from appliance.actions.submit_job import JobSubmission
from appliance.engine.engine import Engine
from appliance.errors import Forbidden, InvalidInput
from tests.actions.examples import StubEngine, a_device
from tests.job_parts import DEVICE, SETTINGS, Bench, active, bench, sent


@pytest.fixture
def parts(tmp_path: Path) -> Iterator[Bench]:
    with bench(tmp_path / "state") as found:
        yield found


def submit(parts: Bench, **changes: Any) -> Any:
    submission = JobSubmission(
        SETTINGS,
        parts.clock,
        database=parts.database,
        disk=parts.disk,
        files=parts.files,
        news=parts.news,
        resolve_version=active,
    )
    wanted: dict[str, Any] = {
        "caller": DEVICE,
        "model": "vehicle-type",
        "params": {},
        "files": [sent()],
        **changes,
    }
    return BatchSubmission(cast("Engine", StubEngine()), submission).submit(WantedBatch(**wanted))


def test_parameters_are_those_of_the_model_s_task(parts: Bench) -> None:
    job = submit(parts, params={"top_k": "2"}).job
    assert job.params == {"model": "vehicle-type", "version": 2, "params": {"top_k": "2"}}
    with pytest.raises(InvalidInput, match="colour"):
        submit(parts, params={"colour": "red"})


def test_a_batch_without_files_and_one_outside_the_scope_are_refused(parts: Bench) -> None:
    with pytest.raises(InvalidInput, match="no files"):
        submit(parts, files=[])
    with pytest.raises(Forbidden):
        submit(parts, caller=a_device(models=("other",)))
    assert list(parts.files.root.glob("*")) == []
