"""Ends of attempts beside those in test_run_jobs.py: late commits, installs, pruning."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance import errors
from appliance.actions.job_endings import Attempt, refuse_versions
from appliance.clock import ManualClock
from appliance.engine.job_runner import JobEvent
from appliance.host.jobs.contract import JobWord
from appliance.store import job_queue, jobs
from appliance.store.job_queue import lease_of
from tests.job_parts import ADMIN, Bench, bench, sent
from tests.store.test_job_queue import a_job, a_result

DONE = JobEvent(1, True, JobWord(kind="done", files=("a.csv",)))


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def parts(tmp_path: Path, clock: ManualClock) -> Iterator[Bench]:
    with bench(tmp_path / "state", clock=clock) as found:
        yield found


def begun(parts: Bench) -> Attempt:
    parts.submit(files=[sent()])
    now = parts.clock.wall_seconds()
    job = job_queue.take(parts.database, "i1", now, longest_pause_seconds=300.0)
    assert job is not None
    folder = parts.files.begin_attempt(job.id, job.attempts)
    (folder.results / "a.csv").write_text("x")
    folder.document.write_text('{"a":1}')
    return Attempt(job, lease_of(job), time.monotonic())


def test_a_commit_that_was_too_slow_to_say_so_is_not_undone(parts: Bench) -> None:
    attempt = begun(parts)
    job_queue.finish(parts.database, attempt.lease, a_result(attempt.lease))
    parts.endings.keep(attempt, DONE, pause_seconds=1.0)
    assert (parts.files.root / attempt.job.id / "attempt-1" / "results" / "a.csv").exists()


def test_an_attempt_whose_lease_is_another_s_leaves_nothing(parts: Bench) -> None:
    attempt = begun(parts)
    job_queue.free_others(parts.database, "i2", {}, now=0.0)
    parts.endings.keep(attempt, DONE, pause_seconds=1.0)
    assert not (parts.files.root / attempt.job.id / "attempt-1").exists()
    assert (parts.files.root / attempt.job.id / "inputs").exists()
    assert jobs.get(parts.database, attempt.job.id).state == "waiting"
    assert parts.ended == []


def test_a_pause_is_kept_before_the_next_attempt(parts: Bench) -> None:
    attempt = begun(parts)
    parts.endings.keep(attempt, JobEvent(1, True, None, "signal 9"), pause_seconds=7.0)
    job = jobs.get(parts.database, attempt.job.id)
    assert (job.state, job.due_seconds) == ("waiting", parts.clock.wall_seconds() + 7.0)
    assert job.problem is not None
    assert "signal 9" in job.problem["detail"]


def test_a_kind_that_stops_by_itself_is_told_so(parts: Bench) -> None:
    attempt = begun(parts)
    parts.endings.keep(attempt, JobEvent(1, True, JobWord(kind="cancelled")), pause_seconds=1.0)
    problem = jobs.get(parts.database, attempt.job.id).problem
    assert problem is not None
    assert "nobody asked" in problem["detail"]


def test_without_a_library_no_version_is_installed(tmp_path: Path) -> None:
    with pytest.raises(errors.NotImplementedHere):
        refuse_versions(a_job(), "colour", tmp_path)


def test_jobs_and_their_folders_are_kept_for_some_days(parts: Bench, clock: ManualClock) -> None:
    old = parts.submit(files=[sent()]).job
    waiting = parts.submit(files=[sent()]).job
    parts.jobs.cancel(ADMIN, old.id)
    (parts.files.root / old.id).mkdir()  # as if its removal had been cut short
    clock.advance(29 * 86400.0)
    assert parts.endings.prune() == 0
    clock.advance(2 * 86400.0)
    assert parts.endings.prune() == 1
    assert not (parts.files.root / old.id).exists()
    assert jobs.known_ids(parts.database) == {waiting.id}
