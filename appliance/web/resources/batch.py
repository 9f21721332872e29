"""POST …/batch: many files for one model, done as a job."""

from typing import Annotated, Any

import falcon
import msgspec
from msgspec import Meta

from appliance import errors
from appliance.actions.job_views import JobView
from appliance.actions.jobs import Jobs
from appliance.actions.submit_batch import BatchSubmission, WantedBatch
from appliance.actions.submit_job import MOST_PRIORITY, Submitted
from appliance.config import Jobs as Settings
from appliance.errors import InvalidInput
from appliance.host.jobs.batch_items import LINE_TYPES, ZIP_TYPES
from appliance.web import parsing
from appliance.web.operation import Access, operation
from appliance.web.patience import lent_thread, patience
from appliance.web.sent_files import sent_files

PROBLEMS = (
    errors.MalformedRequest,
    errors.NotFound,
    errors.PayloadTooLarge,
    errors.UnsupportedMedia,
    errors.InvalidInput,
    errors.Conflict,
    errors.RateLimited,
    errors.Overloaded,
    errors.DatabaseUnavailable,
    errors.InsufficientStorage,
)
_BINARY: dict[str, Any] = {"type": "string", "format": "binary"}
FILES_FORM: dict[str, Any] = {
    "type": "object",
    "properties": {"files": {"type": "array", "items": _BINARY, "minItems": 1}},
    "required": ["files"],
    "additionalProperties": False,
}
CONSUMED = {
    "multipart/form-data": FILES_FORM,
    **dict.fromkeys(sorted(ZIP_TYPES), _BINARY),
    **{media: {"type": "string"} for media in sorted(LINE_TYPES)},
}
IDEMPOTENCY = {
    "Idempotency-Key": {
        "type": "string",
        "minLength": 1,
        "maxLength": 255,
        "description": "The same key with the same content is the same job, sent as often as need"
        " be; with other content it is refused.",
    }
}
ANSWER_HEADERS = {"Location": "Where the job is looked at."}


class Wish(msgspec.Struct, frozen=True, kw_only=True):
    """What a request says of the job itself, beside the parameters of its task."""

    priority: Annotated[int, Meta(ge=-MOST_PRIORITY, le=MOST_PRIORITY)] = 0
    wait: Annotated[float, Meta(ge=0, le=3600)] = 0.0


class Batch:
    """Batches for the active version of a model."""

    def __init__(self, batches: BatchSubmission, jobs: Jobs, settings: Settings) -> None:
        self._batches = batches
        self._jobs = jobs
        self._settings = settings

    @operation(
        summary="Predict many files as a job",
        description="Files as a multipart form, a zip of files, or JSON lines, each a text or what"
        " the task takes as JSON. The query holds the task's parameters and, for the job,"
        " `priority` and `wait` (seconds to hold the answer until the job has ended).",
        access=Access.DEVICE,
        any_query=True,
        consumes=CONSUMED,
        result=JobView,
        status=202,
        headers=IDEMPOTENCY,
        answer_headers=ANSWER_HEADERS,
        problems=PROBLEMS,
        tag="Jobs",
    )
    def on_post(
        self, request: falcon.Request, response: falcon.Response, *, model: str
    ) -> JobView:
        """Store the files and answer with the job, which waits."""
        params = parsing.single_values(request)
        wish = wish_of(params)
        with lent_thread(request):
            submitted = self._submit(request, model, params, wish)
        return answered(request, response, self._jobs, submitted, wait_seconds=wish.wait)

    def _submit(
        self, request: falcon.Request, model: str, params: dict[str, str], wish: Wish
    ) -> Submitted:
        return self._batches.submit(
            WantedBatch(
                caller=request.context.caller,
                model=model,
                params=params,
                files=sent_files(
                    request,
                    most_files=self._settings.files,
                    whole_types=ZIP_TYPES | LINE_TYPES,
                ),
                priority=wish.priority,
                idempotency_key=request.get_header("Idempotency-Key"),
                request_id=request.context.request_id,
            )
        )


def answered(
    request: falcon.Request,
    response: falcon.Response,
    jobs: Jobs,
    submitted: Submitted,
    *,
    wait_seconds: float = 0.0,
) -> JobView:
    """Given a job that was just taken in, say where it is; hold the answer for so long if asked.

    For every route that answers 202 with a job.
    """
    job = submitted.job
    if wait_seconds > 0:
        with patience(request, wait_seconds) as held:
            job = jobs.view(request.context.caller, job.id, held)
    response.set_header("Location", job.location)
    return job


def wish_of(params: dict[str, str]) -> Wish:
    """Take what concerns the job out of the parameters and return it."""
    told = {name: params.pop(name) for name in ("priority", "wait") if name in params}
    try:
        return msgspec.convert(told, Wish, strict=False)
    except msgspec.ValidationError as fault:
        raise InvalidInput(f"The query is not valid: {fault}.", pointer="/query") from None
