"""Submit a batch: many inputs for one model, its parameters checked before anything is kept."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from appliance.actions.callers import Caller, require_model
from appliance.actions.job_files import SentFile, at_least_one
from appliance.actions.predict import shaped_params
from appliance.actions.submit_job import JobSubmission, Submitted, WantedJob
from appliance.engine.engine import Engine
from appliance.host.jobs.batch_params import BatchParams
from appliance.tasks.registry import task_named


@dataclass(frozen=True, slots=True, kw_only=True)
class WantedBatch:
    """Many inputs for a model (`version` None: the active one), with its task's `params`."""

    caller: Caller
    model: str
    version: int | None = None
    params: Mapping[str, str]
    files: Iterable[SentFile]
    priority: int = 0
    idempotency_key: str | None = None
    request_id: str = ""


class BatchSubmission:
    """Takes batches in. Threads: any; it holds no state of its own."""

    def __init__(self, engine: Engine, submission: JobSubmission) -> None:
        self._engine = engine
        self._submission = submission

    def submit(self, wanted: WantedBatch) -> Submitted:
        """Given a batch, store it durably and return its job.

        Raise NotFound, Forbidden, InvalidInput for parameters that the model's task does not take
        and for a batch without inputs, and what submitting any job raises.
        """
        require_model(wanted.caller, wanted.model)
        status = self._engine.status(wanted.model, wanted.version)
        params = shaped_params(task_named(status.task), dict(wanted.params))
        return self._submission.submit(
            WantedJob(
                caller=wanted.caller,
                kind="batch",
                params=BatchParams(model=status.name, version=wanted.version, params=params),
                files=at_least_one(wanted.files),
                priority=wanted.priority,
                idempotency_key=wanted.idempotency_key,
                request_id=wanted.request_id,
            )
        )
