"""ModelShip's batches and jobs: its shapes over the appliance's own queue."""

import io
from collections.abc import Iterable, Mapping
from typing import Any

import falcon
import msgspec

from appliance import errors
from appliance.actions.choose_model import scene_model_for
from appliance.actions.job_files import SentFile
from appliance.actions.job_views import JobView
from appliance.actions.jobs import Jobs
from appliance.actions.submit_batch import BatchSubmission, WantedBatch
from appliance.config import Dialects
from appliance.config import Jobs as Settings
from appliance.engine.engine import Engine
from appliance.errors import InvalidInput
from appliance.store.jobs import CANCELLED, DEAD, DONE, RUNNING, WAITING
from appliance.tasks.object_detection import DetectedObject
from appliance.web import parsing
from appliance.web.dialects import modelship_schemas as schemas
from appliance.web.dialects.modelship import (
    EMBEDDING,
    SENTIMENT,
    TEXT,
    WantedText,
    percent,
    text_model,
    wanted_text,
)
from appliance.web.dialects.modelship_boxes import (
    OBJECTS,
    detection_of,
    detection_params,
    detector_of,
)
from appliance.web.forms import read_form
from appliance.web.openapi import Route
from appliance.web.operation import Access, operation
from appliance.web.patience import lent_thread
from appliance.web.sent_files import fields_then_files, sent_files

_STATUS = {
    WAITING: "queued",
    RUNNING: "processing",
    DONE: "completed",
    DEAD: "failed",
    CANCELLED: "failed",
}
_JOB_TYPES = {TEXT: "text", EMBEDDING: "text", OBJECTS: "object_detection"}
_FORM = {
    "multipart/form-data": {
        "type": "object",
        "properties": {
            "files": {"type": "array", "items": {"type": "string", "format": "binary"}}
        },
        "required": ["files"],
    }
}
_DETECT_FORM = {
    "multipart/form-data": {
        "type": "object",
        "properties": {
            "project_id": {"description": "Taken and forgotten: there are no projects here."},
            "model_name": {"description": "A detector; ModelShip's own names mean the first."},
            "confidence_threshold": {"type": "number"},
            "use_sahi_slicing": {"type": "boolean"},
            "files": {"type": "array", "items": {"type": "string", "format": "binary"}},
        },
        "required": ["files"],
    }
}
_TEXTS_FORM = {
    media: {"type": "object", "properties": {"texts": {"type": "string"}}, "required": ["texts"]}
    for media in ("multipart/form-data", "application/x-www-form-urlencoded")
}
_PROBLEMS = (
    errors.NotFound,
    errors.PayloadTooLarge,
    errors.UnsupportedMedia,
    errors.Overloaded,
    errors.DatabaseUnavailable,
    errors.InsufficientStorage,
)


class _Objects(msgspec.Struct):
    """A detector's result; of other results nothing is read here."""

    objects: tuple[DetectedObject, ...] | None = None


class _Outcome(msgspec.Struct):
    file: str
    status: str
    label: str | None = None
    confidence: float | None = None
    duration_ms: float = 0.0
    result: _Objects | None = None
    problem: dict[str, Any] | None = None


class _Totals(msgspec.Struct):
    files: int = 0


class _Batch(msgspec.Struct):
    files: list[_Outcome] = []
    totals: _Totals = msgspec.field(default_factory=_Totals)


_batch_of = msgspec.json.Decoder(_Batch).decode


def routes(
    engine: Engine,
    batches: BatchSubmission,
    jobs: Jobs,
    *,
    settings: Dialects,
    limits: Settings,
) -> tuple[Route, ...]:
    """Given the queue and what takes batches in, return the routes of batches and jobs."""
    kept = BatchJobs(engine, batches, jobs, settings=settings, limits=limits)
    return (
        Route("/api/classify/batch", kept, "batch"),
        Route("/api/classify/batch/detect", kept, "detect"),
        Route("/api/classify/text/batch", kept, "texts"),
        Route("/api/classify/jobs", kept, "jobs"),
        Route("/api/classify/jobs/{job_id}", kept, "job"),
        Route("/api/classify/results/{job_id}", kept, "results"),
    )


class BatchJobs:
    """Batches of pictures or texts, and what became of them. Threads: any; it holds no state."""

    def __init__(
        self,
        engine: Engine,
        batches: BatchSubmission,
        jobs: Jobs,
        *,
        settings: Dialects,
        limits: Settings,
    ) -> None:
        self._engine = engine
        self._batches = batches
        self._jobs = jobs
        self._settings = settings
        self._limits = limits

    @operation(
        summary="Classify many files as a job (ModelShip)",
        access=Access.DEVICE,
        query=schemas.BatchQuery,
        consumes=_FORM,
        result=schemas.BatchReply,
        problems=(*_PROBLEMS, errors.Conflict),
        tag="Guides",
        dialect="modelship",
    )
    def on_post_batch(
        self, request: falcon.Request, response: falcon.Response, *, query: schemas.BatchQuery
    ) -> schemas.BatchReply:
        """Store the files and answer with the job."""
        caller = request.context.caller
        if query.job_type == "text":
            wanted = WantedText(SENTIMENT, {})
            model = text_model(self._engine, caller, wanted, settings=self._settings)
        else:
            configured = self._settings.scene_model
            model = scene_model_for(self._engine, caller, configured=configured)
        with lent_thread(request):
            files = sent_files(request, most_files=self._limits.files, whole_types=())
            return self._submitted(request, model, files)

    @operation(
        summary="Detect objects in many pictures as a job (ModelShip)",
        access=Access.DEVICE,
        any_query=True,
        consumes=_DETECT_FORM,
        result=schemas.BatchReply,
        problems=_PROBLEMS,
        tag="Guides",
        dialect="modelship",
        description="The form's text fields come before its files.",
    )
    def on_post_detect(
        self, request: falcon.Request, response: falcon.Response
    ) -> schemas.BatchReply:
        """Store the pictures and answer with the job; its results have `detections`."""
        caller = request.context.caller
        with lent_thread(request):
            form, files = fields_then_files(request, most_files=self._limits.files)
            model = detector_of(self._engine, caller, form, settings=self._settings)
            return self._submitted(request, model, files, params=detection_params(form))

    @operation(
        summary="Classify many texts as a job (ModelShip)",
        access=Access.DEVICE,
        any_query=True,
        consumes=_TEXTS_FORM,
        result=schemas.BatchReply,
        problems=_PROBLEMS,
        tag="Guides",
        dialect="modelship",
        description="`texts` is a JSON list of texts.",
    )
    def on_post_texts(
        self, request: falcon.Request, response: falcon.Response
    ) -> schemas.BatchReply:
        """Store the texts and answer with the job."""
        form = read_form(request, most_bytes=self._limits.file_bytes)
        texts = parsing.decode_json(form.fields.get("texts", "").encode("utf-8"), list[str])
        if not texts:
            raise InvalidInput("'texts' is an empty list; send at least one.", pointer="/texts")
        lines = b"".join(msgspec.json.encode({"text": text}) + b"\n" for text in texts)
        sent = SentFile("texts.jsonl", "application/jsonl", io.BytesIO(lines))
        wanted, caller = wanted_text(form), request.context.caller
        model = text_model(self._engine, caller, wanted, settings=self._settings)
        reply = self._submitted(request, model, (sent,), params=wanted.params)
        return msgspec.structs.replace(
            reply,
            total_items=len(texts),
            message=f"Batch classification job created with {len(texts)} texts",
        )

    @operation(
        summary="List the jobs of batches, newest first (ModelShip)",
        access=Access.DEVICE,
        query=schemas.PageQuery,
        result=schemas.JobsReply,
        problems=(errors.DatabaseUnavailable,),
        tag="Guides",
        dialect="modelship",
    )
    def on_get_jobs(
        self, request: falcon.Request, response: falcon.Response, *, query: schemas.PageQuery
    ) -> schemas.JobsReply:
        """A device sees its own, operators and admins all."""
        page = self._jobs.page(
            request.context.caller, kind="batch", limit=query.offset + query.limit
        )
        shown = tuple(self._job(request, job) for job in page.jobs[query.offset :])
        return schemas.JobsReply(
            jobs=shown, total_count=len(shown), limit=query.limit, offset=query.offset
        )

    @operation(
        summary="Tell where a batch stands (ModelShip)",
        access=Access.DEVICE,
        any_query=True,
        result=schemas.JobReply,
        problems=(errors.NotFound, errors.DatabaseUnavailable),
        tag="Guides",
        dialect="modelship",
    )
    def on_get_job(
        self, request: falcon.Request, response: falcon.Response, *, job_id: str
    ) -> schemas.JobReply:
        """Tell its status in ModelShip's words."""
        return self._job(request, self._jobs.view(request.context.caller, job_id))

    @operation(
        summary="Fetch the results of a batch (ModelShip)",
        access=Access.DEVICE,
        query=schemas.ResultsQuery,
        result=schemas.ResultsReply,
        problems=(errors.NotFound, errors.DatabaseUnavailable),
        tag="Guides",
        dialect="modelship",
    )
    def on_get_results(
        self,
        request: falcon.Request,
        response: falcon.Response,
        *,
        job_id: str,
        query: schemas.ResultsQuery,
    ) -> schemas.ResultsReply:
        """Tell what became of each file; nothing before the job is completed."""
        job = self._jobs.view(request.context.caller, job_id)
        found = self._found(request, job).files
        is_sliced = "tiles" in (job.params.get("params") or {})
        shown = [
            _result(job.id, number, outcome, is_sliced=is_sliced)
            for number, outcome in enumerate(found, 1)
            if _is_wanted(outcome, query)
        ]
        return schemas.ResultsReply(
            job_id=job.id,
            job_status=_STATUS[job.state],
            results=tuple(shown),
            summary=_summary(found),
            filters_applied=msgspec.to_builtins(query),
        )

    def _submitted(
        self,
        request: falcon.Request,
        model: str,
        files: Iterable[SentFile],
        *,
        params: Mapping[str, str] | None = None,
    ) -> schemas.BatchReply:
        job = self._batches.submit(
            WantedBatch(
                caller=request.context.caller,
                model=model,
                params=params or {},
                files=files,
                idempotency_key=request.get_header("Idempotency-Key"),
                request_id=request.context.request_id,
            )
        ).job
        count = len(job.inputs)
        return schemas.BatchReply(
            job_id=job.id,
            status=_STATUS[job.state],
            total_items=count,
            message=f"Batch classification job created with {count} files",
        )

    def _job(self, request: falcon.Request, job: JobView) -> schemas.JobReply:
        total = len(job.inputs)
        if job.state == DONE:
            total = self._found(request, job).totals.files or total
        is_failed = _STATUS[job.state] == "failed"
        problem = (job.problem or {}).get("detail", "The job was cancelled.")
        return schemas.JobReply(
            job_id=job.id,
            status=_STATUS[job.state],
            job_type=self._type_of(job.model),
            total_items=total,
            completed_items=int(job.progress * total),
            progress_percentage=round(job.progress * 100, 2),
            created_at=job.created,
            completed_at=job.ended,
            error_message=problem if is_failed else None,
        )

    def _type_of(self, model: str) -> str:
        try:
            return _JOB_TYPES.get(self._engine.task_of(model, None), "image")
        except errors.Problem:
            return "image"  # deleted since

    def _found(self, request: falcon.Request, job: JobView) -> _Batch:
        if job.state != DONE or job.kind != "batch":
            return _Batch()
        return _batch_of(self._jobs.outcome(request.context.caller, job.id).result)


def _is_wanted(outcome: _Outcome, query: schemas.ResultsQuery) -> bool:
    if outcome.status != "ok":
        return query.include_errors
    return (outcome.confidence or 0.0) >= query.confidence_threshold


def _result(job_id: str, number: int, outcome: _Outcome, *, is_sliced: bool) -> schemas.Result:
    is_ok = outcome.status == "ok"
    objects = outcome.result.objects if outcome.result else None
    return schemas.Result(
        result_id=f"{job_id}-{number}",
        filename=outcome.file,
        predicted_label=outcome.label,
        confidence=percent(outcome.confidence),
        processing_time=round(outcome.duration_ms / 1000, 3),
        status="success" if is_ok else "error",
        error_message=None if is_ok else str((outcome.problem or {}).get("detail", "")),
        detections=(
            msgspec.UNSET
            if objects is None
            else tuple(detection_of(one, is_sliced=is_sliced) for one in objects)
        ),
    )


def _summary(found: list[_Outcome]) -> schemas.ResultsSummary:
    ok = [one for one in found if one.status == "ok"]
    count = max(len(ok), 1)
    return schemas.ResultsSummary(
        total_results=len(found),
        successful_results=len(ok),
        failed_results=len(found) - len(ok),
        average_confidence=percent(sum(one.confidence or 0.0 for one in ok) / count),
        average_processing_time=round(sum(one.duration_ms for one in ok) / count / 1000, 3),
    )
