"""The queue in the table of jobs: take the next, end it, give it back, ask for its end.

A lease is the run of the appliance (`instance`) and the number of the attempt. Whoever ends an
attempt shows it; where it no longer holds, nothing is written and the answer is None. So of two
attempts that overlap one is recorded, and no clock decides which (R20 of the threat model: the
attempt is counted before it runs, and leases of a run that ended are freed at the next start).
"""

from typing import Any, NamedTuple

import msgspec
from peewee import SQL, fn

from appliance import errors
from appliance.store.connection import Connection, Store
from appliance.store.database import Database
from appliance.store.jobs import (
    CANCELLED,
    COLUMNS,
    DEAD,
    DONE,
    ENDED,
    RUNNING,
    WAITING,
    StoredJob,
    StoredResult,
    as_text,
    get,
    job_of,
)
from appliance.store.tables import JobResultRow, JobRow

#: Ends of the appliance itself that a job may meet before it is taken for their cause.
MOST_CUT_SHORT = 10
#: The index is named because SQLite, which knows nothing of how many jobs are in which state,
#: would sort all that wait.
_NEXT = (
    "SELECT id FROM jobs INDEXED BY jobs_waiting WHERE state = 'waiting'"
    " AND (due_seconds <= ? OR due_seconds > ?) ORDER BY priority DESC, id LIMIT 1"
)
_PROGRESS = (
    "UPDATE jobs SET progress = ?, message = ?"
    " WHERE id = ? AND instance = ? AND attempts = ? AND state = 'running'"
)


class Lease(NamedTuple):
    """The right to end one attempt at a job."""

    job_id: str
    instance: str
    attempt: int


def lease_of(job: StoredJob) -> Lease:
    """Given a job that was just taken, return the right to end this attempt."""
    return Lease(job.id, job.instance, job.attempts)


def has_due(store: Store, now: float, *, longest_pause_seconds: float) -> bool:
    """Given the wall time, return whether `take` would find a job; costs no write."""
    with store.read() as connection:
        return bool(connection.sql(_NEXT, (now, now + longest_pause_seconds)))


def take(
    store: Store, instance: str, now: float, *, longest_pause_seconds: float
) -> StoredJob | None:
    """Given this run's id and the wall time, lease the next due job, counting the attempt.

    The highest priority goes first, then the oldest. A job that is to wait longer than any pause
    can be is due at once: then the wall clock was turned back. None when no job is due.
    """

    def work(connection: Connection) -> StoredJob | None:
        chosen = SQL(f"({_NEXT})", (now, now + longest_pause_seconds))
        rows = connection.rows(
            JobRow.update(
                state=RUNNING,
                instance=instance,
                attempts=JobRow.attempts + 1,
                started_seconds=now,
                progress=0.0,
                message="",
            )
            .where(JobRow.id == chosen)
            .returning(*COLUMNS)
        )
        return job_of(rows[0]) if rows else None

    return store.write(work)


def finish(
    store: Store, lease: Lease, result: StoredResult, *, message: str = ""
) -> StoredJob | None:
    """Given a lease and what the attempt found, record the result and the end of the job at once.

    `message` says in a few words what came of it.

    Return the job, or None when the lease no longer holds; then nothing was recorded.
    """

    def work(connection: Connection) -> StoredJob | None:
        ended = _end(
            connection,
            lease,
            state=DONE,
            ended_seconds=result.recorded_seconds,
            progress=1.0,
            message=message,
            is_cancelling=0,
            problem=None,
            stored_bytes=_bytes_of(result),
        )
        if ended is not None:
            values = msgspec.structs.asdict(result)
            values["files"] = msgspec.json.encode(result.files).decode()
            connection.run(JobResultRow.insert(**values))
        return ended

    return store.write(work)


def put_back(
    store: Store, lease: Lease, problem: dict[str, Any], *, due_seconds: float, now: float
) -> StoredJob | None:
    """Given a lease, why its attempt failed and when to try again, let the job wait again.

    A job whose end was asked for is cancelled instead, here and below.
    """
    changes = {"state": WAITING, "due_seconds": due_seconds, "problem": as_text(problem)}
    return store.write(lambda connection: _end_or_cancel(connection, lease, now, changes))


def bury(store: Store, lease: Lease, problem: dict[str, Any], *, now: float) -> StoredJob | None:
    """Given a lease and why its attempt failed, end the job for good: it is dead."""
    changes = {"state": DEAD, "ended_seconds": now, "problem": as_text(problem)}
    return store.write(lambda connection: _end_or_cancel(connection, lease, now, changes))


def return_unused(store: Store, lease: Lease, *, now: float) -> StoredJob | None:
    """Given the lease of an attempt that the appliance itself cut short, let the job wait again.

    The attempt is not held against the job.
    """
    changes = {"state": WAITING, "allowed_attempts": JobRow.allowed_attempts + 1, "message": ""}
    return store.write(lambda connection: _end_or_cancel(connection, lease, now, changes))


def free_others(
    store: Store, instance: str, problem: dict[str, Any], *, now: float
) -> tuple[int, int]:
    """Given this run's id, free what earlier runs of the appliance held when they ended.

    They wait again, and the attempt is not held against them, because most often it is the machine
    that ended. But a job that was cut short MOST_CUT_SHORT times may be what ends the appliance:
    it is dead with `problem`. Those whose end was asked for are cancelled. Return how many wait
    and how many ended.
    """

    def work(connection: Connection) -> tuple[int, int]:
        is_left = (JobRow.state == RUNNING) & (JobRow.instance != instance)
        is_spent = (JobRow.attempts >= JobRow.allowed_attempts) & (
            JobRow.attempts >= MOST_CUT_SHORT
        )
        ended = {"instance": "", "ended_seconds": now, "is_cancelling": 0}
        cancelled = connection.run(
            JobRow.update(state=CANCELLED, stored_bytes=0, **ended).where(
                is_left, JobRow.is_cancelling == 1
            )
        )
        dead = connection.run(
            JobRow.update(state=DEAD, problem=as_text(problem), **ended).where(is_left, is_spent)
        )
        waiting = connection.run(
            JobRow.update(
                state=WAITING,
                instance="",
                due_seconds=now,
                allowed_attempts=fn.MAX(JobRow.allowed_attempts, JobRow.attempts + 1),
                problem=as_text(problem),
            ).where(is_left)
        )
        return waiting, cancelled + dead

    return store.write(work)


def cancel(store: Store, job_id: str, *, now: float) -> StoredJob:
    """Given a job, end it if it waits, ask for its end if it runs, and return it.

    Raise NotFound, or Conflict when it has ended.
    """

    def work(connection: Connection) -> StoredJob:
        job = get(connection, job_id)
        if job.state in ENDED:
            raise errors.Conflict(f"This job is {job.state}; there is nothing left to cancel.")
        if job.state == WAITING:
            changed = JobRow.update(state=CANCELLED, ended_seconds=now, stored_bytes=0)
        else:
            changed = JobRow.update(is_cancelling=1)
        return job_of(connection.rows(changed.where(JobRow.id == job_id).returning(*COLUMNS))[0])

    return store.write(work)


def retry(store: Store, job_id: str, *, attempts: int, now: float) -> StoredJob:
    """Given a dead job, let it wait again with so many attempts more, and return it.

    Raise NotFound, or Conflict when it is not dead.
    """

    def work(connection: Connection) -> StoredJob:
        job = get(connection, job_id)
        if job.state != DEAD:
            raise errors.Conflict(f"This job is {job.state}; only a dead one can be tried again.")
        changed = JobRow.update(
            state=WAITING,
            ended_seconds=None,
            due_seconds=now,
            allowed_attempts=job.attempts + attempts,
            progress=0.0,
            message="",
        )
        return job_of(connection.rows(changed.where(JobRow.id == job_id).returning(*COLUMNS))[0])

    return store.write(work)


def submit_progress(database: Database, lease: Lease, progress: float, message: str) -> None:
    """Given a lease and how far its attempt is, keep the newest such word soon; never wait."""
    database.submit_latest(("job", lease.job_id), _PROGRESS, (progress, message, *lease))


def _bytes_of(result: StoredResult) -> int:
    return len(result.document) + sum(kept.bytes for kept in result.files)


def _holds(lease: Lease) -> tuple[Any, ...]:
    return (
        JobRow.id == lease.job_id,
        JobRow.state == RUNNING,
        JobRow.instance == lease.instance,
        JobRow.attempts == lease.attempt,
    )


def _end_or_cancel(
    connection: Connection, lease: Lease, now: float, changes: dict[str, Any]
) -> StoredJob | None:
    is_cancelling = connection.value(
        "SELECT is_cancelling FROM jobs WHERE id = ?", (lease.job_id,)
    )
    if is_cancelling:
        changes = {
            "state": CANCELLED,
            "ended_seconds": now,
            "is_cancelling": 0,
            "stored_bytes": 0,
        }
    return _end(connection, lease, **changes)


def _end(connection: Connection, lease: Lease, **changes: Any) -> StoredJob | None:
    rows = connection.rows(
        JobRow.update(instance="", **changes).where(*_holds(lease)).returning(*COLUMNS)
    )
    return job_of(rows[0]) if rows else None
