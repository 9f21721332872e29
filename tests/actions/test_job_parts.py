"""The parts of jobs fit together: one job from the request to its result."""

from pathlib import Path
from typing import cast

import msgspec

from appliance.actions.job_endings import refuse_versions
from appliance.actions.job_parts import put_together
from appliance.actions.submit_job import WantedJob
from appliance.clock import SystemClock
from appliance.config import Config, State
from appliance.engine.engine import Engine
from appliance.places import places_of
from appliance.store.disk import DiskWatch
from tests.access_parts import opened
from tests.actions.examples import StubEngine
from tests.actions.input_examples import Keeping
from tests.job_kinds import PLAY
from tests.job_parts import ADMIN, eventually


def test_a_job_goes_all_the_way_and_what_belongs_to_none_is_removed(tmp_path: Path) -> None:
    clock, ended = SystemClock(), []
    (tmp_path / "jobs" / "stranger").mkdir(parents=True)
    with opened(tmp_path / "state", clock) as database:  # type: ignore[arg-type]
        keeping = Keeping(tmp_path, database, clock)  # type: ignore[arg-type]
        parts = put_together(
            Config(),
            clock,
            engine=cast("Engine", StubEngine()),
            database=database,
            disk=DiskWatch(tmp_path, reserve_bytes=1, clock=clock),
            inputs=keeping.keeper,
            places=places_of(Config(state=State(dir=str(tmp_path)))),
            threads=1,
            install_version=refuse_versions,
            on_end=lambda kind, outcome, seconds: ended.append((kind, outcome)),
            kinds=(PLAY,),
        )
        assert not (tmp_path / "jobs" / "stranger").exists()
        parts.dispatch.start()
        try:
            wanted = WantedJob(caller=ADMIN, kind="play", params={"act": "nothing"})
            job = parts.submission.submit(wanted).job
            eventually(lambda: ended == [("play", "done")])
            assert msgspec.json.encode(parts.jobs.outcome(ADMIN, job.id).result) == b"{}"
        finally:
            parts.dispatch.stop()
