from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from appliance.actions.tune_model import ModelTuning
from appliance.engine.tuning import Tuning, Tunings
from appliance.store import jobs, settings
from appliance.store.jobs import StoredJob
from tests.job_parts import Bench, bench

FOUND: dict[str, Any] = {
    "model": "cats",
    "version": 3,
    "fingerprint": "here",
    "cores": 2,
    "chosen": {"streams": 1, "threads": 2, "in_flight": 2, "per_second": 9.0},
    "rows": [],
}
TUNING = Tuning(fingerprint="here", cores=2, streams=1, threads=2, in_flight=2)


@pytest.fixture
def parts(tmp_path: Path) -> Iterator[Bench]:
    with bench(tmp_path / "state") as found:
        yield found


def a_job(parts: Bench, kind: str = "tune") -> StoredJob:
    job = jobs.get(parts.database, parts.submit().job.id)
    return msgspec.structs.replace(job, kind=kind)


def test_what_tuning_chose_is_used_and_outlives_a_restart(parts: Bench) -> None:
    tunings = Tunings("here")
    ModelTuning(parts.database, tunings).keep(a_job(parts), msgspec.json.encode(FOUND))
    assert tunings.of("cats", 3, cores=2) == TUNING
    again = Tunings("here")
    ModelTuning(parts.database, again).restore()
    assert again.of("cats", 3, cores=2) == TUNING


def test_what_other_jobs_found_is_not_taken_for_a_tuning(parts: Bench) -> None:
    tunings = Tunings("here")
    ModelTuning(parts.database, tunings).keep(a_job(parts, "batch"), msgspec.json.encode(FOUND))
    assert tunings.of("cats", 3, cores=2) is None


def test_a_result_or_setting_that_cannot_be_read_does_no_harm(parts: Bench) -> None:
    tunings = Tunings("here")
    tuning = ModelTuning(parts.database, tunings)
    tuning.keep(a_job(parts), b'{"model": 1}')
    settings.put(parts.database, "tuning", {"cats@3": "odd"})
    tuning.restore()
    assert tunings.of("cats", 3, cores=2) is None
