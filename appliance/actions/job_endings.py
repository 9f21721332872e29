"""How an attempt ended, kept: a result, another try, or a death with its problem document."""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import msgspec

from appliance.actions.job_files import JobFiles
from appliance.actions.job_news import JobNews
from appliance.clock import Clock
from appliance.config import Jobs
from appliance.engine.job_runner import JobEvent
from appliance.errors import (
    DeadlineExceeded,
    InsufficientStorage,
    Internal,
    JobDied,
    NotImplementedHere,
    Problem,
    Unavailable,
    decoded,
)
from appliance.host.jobs.contract import JobWord, NewVersion
from appliance.store import job_queue, jobs
from appliance.store.database import Database
from appliance.store.job_queue import Lease
from appliance.store.jobs import CANCELLED, WAITING, StoredJob, StoredResult

_log = logging.getLogger(__name__)
_SECONDS_PER_DAY = 86400.0
#: Given the kind, the outcome (a state, or `retried`) and the seconds an attempt took, count it.
OnEnd = Callable[[str, str, float], None]
#: Given a job that is done and its recorded document, act on what it found.
OnResult = Callable[[StoredJob, bytes], None]


class MadeVersion(NamedTuple):
    """A version that a job made, as it was installed."""

    model: str
    version: int


class InstallVersion(Protocol):
    """What installs a version that a job made; never activates it."""

    def __call__(self, job: StoredJob, model: str, directory: Path) -> MadeVersion:
        """Given the job, the model's name and a folder that holds all but name, version and sums,
        install it as the next version. Called again for the same job, return the same version.
        Raise a Problem when it cannot be one.
        """


def refuse_versions(job: StoredJob, model: str, directory: Path) -> MadeVersion:
    """Install nothing: for appliances without a library, as in tests."""
    raise NotImplementedHere("This appliance installs no versions that jobs made.")


@dataclass(slots=True, eq=False)
class Attempt:
    """One attempt at a job while the dispatcher knows of it; `began` is monotonic seconds."""

    job: StoredJob
    lease: Lease
    began: float
    is_late: bool = False


class JobEndings:
    """Keeps how attempts ended. Threads: the dispatcher's."""

    def __init__(
        self,
        settings: Jobs,
        clock: Clock,
        *,
        database: Database,
        files: JobFiles,
        news: JobNews,
        install_version: InstallVersion = refuse_versions,
        on_end: OnEnd = lambda kind, outcome, seconds: None,
        on_result: OnResult = lambda job, document: None,
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._database = database
        self._files = files
        self._news = news
        self._install_version = install_version
        self._on_end = on_end
        self._on_result = on_result

    def keep(self, attempt: Attempt, event: JobEvent, *, pause_seconds: float) -> None:
        """Given how an attempt ended, keep it; raise Unavailable when that cannot be now.

        `pause_seconds` is the wait before another attempt, if there is to be one.
        """
        word = event.word
        if word is not None and word.kind == "done":
            try:
                result = self._result(attempt, word)
            except Unavailable:
                raise  # the machine's fault, not the job's: what it found is kept later
            except Problem as problem:
                is_worth_retrying = isinstance(problem, InsufficientStorage)
                self._fail(attempt, problem, is_worth_retrying, pause_seconds)
            except OSError as fault:
                unstored = Unavailable(f"The result could not be stored: {fault.strerror}.")
                self._fail(attempt, unstored, True, pause_seconds)
            else:
                self._finish(attempt, result, word.message)
            return
        why, is_worth_retrying = self._why(attempt, event)
        self._fail(attempt, why, is_worth_retrying, pause_seconds)

    def refused(self, problem: Problem) -> JobEvent:
        """Given why an attempt could not even begin, return the end of it."""
        word = JobWord(kind="failed", problem=problem.encoded(), is_worth_retrying=False)
        return JobEvent(0, True, word)

    def give_back(self, attempt: Attempt) -> None:
        """Given an attempt that the appliance itself cut short, let its job wait again."""
        now = self._clock.wall_seconds()
        kept = job_queue.return_unused(self._database, attempt.lease, now=now)
        self._tidy(attempt, kept)

    def document(self, problem: Problem, request_id: str = "") -> dict[str, Any]:
        """Given a problem, return it as a job keeps it."""
        plain: dict[str, Any] = msgspec.to_builtins(problem.document(request_id))
        return plain

    def prune(self) -> int:
        """Forget jobs that ended `keep_days` ago, with their files; return how many.

        Not while the wall clock is suspect: it says how old they are.
        """
        if self._database.status().clock_is_suspect:
            return 0
        before = self._clock.wall_seconds() - self._settings.keep_days * _SECONDS_PER_DAY
        pruned = 0
        while old := jobs.ended_before(self._database, before):
            if not jobs.remove(self._database, old):
                break
            for job_id in old:
                self._files.remove(job_id)
            pruned += len(old)
        if pruned:
            _log.info("jobs pruned", extra={"jobs": pruned})
        return pruned

    def _why(self, attempt: Attempt, event: JobEvent) -> tuple[Problem, bool]:
        """Return why an attempt failed, and whether another may go better."""
        word = event.word
        if attempt.is_late:
            return DeadlineExceeded(f"The job was ended: {event.death}."), True
        if word is None:
            return JobDied(f"The job's process ended: {event.death}."), True
        if word.kind == "failed":
            return decoded(word.problem), word.is_worth_retrying
        return Internal(
            "The job stopped as if it had been cancelled, which nobody asked for."
        ), True

    def _result(self, attempt: Attempt, word: JobWord) -> StoredResult:
        """Bring what the attempt found to the disk and return it."""
        lease, settings = attempt.lease, self._settings
        document = self._files.read_document(
            lease.job_id, lease.attempt, most_bytes=settings.result_bytes
        )
        if word.new_version is not None:
            document = self._installed(attempt, word.new_version, document)
        kept = self._files.settle_results(
            lease.job_id, lease.attempt, word.files, most_bytes=settings.kept_bytes
        )
        return StoredResult(
            job_id=lease.job_id,
            attempt=lease.attempt,
            recorded_seconds=self._clock.wall_seconds(),
            document=document,
            files=kept,
        )

    def _installed(self, attempt: Attempt, made: NewVersion, document: bytes) -> bytes:
        """Install the version that the job made, and say so in its document."""
        directory = self._files.result_directory(
            attempt.lease.job_id, attempt.lease.attempt, made.directory
        )
        version = self._install_version(attempt.job, made.model, directory)
        found = msgspec.json.decode(document)
        if isinstance(found, dict):
            found["new_version"] = {"model": version.model, "version": version.version}
        return msgspec.json.encode(found)

    def _finish(self, attempt: Attempt, result: StoredResult, message: str) -> None:
        kept = job_queue.finish(self._database, attempt.lease, result, message=message)
        job_id = attempt.lease.job_id
        if kept is None and not self._is_recorded(attempt):
            self._tidy(
                attempt, None
            )  # somebody else holds or ended it: what this one found is void
            return
        self._files.end_job(job_id, recorded_attempt=result.attempt if result.files else None)
        self._on_result(attempt.job, result.document)
        self._tell(attempt, "done")

    def _is_recorded(self, attempt: Attempt) -> bool:
        """Return whether this very result was kept before, by a commit too slow to say so."""
        recorded = jobs.get_result(self._database, attempt.lease.job_id)
        return recorded is not None and recorded.attempt == attempt.lease.attempt

    def _fail(
        self, attempt: Attempt, problem: Problem, is_worth_retrying: bool, pause_seconds: float
    ) -> None:
        job, now = attempt.job, self._clock.wall_seconds()
        document = self.document(problem, job.request_id)
        if is_worth_retrying and job.attempts < job.allowed_attempts:
            kept = job_queue.put_back(
                self._database, attempt.lease, document, due_seconds=now + pause_seconds, now=now
            )
        else:
            kept = job_queue.bury(self._database, attempt.lease, document, now=now)
        self._tidy(attempt, kept)
        if kept is not None:
            outcome = "retried" if kept.state == WAITING else kept.state
            _log.warning(
                "job failed",
                extra={"job": job.id, "kind": job.kind, "outcome": outcome, "why": problem.detail},
            )
            self._tell(attempt, outcome)

    def _tidy(self, attempt: Attempt, kept: StoredJob | None) -> None:
        """Remove what a failed attempt left, and all of a job that was cancelled."""
        lease = attempt.lease
        if kept is not None and kept.state == CANCELLED:
            self._files.remove(lease.job_id)
        else:
            self._files.end_attempt(lease.job_id, lease.attempt)
        self._news.tell_end(lease.job_id)

    def _tell(self, attempt: Attempt, outcome: str) -> None:
        self._news.tell_end(attempt.job.id)
        self._on_end(attempt.job.kind, outcome, time.monotonic() - attempt.began)
