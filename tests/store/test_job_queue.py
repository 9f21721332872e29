"""The queue, and against a model of it: in any order of verbs no job is lost or done twice."""

from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    rule,
)

from appliance import errors
from appliance.clock import ManualClock
from appliance.identifiers import new_id
from appliance.store import job_queue, jobs
from appliance.store.database import Database
from appliance.store.job_queue import Lease, lease_of
from appliance.store.jobs import StoredJob, StoredResult
from tests.store.conftest import OpenDatabase
from tests.store.examples import NOON

PAUSE = 300.0
WHY = {"type": "/problems/job-died", "title": "t", "status": 503, "detail": "signal 11"}


def a_job(**changes: Any) -> StoredJob:
    fields: dict[str, Any] = {
        "id": new_id(),
        "kind": "play",
        "params": {"a": 1},
        "key_id": "k1",
        "key_name": "gate",
        "request_id": "r1",
        "created_seconds": NOON,
        "due_seconds": NOON,
        "allowed_attempts": 3,
        **changes,
    }
    return StoredJob(**fields)


def added(database: Database, **changes: Any) -> StoredJob:
    return jobs.add(database, a_job(**changes), most_waiting=1000)


def taken(database: Database, instance: str = "i1", now: float = NOON) -> StoredJob:
    job = job_queue.take(database, instance, now, longest_pause_seconds=PAUSE)
    assert job is not None
    return job


def a_result(lease: Lease) -> StoredResult:
    return StoredResult(
        job_id=lease.job_id, attempt=lease.attempt, recorded_seconds=NOON, document=b"{}"
    )


def test_taking_counts_the_attempt_before_it_runs(database: Database) -> None:
    job = added(database)
    found = taken(database)
    assert (found.id, found.state, found.attempts, found.instance) == (job.id, "running", 1, "i1")
    assert jobs.get(database, job.id) == found
    assert job_queue.take(database, "i1", NOON, longest_pause_seconds=PAUSE) is None


def test_only_the_holder_of_the_lease_ends_an_attempt(database: Database) -> None:
    added(database)
    stale = lease_of(taken(database))
    job_queue.put_back(database, stale, WHY, due_seconds=NOON, now=NOON)
    fresh = lease_of(taken(database))
    assert job_queue.finish(database, stale, a_result(stale)) is None
    assert job_queue.bury(database, stale, WHY, now=NOON) is None
    assert job_queue.finish(database, fresh, a_result(fresh)) is not None
    assert job_queue.finish(database, fresh, a_result(fresh)) is None
    kept = jobs.get_result(database, fresh.job_id)
    assert kept is not None
    assert kept.attempt == 2


def test_a_dead_job_keeps_its_problem(database: Database) -> None:
    added(database)
    dead = job_queue.bury(database, lease_of(taken(database)), WHY, now=NOON)
    assert dead is not None
    assert (dead.state, dead.problem, dead.ended_seconds) == ("dead", WHY, NOON)


def test_a_job_waits_for_its_time_but_not_for_a_clock_that_was_turned_back(
    database: Database,
) -> None:
    added(database, due_seconds=NOON + 10)
    assert not job_queue.has_due(database, NOON, longest_pause_seconds=PAUSE)
    assert job_queue.has_due(database, NOON + 10, longest_pause_seconds=PAUSE)
    assert job_queue.has_due(database, NOON - 86400, longest_pause_seconds=PAUSE)


def test_the_next_job_is_found_by_an_index(database: Database) -> None:
    with database.read() as connection:
        plan = str(connection.sql(f"EXPLAIN QUERY PLAN {job_queue._NEXT}", (NOON, NOON)))
    assert "jobs_waiting" in plan
    assert "TEMP B-TREE" not in plan


def test_cancelling_what_waits_ends_it_and_what_runs_is_told(database: Database) -> None:
    waiting, running = added(database, priority=-1), added(database)
    lease = lease_of(taken(database))
    assert job_queue.cancel(database, waiting.id, now=NOON).state == "cancelled"
    assert job_queue.cancel(database, running.id, now=NOON).is_cancelling
    ended = job_queue.put_back(database, lease, WHY, due_seconds=NOON, now=NOON + 1)
    assert ended is not None
    assert (ended.state, ended.is_cancelling, ended.ended_seconds) == (
        "cancelled",
        False,
        NOON + 1,
    )
    with pytest.raises(errors.Conflict, match="cancelled"):
        job_queue.cancel(database, running.id, now=NOON)


def test_a_result_that_comes_before_the_end_that_was_asked_for_counts(database: Database) -> None:
    job = added(database)
    lease = lease_of(taken(database))
    job_queue.cancel(database, job.id, now=NOON)
    done = job_queue.finish(database, lease, a_result(lease))
    assert done is not None
    assert (done.state, done.is_cancelling) == ("done", False)


def test_an_attempt_that_the_appliance_cut_short_does_not_count(database: Database) -> None:
    added(database, allowed_attempts=1)
    back = job_queue.return_unused(database, lease_of(taken(database)), now=NOON)
    assert back is not None
    assert (back.state, back.attempts, back.allowed_attempts) == ("waiting", 1, 2)


def test_only_a_dead_job_is_tried_again(database: Database) -> None:
    job = added(database, allowed_attempts=1)
    with pytest.raises(errors.Conflict, match="waiting"):
        job_queue.retry(database, job.id, attempts=3, now=NOON)
    job_queue.bury(database, lease_of(taken(database)), WHY, now=NOON)
    again = job_queue.retry(database, job.id, attempts=3, now=NOON)
    assert (again.state, again.attempts, again.allowed_attempts) == ("waiting", 1, 4)


def test_leases_of_a_run_that_ended_are_freed_and_those_of_this_run_are_not(
    database: Database,
) -> None:
    first = added(database)
    most = job_queue.MOST_CUT_SHORT
    spent = added(database, allowed_attempts=1, attempts=most - 1, priority=-1)
    unwanted = added(database, priority=-2)
    own = added(database, priority=-3)
    for _ in range(3):
        taken(database, "old")
    job_queue.cancel(database, unwanted.id, now=NOON)
    taken(database, "new")
    assert job_queue.free_others(database, "new", WHY, now=NOON) == (1, 2)
    again = taken(database, "new")
    assert (again.id, again.attempts, again.allowed_attempts) == (first.id, 2, 3)
    states = [jobs.get(database, each.id).state for each in (spent, unwanted, own)]
    assert states == ["dead", "cancelled", "running"]


def test_progress_is_kept_while_the_lease_holds(database: Database) -> None:
    job = added(database)
    lease = lease_of(taken(database))
    job_queue.submit_progress(database, lease, 0.25, "a quarter")
    database.flush()
    assert jobs.get(database, job.id).progress == 0.25
    job_queue.put_back(database, lease, WHY, due_seconds=NOON, now=NOON)
    taken(database)
    job_queue.submit_progress(database, lease, 0.75, "late")
    database.flush()
    assert jobs.get(database, job.id).progress == 0.0


class Queue(RuleBasedStateMachine):
    """Every verb in any order, beside a dictionary that says what should have come of it."""

    leases = Bundle("leases")
    database: Database

    @initialize()
    def begin(self) -> None:
        connection = Queue.database
        connection.write(lambda inside: inside.sql("DELETE FROM jobs"))
        self.instance = 0
        self.states: dict[str, str] = {}
        self.allowed: dict[str, int] = {}
        self.attempts: dict[str, int] = {}
        self.held: dict[str, Lease] = {}
        self.unwanted: set[str] = set()

    @rule(priority=st.integers(-1, 1), allowed=st.integers(1, 3))
    def add(self, priority: int, allowed: int) -> None:
        job = added(self.database, priority=priority, allowed_attempts=allowed)
        self.states[job.id], self.allowed[job.id], self.attempts[job.id] = "waiting", allowed, 0

    @rule(target=leases)
    def take(self) -> Lease:
        job = job_queue.take(
            self.database, f"run {self.instance}", NOON, longest_pause_seconds=PAUSE
        )
        if job is None:
            assert "waiting" not in self.states.values()
            return Lease("none", "none", 1)
        assert self.states[job.id] == "waiting"
        self.states[job.id] = "running"
        self.attempts[job.id] += 1
        assert job.attempts == self.attempts[job.id]
        self.held[job.id] = lease_of(job)
        return lease_of(job)

    def _end(self, lease: Lease, ended: StoredJob | None, state: str) -> None:
        holds = self.held.get(lease.job_id) == lease
        assert (ended is not None) == holds
        if not holds:
            return
        del self.held[lease.job_id]
        is_unwanted = lease.job_id in self.unwanted
        self.unwanted.discard(lease.job_id)
        self.states[lease.job_id] = "cancelled" if is_unwanted and state != "done" else state

    @rule(lease=leases)
    def finish(self, lease: Lease) -> None:
        self._end(lease, job_queue.finish(self.database, lease, a_result(lease)), "done")

    @rule(lease=consumes(leases))
    def fail(self, lease: Lease) -> None:
        if self.attempts.get(lease.job_id, 0) < self.allowed.get(lease.job_id, 0):
            put_back = job_queue.put_back(self.database, lease, WHY, due_seconds=NOON, now=NOON)
            self._end(lease, put_back, "waiting")
        else:
            self._end(lease, job_queue.bury(self.database, lease, WHY, now=NOON), "dead")

    @rule(lease=leases)
    def cut_short(self, lease: Lease) -> None:
        kept = job_queue.return_unused(self.database, lease, now=NOON)
        self._end(lease, kept, "waiting")
        if kept is not None and kept.state == "waiting":
            self.allowed[lease.job_id] += 1

    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        open_ones = [key for key, state in self.states.items() if state in ("waiting", "running")]
        if not open_ones:
            return
        job_id = data.draw(st.sampled_from(open_ones))
        job_queue.cancel(self.database, job_id, now=NOON)
        if self.states[job_id] == "waiting":
            self.states[job_id] = "cancelled"
        else:
            self.unwanted.add(job_id)

    @rule(data=st.data(), attempts=st.integers(1, 2))
    def retry(self, data: st.DataObject, attempts: int) -> None:
        dead = [key for key, state in self.states.items() if state == "dead"]
        if not dead:
            return
        job_id = data.draw(st.sampled_from(dead))
        job_queue.retry(self.database, job_id, attempts=attempts, now=NOON)
        self.states[job_id] = "waiting"
        self.allowed[job_id] = self.attempts[job_id] + attempts

    @rule()
    def crash(self) -> None:
        """The appliance ends and comes back: what it held is free, what it knew is gone."""
        self.instance += 1
        job_queue.free_others(self.database, f"run {self.instance}", WHY, now=NOON)
        for job_id in self.held:
            if job_id in self.unwanted:
                self.states[job_id] = "cancelled"
            elif self.attempts[job_id] >= max(self.allowed[job_id], job_queue.MOST_CUT_SHORT):
                self.states[job_id] = "dead"
            else:
                self.states[job_id] = "waiting"
                most = max(self.allowed[job_id], self.attempts[job_id] + 1)
                self.allowed[job_id] = most
        self.held.clear()
        self.unwanted.clear()

    @invariant()
    def agrees(self) -> None:
        if not hasattr(self, "states"):
            return
        found = {job.id: job for job in jobs.find(self.database, jobs.JobFilter(limit=1000))}
        assert {key: job.state for key, job in found.items()} == self.states
        for key, job in found.items():
            assert job.attempts == self.attempts[key]
            has_result = jobs.get_result(self.database, key) is not None
            assert has_result == (job.state == "done")


def test_no_order_of_verbs_loses_a_job_or_records_two_results(
    open_database: OpenDatabase, clock: ManualClock
) -> None:
    Queue.database = open_database()
    machine: Any = Queue.TestCase
    machine.settings = settings(
        max_examples=30,
        stateful_step_count=30,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    machine().runTest()
