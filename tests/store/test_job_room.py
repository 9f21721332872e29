"""A key, and all keys together, have so much room for jobs and no more."""

from typing import Any

import pytest

from appliance import errors
from appliance.store import job_queue, jobs
from appliance.store.database import Database
from appliance.store.job_room import Room, require_room, stored_bytes
from tests.store.examples import NOON
from tests.store.test_job_queue import WHY, a_job, a_result, added, taken

ROOM = Room(most_per_key=3, bytes_per_key=100, most_bytes=150)


def fits(database: Database, new_bytes: int = 0, key_id: str = "k1", **room: Any) -> None:
    bounds = ROOM._replace(**room)
    require_room(database, bounds, key_id=key_id, key_name="gate", new_bytes=new_bytes)


def test_a_key_has_so_many_jobs_open_at_once(database: Database) -> None:
    for _ in range(3):
        added(database, key_id="k1")
    with pytest.raises(errors.RateLimited, match=r"'gate'.*jobs\.most_per_key") as refused:
        fits(database)
    assert refused.value.retry_after_seconds == 30
    fits(database, key_id="k2")
    fits(database, per_key=False)
    job_queue.bury(database, job_queue.lease_of(taken(database)), WHY, now=NOON)
    fits(database)


def test_a_key_has_so_much_room(database: Database) -> None:
    added(database, key_id="k1", stored_bytes=60)
    fits(database, 40)
    with pytest.raises(errors.RateLimited, match=r"jobs\.bytes_per_key") as refused:
        fits(database, 41)
    assert refused.value.retry_after_seconds == 300
    fits(database, 41, key_id="k2")
    fits(database, 41, per_key=False)


def test_all_together_have_so_much_room_and_nobody_is_exempt(database: Database) -> None:
    for key_id in ("k1", "k2"):
        added(database, key_id=key_id, stored_bytes=60)
    assert stored_bytes(database) == 120
    with pytest.raises(errors.InsufficientStorage, match=r"jobs\.most_bytes"):
        fits(database, 31, key_id="k3", per_key=False)


def test_a_job_is_bounded_in_the_transaction_that_keeps_it(database: Database) -> None:
    job = a_job(stored_bytes=101)
    with pytest.raises(errors.RateLimited):
        jobs.add(database, job, most_waiting=10, room=ROOM)
    with pytest.raises(errors.NotFound):
        jobs.get(database, job.id)
    jobs.add(database, a_job(stored_bytes=100), most_waiting=10, room=ROOM)


def test_a_repetition_is_answered_however_full_it_is(database: Database) -> None:
    first = added(database, idempotency_key="k", digest=b"a", stored_bytes=100)
    again = a_job(idempotency_key="k", digest=b"a", stored_bytes=100)
    assert jobs.add(database, again, most_waiting=10, room=ROOM).id == first.id


def test_room_comes_back_when_files_go(database: Database) -> None:
    waits = added(database, stored_bytes=10)
    job_queue.cancel(database, waits.id, now=NOON)
    assert stored_bytes(database) == 0
    added(database, stored_bytes=10)
    lease = job_queue.lease_of(taken(database))
    result = a_result(lease)
    done = job_queue.finish(database, lease, result, message="done: all")
    assert done is not None
    kept = len(result.document) + sum(file.bytes for file in result.files)
    assert (done.message, stored_bytes(database)) == ("done: all", kept)
    added(database, stored_bytes=10)
    lease = job_queue.lease_of(taken(database))
    job_queue.cancel(database, lease.job_id, now=NOON)
    job_queue.put_back(database, lease, WHY, due_seconds=NOON, now=NOON)
    assert stored_bytes(database) == kept
    jobs.remove(database, (done.id,))
    assert stored_bytes(database) == 0
