"""Evaluate, quantise and tune: sent as jobs, with what they are told checked before they wait."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import chain
from typing import Any

from appliance.actions.callers import Caller, require_model
from appliance.actions.job_files import SentFile
from appliance.actions.predict import shaped_params
from appliance.actions.recorded_data import RecordedData
from appliance.actions.submit_job import JobSubmission, Submitted, WantedJob, fitting
from appliance.engine.engine import Engine
from appliance.errors import InvalidInput
from appliance.host.jobs.registry import kind_named
from appliance.tasks.registry import task_named


@dataclass(frozen=True, slots=True, kw_only=True)
class WantedMeasurement:
    """A job of a kind that measures a model; `told` holds its parameters and those of the task."""

    caller: Caller
    kind: str
    model: str
    told: Mapping[str, str]
    files: Iterable[SentFile] = ()
    priority: int = 0
    idempotency_key: str | None = None
    request_id: str = ""


class MeasurementSubmission:
    """Takes measurements in. Threads: any; it holds no state of its own."""

    def __init__(self, engine: Engine, submission: JobSubmission, recorded: RecordedData) -> None:
        self._engine = engine
        self._submission = submission
        self._recorded = recorded

    def submit(self, wanted: WantedMeasurement) -> Submitted:
        """Given what is to be measured, store it durably and return its job.

        Raise NotFound, Forbidden, InvalidInput for parameters that neither the kind nor the
        model's task takes, Conflict where recorded inputs are wanted and too few are kept, and
        what submitting any job raises.
        """
        require_model(wanted.caller, wanted.model)
        fields = kind_named(wanted.kind).Params.__struct_fields__
        params: dict[str, Any] = {"model": wanted.model}
        others: dict[str, str] = {}
        for name, value in wanted.told.items():
            (params if name in fields and name not in ("model", "params") else others)[name] = (
                value
            )
        status = self._engine.status(wanted.model, _version(params))
        if "params" in fields:
            params["params"] = shaped_params(task_named(status.task), others)
        elif others:
            raise InvalidInput(
                f"There is no parameter {next(iter(others))[:60]!r}. Known are:"
                f" {', '.join(name for name in fields if name != 'model')}.",
                pointer="/query",
            )
        files, is_gathered = self._data(wanted, params)
        return self._submission.submit(
            WantedJob(
                caller=wanted.caller,
                kind=wanted.kind,
                params=params,
                files=files,
                priority=wanted.priority,
                idempotency_key=wanted.idempotency_key,
                request_id=wanted.request_id,
                is_gathered=is_gathered,
            )
        )

    def _data(
        self, wanted: WantedMeasurement, params: dict[str, Any]
    ) -> tuple[Iterable[SentFile], bool]:
        """Return the job's files, and whether they were gathered here."""
        if params.get("calibration") != "recorded":
            return wanted.files, False
        given: Any = fitting(kind_named(wanted.kind), params)
        gathered = self._recorded.gather(wanted.model, given.calibration_items + given.most_items)
        return chain(gathered, map(_measuring, wanted.files)), True


def _measuring(file: SentFile) -> SentFile:
    """Return a file with a name by which the job knows that it measures and does not calibrate."""
    is_named = file.name.rpartition("/")[2].lower().startswith("validation")
    return file if is_named else file._replace(name=f"validation-{file.name}")


def _version(params: Mapping[str, str]) -> int | None:
    text = params.get("version")
    if text is None:
        return None
    if not (text.isascii() and text.isdecimal()) or len(text) > 9 or int(text) < 1:
        raise InvalidInput("A version is a whole number from 1.", pointer="/query/version")
    return int(text)
