"""/api/v1/admin/dlq: the dead-letter queue, which is the jobs whose state is dead."""

from typing import Annotated, Any

import falcon
import msgspec
from msgspec import Meta

from appliance import errors
from appliance.actions.job_views import JobView
from appliance.actions.jobs import Jobs
from appliance.store.jobs import DEAD
from appliance.web.operation import Access, operation

_PROBLEMS = (errors.NotFound, errors.Conflict, errors.DatabaseUnavailable)


class DeadQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Which page of dead jobs."""

    cursor: Annotated[
        Annotated[str, Meta(max_length=36)] | None,
        Meta(description="Go on where the last page ended."),
    ] = None
    limit: Annotated[int, Meta(ge=1, le=1000, description="Jobs on one page.")] = 100


class DeadJob(msgspec.Struct, frozen=True, kw_only=True):
    """One job that failed for good; `error` is its problem's sentence, `retry_count` how often it
    was tried again after the first attempt.
    """

    job_id: str
    kind: str
    state: str
    error: str
    problem: dict[str, Any] | None
    retry_count: int
    created_at: str
    failed_at: str | None
    payload: dict[str, Any]
    location: str


class DeadPage(msgspec.Struct, frozen=True, kw_only=True):
    """Dead jobs, newest first; `total` counts all of them."""

    total: int
    jobs: tuple[DeadJob, ...]
    next_cursor: str | None


class Changed(msgspec.Struct, frozen=True, kw_only=True):
    """How many jobs a call changed, at most a thousand; `left` are still dead."""

    changed: int
    left: int


class DeadJobs:
    """All dead jobs."""

    def __init__(self, jobs: Jobs) -> None:
        self._jobs = jobs

    @operation(
        summary="List the dead jobs, newest first",
        access=Access.ADMIN,
        query=DeadQuery,
        result=DeadPage,
        problems=_PROBLEMS,
        tag="Jobs",
    )
    def on_get(
        self, request: falcon.Request, response: falcon.Response, *, query: DeadQuery
    ) -> DeadPage:
        """Return one page."""
        page = self._jobs.page(
            request.context.caller, states=(DEAD,), cursor=query.cursor, limit=query.limit
        )
        return DeadPage(
            total=self._jobs.counts().dead,
            jobs=tuple(_dead(job) for job in page.jobs),
            next_cursor=page.next_cursor,
        )

    @operation(
        summary="Try all dead jobs again",
        access=Access.ADMIN,
        result=Changed,
        status=202,
        problems=_PROBLEMS,
        tag="Jobs",
    )
    def on_post(self, request: falcon.Request, response: falcon.Response) -> Changed:
        """Let up to a thousand wait again."""
        changed = self._jobs.retry_dead(request.context.caller)
        return Changed(changed=changed, left=self._jobs.counts().dead)

    @operation(
        summary="Remove all dead jobs",
        access=Access.ADMIN,
        result=Changed,
        problems=_PROBLEMS,
        tag="Jobs",
    )
    def on_delete(self, request: falcon.Request, response: falcon.Response) -> Changed:
        """Forget up to a thousand, with their files."""
        changed = self._jobs.remove_dead(request.context.caller)
        return Changed(changed=changed, left=self._jobs.counts().dead)


class DeadJobResource:
    """One dead job."""

    def __init__(self, jobs: Jobs) -> None:
        self._jobs = jobs

    @operation(
        summary="Look at one dead job",
        access=Access.ADMIN,
        result=DeadJob,
        problems=_PROBLEMS,
        tag="Jobs",
    )
    def on_get(
        self, request: falcon.Request, response: falcon.Response, *, job_id: str
    ) -> DeadJob:
        """Return why it died."""
        return _dead(self._known(request, job_id))

    @operation(
        summary="Try one dead job again",
        access=Access.ADMIN,
        result=JobView,
        status=202,
        problems=_PROBLEMS,
        tag="Jobs",
    )
    def on_post(
        self, request: falcon.Request, response: falcon.Response, *, job_id: str
    ) -> JobView:
        """Let it wait again."""
        return self._jobs.retry(request.context.caller, job_id)

    @operation(
        summary="Remove one dead job",
        access=Access.ADMIN,
        status=204,
        problems=_PROBLEMS,
        tag="Jobs",
    )
    def on_delete(
        self, request: falcon.Request, response: falcon.Response, *, job_id: str
    ) -> None:
        """Forget it and its files."""
        self._jobs.remove(request.context.caller, self._known(request, job_id).id)

    def _known(self, request: falcon.Request, job_id: str) -> JobView:
        job = self._jobs.view(request.context.caller, job_id)
        if job.state != DEAD:
            raise errors.NotFound(f"The job {job.id} is {job.state}, not dead.")
        return job


def _dead(job: JobView) -> DeadJob:
    return DeadJob(
        job_id=job.id,
        kind=job.kind,
        state=job.state,
        error=str((job.problem or {}).get("detail", "")),
        problem=job.problem,
        retry_count=max(0, job.attempts - 1),
        created_at=job.created,
        failed_at=job.ended,
        payload=job.params,
        location=job.location,
    )
