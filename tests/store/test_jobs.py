"""Jobs as they are kept: the same one once, pages, pins, and letting go."""

import msgspec
import pytest

from appliance import errors
from appliance.store import job_queue, jobs
from appliance.store.database import Database
from appliance.store.jobs import JobFilter, KeptFile, StoredInput
from tests.store.examples import NOON
from tests.store.test_job_queue import WHY, a_job, a_result, added, taken


def test_a_job_comes_back_as_it_was_kept(database: Database) -> None:
    sent = StoredInput(name="ä.png", content_type="image/png", path="i/1", bytes=3, sha256="00")
    job = added(
        database, model="colour", pins=("colour@1",), inputs=(sent,), problem=WHY, priority=5
    )
    assert jobs.get(database, job.id) == job
    with pytest.raises(errors.NotFound):
        jobs.get(database, "another")


def test_the_same_key_with_the_same_content_is_the_same_job(database: Database) -> None:
    first = added(database, idempotency_key="k", digest=b"a")
    assert added(database, idempotency_key="k", digest=b"a").id == first.id
    assert added(database, idempotency_key="k", digest=b"b", key_id="k2").id != first.id
    with pytest.raises(errors.Conflict, match=first.id):
        added(database, idempotency_key="k", digest=b"b")
    assert len(jobs.find(database, JobFilter())) == 2


def test_no_more_jobs_wait_than_may(database: Database) -> None:
    for _ in range(2):
        jobs.add(database, a_job(), most_waiting=2)
    with pytest.raises(errors.Overloaded, match=r"jobs\.most_waiting"):
        jobs.add(database, a_job(), most_waiting=2)
    taken(database)
    jobs.add(database, a_job(), most_waiting=2)


def test_pages_go_from_the_newest_and_keep_to_what_is_asked(database: Database) -> None:
    made = [added(database, kind=f"k{n % 2}", model=("a", "b", "")[n % 3]) for n in range(6)]
    ids = [job.id for job in reversed(made)]
    first = jobs.find(database, JobFilter(limit=4))
    assert [job.id for job in first] == ids[:4]
    rest = jobs.find(database, JobFilter(limit=4, before_id=first[-1].id))
    assert [job.id for job in rest] == ids[4:]
    assert {job.kind for job in jobs.find(database, JobFilter(kind="k1"))} == {"k1"}
    assert {job.model for job in jobs.find(database, JobFilter(models=("a",)))} == {"a", ""}
    assert jobs.find(database, JobFilter(key_id="nobody")) == ()
    assert jobs.find(database, JobFilter(states=("dead", "done"))) == ()


def test_what_waits_or_runs_pins_its_version(database: Database) -> None:
    added(database, pins=("colour@1", "colour@2"))
    assert jobs.is_pinned(database, "colour", 2)
    assert not jobs.is_pinned(database, "colour", 3)
    lease = job_queue.lease_of(taken(database))
    assert jobs.is_pinned(database, "colour", 1)
    job_queue.bury(database, lease, WHY, now=NOON)
    assert not jobs.is_pinned(database, "colour", 1)


def test_only_what_has_ended_is_removed_with_its_result(database: Database) -> None:
    job, waiting = added(database, priority=1), added(database)
    lease = job_queue.lease_of(taken(database))
    kept = (KeptFile(name="a.csv", bytes=3),)
    job_queue.finish(database, lease, msgspec.structs.replace(a_result(lease), files=kept))
    found = jobs.get_result(database, job.id)
    assert found is not None
    assert found.files == kept
    assert jobs.ended_before(database, NOON) == ()
    assert jobs.ended_before(database, NOON + 1) == (job.id,)
    assert jobs.remove(database, (job.id, waiting.id)) == 1
    assert jobs.get_result(database, job.id) is None
    assert jobs.known_ids(database) == {waiting.id}


def test_counts_tell_of_what_waits_runs_and_is_dead(database: Database) -> None:
    assert jobs.counts(database) == {"waiting": 0, "running": 0, "dead": 0}
    for _ in range(3):
        added(database)
    job_queue.bury(database, job_queue.lease_of(taken(database)), WHY, now=NOON)
    taken(database)
    assert jobs.counts(database) == {"waiting": 1, "running": 1, "dead": 1}
