"""Jobs as told to clients."""

from typing import Any

import msgspec

from appliance.clock import utc_text
from appliance.store.jobs import DONE, RUNNING, WAITING, KeptFile, StoredInput, StoredJob

ROUTE = "/api/v1/jobs"


class JobFile(msgspec.Struct, frozen=True, kw_only=True):
    """One file that was sent with a job, or that its result keeps."""

    name: str
    bytes: int
    content_type: str = ""
    location: str = ""


class JobView(msgspec.Struct, frozen=True, kw_only=True):
    """One job; times are RFC 3339 in UTC, `problem` is why the last attempt failed."""

    id: str
    kind: str
    state: str
    is_cancelling: bool
    priority: int
    progress: float
    message: str
    attempts: int
    allowed_attempts: int
    created: str
    next_attempt: str | None
    started: str | None
    ended: str | None
    model: str
    params: dict[str, Any]
    inputs: tuple[JobFile, ...]
    problem: dict[str, Any] | None
    key_name: str
    request_id: str
    location: str
    result: str | None


class JobPage(msgspec.Struct, frozen=True, kw_only=True):
    """Jobs, newest first, and where the next page begins, or None at the end."""

    jobs: tuple[JobView, ...]
    next_cursor: str | None


class JobOutcome(msgspec.Struct, frozen=True, kw_only=True):
    """What a job found: `result` is its kind's own document."""

    id: str
    kind: str
    model: str
    recorded: str
    result: msgspec.Raw
    files: tuple[JobFile, ...]


def view_of(job: StoredJob, progress: tuple[float, str] | None = None) -> JobView:
    """Given a job and, while it runs, the newest word on how far it is, return what to tell."""
    share, message = job.progress, job.message
    if job.state == RUNNING and progress is not None:
        share, message = progress
    is_due_later = job.state == WAITING and job.attempts > 0
    return JobView(
        id=job.id,
        kind=job.kind,
        state=job.state,
        is_cancelling=job.is_cancelling,
        priority=job.priority,
        progress=round(share, 4),
        message=message,
        attempts=job.attempts,
        allowed_attempts=job.allowed_attempts,
        created=utc_text(job.created_seconds),
        next_attempt=utc_text(job.due_seconds) if is_due_later else None,
        started=_text(job.started_seconds),
        ended=_text(job.ended_seconds),
        model=job.model,
        params=job.params,
        inputs=tuple(_input_of(stored) for stored in job.inputs),
        problem=job.problem,
        key_name=job.key_name,
        request_id=job.request_id,
        location=f"{ROUTE}/{job.id}",
        result=f"{ROUTE}/{job.id}/result" if job.state == DONE else None,
    )


def kept_of(job_id: str, kept: KeptFile) -> JobFile:
    """Given a job and a file its result keeps, return what to tell of it."""
    location = f"{ROUTE}/{job_id}/result/{kept.name}"
    return JobFile(name=kept.name, bytes=kept.bytes, location=location)


def _input_of(stored: StoredInput) -> JobFile:
    return JobFile(name=stored.name, bytes=stored.bytes, content_type=stored.content_type)


def _text(seconds: float | None) -> str | None:
    return None if seconds is None else utc_text(seconds)
