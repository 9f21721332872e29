"""POST …/evaluate, …/quantise, …/tune: how good and how fast a model is, found out by a job."""

from collections.abc import Iterable, Mapping
from typing import Any

import falcon

from appliance.actions.job_files import SentFile, at_least_one
from appliance.actions.job_views import JobView
from appliance.actions.jobs import Jobs
from appliance.actions.submit_measurement import MeasurementSubmission, WantedMeasurement
from appliance.config import Jobs as Settings
from appliance.host.jobs.batch_items import ZIP_TYPES
from appliance.web import parsing
from appliance.web.operation import Access, operation
from appliance.web.patience import lent_thread
from appliance.web.resources.batch import (
    ANSWER_HEADERS,
    FILES_FORM,
    IDEMPOTENCY,
    PROBLEMS,
    answered,
    wish_of,
)
from appliance.web.sent_files import sent_files

_BINARY: dict[str, Any] = {"type": "string", "format": "binary"}
_TABLE_TYPE = "text/csv"
_CONSUMED = {
    "multipart/form-data": FILES_FORM,
    **dict.fromkeys(sorted(ZIP_TYPES), _BINARY),
    _TABLE_TYPE: {"type": "string"},
}
_DATA = (
    "Data: a zip with a folder for each label; a CSV with the columns file,label (and its files in"
    " the zip) or text,label; pictures with YOLO's .txt files or COCO's .json. "
)
_JOB = (
    " The query also takes parameters of the model's task and, for the job, `priority` and `wait`"
    " (seconds to hold the answer). The result holds report.md, report.json and charts."
)


class Measurements:
    """Jobs that measure one model."""

    def __init__(
        self, measurements: MeasurementSubmission, jobs: Jobs, settings: Settings
    ) -> None:
        self._measurements = measurements
        self._jobs = jobs
        self._settings = settings

    @operation(
        summary="Measure a version on labelled data, as a job",
        description=_DATA + "Query: `version`, `head`, `most_items`, `most_seconds`." + _JOB,
        access=Access.OPERATOR,
        any_query=True,
        consumes=_CONSUMED,
        result=JobView,
        status=202,
        headers=IDEMPOTENCY,
        answer_headers=ANSWER_HEADERS,
        problems=PROBLEMS,
        tag="Measuring models",
    )
    def on_post_evaluate(
        self, request: falcon.Request, response: falcon.Response, *, model: str
    ) -> JobView:
        """Store the data and answer with the job, which waits."""
        return self._sent(request, response, "evaluate", model)

    @operation(
        summary="Make an INT8 version and measure it against the original, as a job",
        description=_DATA
        + "Without labels the answers of both versions are compared. In a form, files whose name"
        " begins with `validation` measure and the others calibrate; else the data is split."
        " Query: `version`, `head`, `max_drop` (points of accuracy that may be lost),"
        " `calibration=recorded` (calibrate with inputs of this model that were kept; then a body"
        " is not needed, and only measures), `calibration_items`, `most_items`, `most_seconds`."
        " The new version is kept if it is good enough, and never activated." + _JOB,
        access=Access.OPERATOR,
        any_query=True,
        consumes=_CONSUMED,
        body_required=False,
        result=JobView,
        status=202,
        headers=IDEMPOTENCY,
        answer_headers=ANSWER_HEADERS,
        problems=PROBLEMS,
        tag="Measuring models",
    )
    def on_post_quantise(
        self, request: falcon.Request, response: falcon.Response, *, model: str
    ) -> JobView:
        """Store the data and answer with the job, which waits."""
        return self._sent(request, response, "quantise", model)

    @operation(
        summary="Find out how a version runs best on this machine, as a job",
        description="Query: `version`, `latency_ms` (longest time of 95 of 100 inferences),"
        " `most_seconds`, `priority`, `wait`. What is chosen is used from the version's next start"
        " on. The result holds report.md, report.json and a chart.",
        access=Access.OPERATOR,
        any_query=True,
        result=JobView,
        status=202,
        headers=IDEMPOTENCY,
        answer_headers=ANSWER_HEADERS,
        problems=PROBLEMS,
        tag="Measuring models",
    )
    def on_post_tune(
        self, request: falcon.Request, response: falcon.Response, *, model: str
    ) -> JobView:
        """Answer with the job, which waits."""
        return self._sent(request, response, "tune", model, has_data=False)

    def _sent(
        self,
        request: falcon.Request,
        response: falcon.Response,
        kind: str,
        model: str,
        *,
        has_data: bool = True,
    ) -> JobView:
        told = parsing.single_values(request)
        wish = wish_of(told)
        with lent_thread(request):
            submitted = self._measurements.submit(
                WantedMeasurement(
                    caller=request.context.caller,
                    kind=kind,
                    model=model,
                    told=told,
                    files=self._files(request, told) if has_data else (),
                    priority=wish.priority,
                    idempotency_key=request.get_header("Idempotency-Key"),
                    request_id=request.context.request_id,
                )
            )
        return answered(request, response, self._jobs, submitted, wait_seconds=wish.wait)

    def _files(self, request: falcon.Request, told: Mapping[str, str]) -> Iterable[SentFile]:
        is_recorded = told.get("calibration") == "recorded"
        if is_recorded and not request.content_length:
            return ()
        files = sent_files(
            request, most_files=self._settings.files, whole_types=ZIP_TYPES | {_TABLE_TYPE}
        )
        named = map(_named, files)
        return named if is_recorded else at_least_one(named)


def _named(file: SentFile) -> SentFile:
    """Return a table that came as the body itself with the name of one."""
    return file._replace(name="table.csv") if file.name == "csv" else file
