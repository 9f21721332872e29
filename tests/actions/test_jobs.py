"""What clients do with jobs: their own, in their scope, in a state where it makes sense."""

import threading
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from appliance import errors
from appliance.actions.callers import Caller, Role
from appliance.actions.jobs import Patience
from appliance.store import audit, job_queue, jobs
from appliance.store.job_queue import lease_of
from appliance.store.jobs import StoredResult
from tests.job_parts import ADMIN, DEVICE, HANG_SECONDS, OTHER, Bench, bench, eventually, sent
from tests.store.test_job_queue import WHY


@pytest.fixture
def parts(tmp_path: Path) -> Iterator[Bench]:
    with bench(tmp_path / "state") as found:
        yield found


def take(parts: Bench) -> jobs.StoredJob:
    now = parts.clock.wall_seconds()
    job = job_queue.take(parts.database, "i1", now, longest_pause_seconds=300.0)
    assert job is not None
    return job


def bury(parts: Bench) -> None:
    job_queue.bury(parts.database, lease_of(take(parts)), WHY, now=parts.clock.wall_seconds())


def finish(parts: Bench) -> None:
    lease = lease_of(take(parts))
    result = StoredResult(
        job_id=lease.job_id, attempt=1, recorded_seconds=1.0, document=b'{"a":1}'
    )
    job_queue.finish(parts.database, lease, result)
    parts.news.tell_end(lease.job_id)


def test_a_device_sees_its_own_jobs_and_an_admin_all(parts: Bench) -> None:
    own, other = parts.submit().job, parts.submit(caller=OTHER).job
    assert [job.id for job in parts.jobs.page(DEVICE).jobs] == [own.id]
    assert [job.id for job in parts.jobs.page(ADMIN).jobs] == [other.id, own.id]
    for verb in (parts.jobs.view, parts.jobs.cancel, parts.jobs.remove, parts.jobs.retry):
        with pytest.raises(errors.NotFound, match="no such job"):
            verb(DEVICE, other.id)
    with pytest.raises(errors.NotFound):
        parts.jobs.result_file(DEVICE, other.id, "a")


def test_a_key_for_some_models_sees_no_jobs_of_others(parts: Bench) -> None:
    job = parts.submit(params={"model": "colour"}).job
    caller = Caller(
        key_name="op", key_id="op", role=Role.OPERATOR, address="", models=("vehicle",)
    )
    assert parts.jobs.page(caller).jobs == ()
    with pytest.raises(errors.Forbidden):
        parts.jobs.view(caller, job.id)


def test_pages_follow_each_other(parts: Bench) -> None:
    made = [parts.submit().job.id for _ in range(3)]
    first = parts.jobs.page(ADMIN, limit=2)
    assert first.next_cursor == made[1]
    rest = parts.jobs.page(ADMIN, limit=2, cursor=first.next_cursor)
    assert ([job.id for job in rest.jobs], rest.next_cursor) == ([made[0]], None)
    with pytest.raises(errors.InvalidInput, match="lost"):
        parts.jobs.page(ADMIN, states=("lost",))


def test_waiting_returns_when_the_job_has_ended(parts: Bench) -> None:
    job = parts.submit().job
    seen: list[str] = []

    def wait() -> None:
        seen.append(parts.jobs.view(DEVICE, job.id, Patience(HANG_SECONDS)).state)

    waiting = threading.Thread(target=wait)
    waiting.start()
    eventually(lambda: parts.news._waiting)
    finish(parts)
    waiting.join(HANG_SECONDS)
    assert seen == ["done"]


def test_an_outcome_says_why_there_is_none(parts: Bench) -> None:
    job = parts.submit().job
    with pytest.raises(errors.Conflict, match="waiting and has no result yet"):
        parts.jobs.outcome(DEVICE, job.id)
    bury(parts)
    with pytest.raises(errors.Conflict, match="dead and has no result: signal 11"):
        parts.jobs.outcome(DEVICE, job.id)


def test_an_outcome_holds_the_document_untouched(parts: Bench) -> None:
    job = parts.submit().job
    finish(parts)
    assert msgspec.json.encode(parts.jobs.outcome(DEVICE, job.id).result) == b'{"a":1}'
    with pytest.raises(errors.NotFound, match="no such file"):
        parts.jobs.result_file(DEVICE, job.id, "a.csv")


def test_cancelling_what_waits_removes_its_files(parts: Bench) -> None:
    job = parts.submit(files=[sent()]).job
    assert parts.jobs.cancel(DEVICE, job.id).state == "cancelled"
    assert not (parts.files.root / job.id).exists()
    with pytest.raises(errors.Conflict):
        parts.jobs.cancel(DEVICE, job.id)


def test_removing_takes_what_has_ended_only(parts: Bench) -> None:
    job = parts.submit(files=[sent()]).job
    with pytest.raises(errors.Conflict, match="cancel it first"):
        parts.jobs.remove(DEVICE, job.id)
    bury(parts)
    assert (parts.files.root / job.id).exists()
    parts.jobs.remove(DEVICE, job.id)
    assert not (parts.files.root / job.id).exists()
    with pytest.raises(errors.NotFound):
        parts.jobs.view(DEVICE, job.id)


def test_dead_jobs_are_tried_again_or_removed_together(parts: Bench) -> None:
    for _ in range(3):
        parts.submit()
    for _ in range(3):
        bury(parts)
    assert parts.jobs.counts().dead == 3
    assert parts.jobs.retry_dead(ADMIN) == 3
    assert (parts.jobs.counts().waiting, parts.jobs.counts().dead) == (3, 0)
    bury(parts)
    assert parts.jobs.remove_dead(ADMIN) == 1
    assert parts.jobs.counts().dead == 0


def test_who_touches_the_job_of_another_leaves_a_trace(parts: Bench) -> None:
    own, other = parts.submit(caller=ADMIN).job, parts.submit().job
    parts.jobs.cancel(ADMIN, own.id)
    parts.jobs.cancel(ADMIN, other.id)
    rows = audit.rows(parts.database)
    assert [(row.action, row.subject) for row in rows] == [("job.cancel", other.id)]
