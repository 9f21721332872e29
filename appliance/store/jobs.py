"""Jobs as they are kept: add, find, count, let go. Taking and ending them is in `job_queue.py`."""

from typing import Any

import msgspec
from peewee import fn

from appliance import errors
from appliance.store.connection import Connection, Store
from appliance.store.job_room import Room, require_room
from appliance.store.tables import JobResultRow, JobRow

WAITING, RUNNING, DONE, DEAD, CANCELLED = "waiting", "running", "done", "dead", "cancelled"
STATES = (WAITING, RUNNING, DONE, DEAD, CANCELLED)
ENDED = (DONE, DEAD, CANCELLED)
MOST_ROWS_PER_PAGE = 1000


class StoredInput(msgspec.Struct, frozen=True, kw_only=True):
    """One file of a job: its name as the client gave it, and where it lies in the job's folder."""

    name: str
    content_type: str
    path: str
    bytes: int
    sha256: str


class StoredJob(msgspec.Struct, frozen=True, kw_only=True):
    """One job. Times are seconds since 1970 UTC.

    `attempts` counts those begun, ever; the job is dead when a failed one leaves none of
    `allowed_attempts`. `instance` is the appliance's run that holds it (empty: none); together
    with `attempts` it is the lease that an end must show. `digest` tells whether another request
    under the same `idempotency_key` is the same.
    """

    id: str
    kind: str
    state: str = WAITING
    priority: int = 0
    model: str = ""
    pins: tuple[str, ...] = ()
    params: dict[str, Any]
    inputs: tuple[StoredInput, ...] = ()
    key_id: str
    key_name: str
    request_id: str
    idempotency_key: str | None = None
    digest: bytes = b""
    created_seconds: float
    due_seconds: float
    started_seconds: float | None = None
    ended_seconds: float | None = None
    attempts: int = 0
    allowed_attempts: int
    instance: str = ""
    progress: float = 0.0
    message: str = ""
    is_cancelling: bool = False
    problem: dict[str, Any] | None = None
    #: Bytes of its files and its result on the disk.
    stored_bytes: int = 0


class KeptFile(msgspec.Struct, frozen=True, kw_only=True):
    """One file of a result, relative to the folder of the attempt's results."""

    name: str
    bytes: int


class StoredResult(msgspec.Struct, frozen=True, kw_only=True):
    """What a job found: its document as JSON and the files it kept, by the attempt that did."""

    job_id: str
    attempt: int
    recorded_seconds: float
    document: bytes
    files: tuple[KeptFile, ...] = ()


class JobFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Which jobs: every field that is set must match; `models` empty means all."""

    states: tuple[str, ...] = ()
    kind: str | None = None
    key_id: str | None = None
    models: tuple[str, ...] = ()
    before_id: str | None = None
    limit: int = 100


_FIELDS: tuple[str, ...] = StoredJob.__struct_fields__
COLUMNS = tuple(getattr(JobRow, name) for name in _FIELDS)
_JSON = {
    "pins": tuple[str, ...],
    "params": dict[str, Any],
    "inputs": tuple[StoredInput, ...],
    "problem": dict[str, Any] | None,
}


def add(store: Store, job: StoredJob, *, most_waiting: int, room: Room | None = None) -> StoredJob:
    """Given a new job whose files are durable, keep it and return it after COMMIT.

    Where its key has sent the same idempotency key before, return that earlier job instead; raise
    Conflict if that was another request, Overloaded when `most_waiting` jobs wait, RateLimited or
    InsufficientStorage when there is no `room` for it.
    """

    def work(connection: Connection) -> StoredJob:
        earlier = find_same(connection, job)
        if earlier is not None:
            return earlier
        if connection.value("SELECT count(*) FROM jobs WHERE state = 'waiting'") >= most_waiting:
            raise errors.Overloaded(
                f"{most_waiting} jobs wait already, which is the most (jobs.most_waiting). Send"
                " this again later.",
                retry_after_seconds=10.0,
            )
        if room is not None:
            require_room(
                connection,
                room,
                key_id=job.key_id,
                key_name=job.key_name,
                new_bytes=job.stored_bytes,
            )
        connection.run(JobRow.insert(**row_of(job)))
        return job

    return store.write(work)


def find_same(store: Store, job: StoredJob) -> StoredJob | None:
    """Given a job that may be a repetition, return the one kept before under its idempotency key.

    Raise Conflict if the earlier one was another request.
    """
    if job.idempotency_key is None:
        return None
    query = JobRow.select(*COLUMNS).where(
        JobRow.key_id == job.key_id, JobRow.idempotency_key == job.idempotency_key
    )
    with store.read() as connection:
        rows = connection.rows(query)
    if not rows:
        return None
    earlier = job_of(rows[0])
    if earlier.digest != job.digest:
        raise errors.Conflict(
            f"The Idempotency-Key {job.idempotency_key!r} was sent before with another request"
            f" (job {earlier.id}). Send a new key with a new request."
        )
    return earlier


def get(store: Store, job_id: str) -> StoredJob:
    """Given an id, return the job; raise NotFound when there is none."""
    with store.read() as connection:
        rows = connection.rows(JobRow.select(*COLUMNS).where(JobRow.id == job_id))
    if not rows:
        raise errors.NotFound(f"There is no job {job_id[:64]!r}.")
    return job_of(rows[0])


def find(store: Store, wanted: JobFilter) -> tuple[StoredJob, ...]:
    """Given a filter, return one page of jobs, newest first; ids sort by time, so the last pages.

    Jobs without a model match any `models`.
    """
    most = max(1, min(wanted.limit, MOST_ROWS_PER_PAGE))
    query = JobRow.select(*COLUMNS).order_by(JobRow.id.desc()).limit(most)
    if wanted.states:
        query = query.where(JobRow.state.in_(wanted.states))
    if wanted.kind is not None:
        query = query.where(JobRow.kind == wanted.kind)
    if wanted.key_id is not None:
        query = query.where(JobRow.key_id == wanted.key_id)
    if wanted.models:
        query = query.where(JobRow.model.in_(("", *wanted.models)))
    if wanted.before_id is not None:
        query = query.where(JobRow.id < wanted.before_id)
    with store.read() as connection:
        return tuple(job_of(row) for row in connection.rows(query))


def get_result(store: Store, job_id: str) -> StoredResult | None:
    """Given a job's id, return its result, or None while it has none."""
    names = StoredResult.__struct_fields__
    query = JobResultRow.select(*(getattr(JobResultRow, name) for name in names))
    with store.read() as connection:
        rows = connection.rows(query.where(JobResultRow.job_id == job_id))
    if not rows:
        return None
    values = dict(zip(names, rows[0], strict=True))
    values["files"] = msgspec.json.decode(values["files"], type=tuple[KeptFile, ...])
    return StoredResult(**values)


def counts(store: Store) -> dict[str, int]:
    """Return how many jobs wait, run and are dead; of those that ended well there are too many."""
    counted = (WAITING, RUNNING, DEAD)
    query = (
        JobRow.select(JobRow.state, fn.COUNT(JobRow.id))
        .where(JobRow.state.in_(counted))
        .group_by(JobRow.state)
    )
    with store.read() as connection:
        return {**dict.fromkeys(counted, 0), **dict(connection.rows(query))}


def known_ids(store: Store) -> frozenset[str]:
    """Return the id of every job there is, to tell which folders belong to none."""
    with store.read() as connection:
        return frozenset(row[0] for row in connection.rows(JobRow.select(JobRow.id)))


def is_pinned(store: Store, model: str, version: int) -> bool:
    """Given a version, return whether a job that waits or runs needs it."""
    with store.read() as connection:
        return bool(
            connection.value(
                "SELECT count(*) FROM jobs, json_each(jobs.pins)"
                " WHERE jobs.state IN ('waiting', 'running') AND json_each.value = ?",
                (f"{model}@{version}",),
            )
        )


def ended_before(store: Store, seconds: float, *, limit: int = 500) -> tuple[str, ...]:
    """Given a wall time, return the ids of jobs that ended before it, oldest first."""
    query = (
        JobRow.select(JobRow.id)
        .where(JobRow.ended_seconds < seconds)
        .order_by(JobRow.ended_seconds)
        .limit(limit)
    )
    with store.read() as connection:
        return tuple(row[0] for row in connection.rows(query))


def remove(store: Store, job_ids: tuple[str, ...]) -> int:
    """Given ids, delete those jobs that have ended, with their results; return how many went."""

    def work(connection: Connection) -> int:
        return connection.run(
            JobRow.delete().where(JobRow.id.in_(job_ids), JobRow.state.in_(ENDED))
        )

    return store.write(work)


def row_of(job: StoredJob) -> dict[str, Any]:
    """Given a job, return the values of its row."""
    values = msgspec.structs.asdict(job)
    for name in ("pins", "params", "inputs"):
        values[name] = msgspec.json.encode(values[name]).decode()
    values["is_cancelling"] = int(job.is_cancelling)
    values["problem"] = as_text(job.problem)
    return values


def as_text(problem: dict[str, Any] | None) -> str | None:
    """Given a problem document or None, return what its column holds."""
    return None if problem is None else msgspec.json.encode(problem).decode()


def job_of(row: tuple[Any, ...]) -> StoredJob:
    """Given the values of COLUMNS, return the job."""
    values = dict(zip(_FIELDS, row, strict=True))
    for name, kind in _JSON.items():
        if values[name] is not None:
            values[name] = msgspec.json.decode(values[name], type=kind)
    values["is_cancelling"] = bool(values["is_cancelling"])
    return StoredJob(**values)
