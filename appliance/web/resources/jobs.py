"""/api/v1/jobs: look at jobs, wait for them, fetch results, cancel, remove, try again."""

import mimetypes
from typing import Annotated, Any

import falcon
import msgspec
from msgspec import Meta

from appliance import errors
from appliance.actions.job_views import JobOutcome, JobPage, JobView
from appliance.actions.jobs import Jobs
from appliance.store.jobs import ENDED, STATES
from appliance.web.operation import Access, operation
from appliance.web.patience import patience

_PROBLEMS = (errors.NotFound, errors.DatabaseUnavailable)
_CHANGE_PROBLEMS = (*_PROBLEMS, errors.Conflict, errors.InsufficientStorage)
_BINARY: dict[str, Any] = {"type": "string", "format": "binary"}
#: What a browser may show; anything else is saved, so that no result can act as a page of ours.
_SHOWN_TYPES = {
    ".json": "application/json",
    ".jsonl": "application/jsonl",
    ".csv": "text/csv; charset=utf-8",
    ".md": "text/markdown; charset=utf-8",
    ".txt": "text/plain; charset=utf-8",
    ".png": "image/png",
    ".jpg": "image/jpeg",
}


#: Told in the schema only: the action knows the states and names them all in its refusal.
_State = Annotated[str, Meta(extra_json_schema={"enum": list(STATES)})]


class ListQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Which jobs, and which page of them."""

    state: Annotated[
        tuple[_State, ...],
        Meta(description="waiting, running, done, dead or cancelled; several with commas."),
    ] = ()
    kind: Annotated[
        Annotated[str, Meta(max_length=64)] | None, Meta(description="Only jobs of this kind.")
    ] = None
    cursor: Annotated[
        Annotated[str, Meta(max_length=36)] | None,
        Meta(description="Go on where the last page ended."),
    ] = None
    limit: Annotated[int, Meta(ge=1, le=1000, description="Jobs on one page.")] = 100


class WaitQuery(msgspec.Struct, frozen=True, kw_only=True):
    """How long to hold the answer."""

    wait: Annotated[
        float,
        Meta(ge=0, le=3600, description="Seconds to hold the answer until the job has ended."),
    ] = 0.0


class JobsResource:
    """All jobs."""

    def __init__(self, jobs: Jobs) -> None:
        self._jobs = jobs

    @operation(
        summary="List jobs, newest first",
        access=Access.DEVICE,
        query=ListQuery,
        result=JobPage,
        problems=_PROBLEMS,
        tag="Jobs",
    )
    def on_get(
        self, request: falcon.Request, response: falcon.Response, *, query: ListQuery
    ) -> JobPage:
        """Return one page of the caller's jobs, or of all for operators and admins."""
        return self._jobs.page(
            request.context.caller,
            states=tuple(state for state in query.state if state),
            kind=query.kind,
            cursor=query.cursor,
            limit=query.limit,
        )


class JobResource:
    """One job."""

    def __init__(self, jobs: Jobs) -> None:
        self._jobs = jobs

    @operation(
        summary="Look at one job, or wait for its end",
        access=Access.DEVICE,
        query=WaitQuery,
        result=JobView,
        problems=_PROBLEMS,
        tag="Jobs",
    )
    def on_get(
        self,
        request: falcon.Request,
        response: falcon.Response,
        *,
        job_id: str,
        query: WaitQuery,
    ) -> JobView:
        """Return where it stands."""
        with patience(request, query.wait) as held:
            return self._jobs.view(request.context.caller, job_id, held)

    @operation(
        summary="Cancel a job, or remove one that has ended",
        description="A job that waits is cancelled at once, one that runs soon; one that has ended"
        " is removed with its result, which is answered with 204.",
        access=Access.DEVICE,
        result=JobView,
        also={204: None},
        problems=_CHANGE_PROBLEMS,
        tag="Jobs",
    )
    def on_delete(
        self, request: falcon.Request, response: falcon.Response, *, job_id: str
    ) -> JobView | None:
        """End it or forget it."""
        caller = request.context.caller
        if self._jobs.view(caller, job_id).state in ENDED:
            self._jobs.remove(caller, job_id)
            response.status = 204
            return None
        return self._jobs.cancel(caller, job_id)

    @operation(
        summary="Try a dead job again",
        access=Access.DEVICE,
        result=JobView,
        status=202,
        problems=_CHANGE_PROBLEMS,
        tag="Jobs",
    )
    def on_post_retry(
        self, request: falcon.Request, response: falcon.Response, *, job_id: str
    ) -> JobView:
        """Let it wait again."""
        return self._jobs.retry(request.context.caller, job_id)

    @operation(
        summary="Fetch what a job found",
        access=Access.DEVICE,
        query=WaitQuery,
        result=JobOutcome,
        problems=(*_PROBLEMS, errors.Conflict),
        tag="Jobs",
    )
    def on_get_result(
        self,
        request: falcon.Request,
        response: falcon.Response,
        *,
        job_id: str,
        query: WaitQuery,
    ) -> JobOutcome:
        """Return its document and where its files are."""
        with patience(request, query.wait) as held:
            return self._jobs.outcome(request.context.caller, job_id, held)

    @operation(
        summary="Fetch a file that a job's result keeps",
        access=Access.DEVICE,
        produces={"application/octet-stream": _BINARY},
        problems=_PROBLEMS,
        tag="Jobs",
    )
    def on_get_file(
        self, request: falcon.Request, response: falcon.Response, *, job_id: str, file_name: str
    ) -> None:
        """Send it as it is."""
        path = self._jobs.result_file(request.context.caller, job_id, file_name)
        response.set_stream(path.open("rb"), path.stat().st_size)
        known = _SHOWN_TYPES.get(path.suffix.lower())
        response.content_type = known or mimetypes.types_map.get(
            path.suffix.lower(), "application/octet-stream"
        )
        response.set_header("X-Content-Type-Options", "nosniff")
        if known is None:
            response.downloadable_as = path.name
