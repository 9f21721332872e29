"""Jobs: look at them, wait for them, fetch what they found, cancel, try again, remove."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import msgspec

from appliance.actions import audit
from appliance.actions.callers import Caller, Role, require_model, require_row_of
from appliance.actions.job_files import JobFiles
from appliance.actions.job_news import JobNews
from appliance.actions.job_views import JobOutcome, JobPage, JobView, kept_of, view_of
from appliance.clock import Clock, utc_text
from appliance.config import Jobs as Settings
from appliance.errors import Conflict, InvalidInput, NotFound
from appliance.store import job_queue, job_room, jobs
from appliance.store.connection import Connection
from appliance.store.database import Database
from appliance.store.jobs import CANCELLED, DEAD, DONE, ENDED, RUNNING, STATES, StoredJob

#: Dead jobs that one call tries again or removes.
MOST_AT_ONCE = 1000


class JobCounts(msgspec.Struct, frozen=True, kw_only=True):
    """The state of the queue, for health and metrics; bytes are those on the disk."""

    waiting: int
    running: int
    dead: int
    stored_bytes: int


class Patience(NamedTuple):
    """How long an answer may be held, and whether its asker has gone."""

    seconds: float = 0.0
    is_gone: Callable[[], bool] = lambda: False


_NO_PATIENCE = Patience()


class Jobs:
    """What clients do with jobs. Threads: any; it holds no state of its own."""

    def __init__(
        self,
        settings: Settings,
        clock: Clock,
        *,
        database: Database,
        files: JobFiles,
        news: JobNews,
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._database = database
        self._files = files
        self._news = news

    def view(self, caller: Caller, job_id: str, patience: Patience = _NO_PATIENCE) -> JobView:
        """Given a job, return it, once it has ended if the caller has the patience.

        Raise NotFound when there is none or it is not the caller's.
        """
        job = self._own(caller, job_id)
        if patience.seconds > 0 and job.state not in ENDED:
            self._news.wait(
                job.id,
                lambda: jobs.get(self._database, job.id).state in ENDED,
                seconds=min(patience.seconds, self._settings.wait_seconds),
                is_gone=patience.is_gone,
            )
            job = self._own(caller, job_id)
        return self._shown(job)

    def page(
        self,
        caller: Caller,
        *,
        states: tuple[str, ...] = (),
        kind: str | None = None,
        cursor: str | None = None,
        limit: int = 100,
    ) -> JobPage:
        """Return one page of jobs, newest first: a device's own, or all in the caller's scope."""
        unknown = [state for state in states if state not in STATES]
        if unknown:
            raise InvalidInput(
                f"There is no state {unknown[0]!r}. Known are: {', '.join(STATES)}.",
                pointer="/query/state",
            )
        found = jobs.find(
            self._database,
            jobs.JobFilter(
                states=states,
                kind=kind,
                key_id=(caller.key_id or "") if caller.role is Role.DEVICE else None,
                models=caller.models,
                before_id=cursor,
                limit=limit,
            ),
        )
        next_cursor = found[-1].id if len(found) >= limit else None
        return JobPage(jobs=tuple(self._shown(job) for job in found), next_cursor=next_cursor)

    def outcome(
        self, caller: Caller, job_id: str, patience: Patience = _NO_PATIENCE
    ) -> JobOutcome:
        """Given a job that is done, return what it found.

        Raise NotFound, or Conflict with the reason while there is no result.
        """
        view = self.view(caller, job_id, patience)
        result = jobs.get_result(self._database, view.id)
        if result is None:
            raise Conflict(_why_no_result(view))
        return JobOutcome(
            id=view.id,
            kind=view.kind,
            model=view.model,
            recorded=utc_text(result.recorded_seconds),
            result=msgspec.Raw(result.document),
            files=tuple(kept_of(view.id, kept) for kept in result.files),
        )

    def result_file(self, caller: Caller, job_id: str, name: str) -> Path:
        """Given a job and the name of a file its result keeps, return where that lies.

        Raise NotFound when there is none.
        """
        job = self._own(caller, job_id)
        result = jobs.get_result(self._database, job.id)
        if result is None or name not in {kept.name for kept in result.files}:
            raise NotFound("There is no such file in this result.")
        return self._files.result_path(job.id, result.attempt, name)

    def cancel(self, caller: Caller, job_id: str) -> JobView:
        """Given a job, end it at once if it waits, soon if it runs; raise Conflict if it ended."""
        self._own(caller, job_id)

        def work(connection: Connection) -> StoredJob:
            job = job_queue.cancel(connection, job_id, now=self._clock.wall_seconds())
            self._note(connection, caller, "job.cancel", job)
            return job

        job = self._database.write(work)
        if job.state == CANCELLED:
            self._files.remove(job.id)
            self._news.tell_end(job.id)
        else:
            self._news.ask_for_end(job.id)
        return self._shown(job)

    def remove(self, caller: Caller, job_id: str) -> None:
        """Given a job that has ended, forget it, its result and its files.

        Raise NotFound, or Conflict while it waits or runs.
        """
        job = self._own(caller, job_id)
        if job.state not in ENDED:
            raise Conflict(f"This job is {job.state}; cancel it first.")

        def work(connection: Connection) -> int:
            self._note(connection, caller, "job.remove", job)
            return jobs.remove(connection, (job_id,))

        if self._database.write(work):
            self._files.remove(job.id)

    def retry(self, caller: Caller, job_id: str) -> JobView:
        """Given a dead job, let it wait again; raise NotFound, or Conflict when it is not dead."""
        self._own(caller, job_id)

        def work(connection: Connection) -> StoredJob:
            job = job_queue.retry(
                connection,
                job_id,
                attempts=self._settings.attempts,
                now=self._clock.wall_seconds(),
            )
            self._note(connection, caller, "job.retry", job)
            return job

        job = self._database.write(work)
        self._news.wake()
        return self._shown(job)

    def retry_dead(self, caller: Caller) -> int:
        """Let all dead jobs wait again, a thousand at most; return how many."""
        return sum(bool(self.retry(caller, job.id)) for job in self._dead(caller))

    def remove_dead(self, caller: Caller) -> int:
        """Forget all dead jobs, a thousand at most; return how many."""
        found = self._dead(caller)
        for job in found:
            self.remove(caller, job.id)
        return len(found)

    def counts(self) -> JobCounts:
        """Return how many jobs wait, run and are dead, and how much room all take."""
        found = jobs.counts(self._database)
        return JobCounts(
            waiting=found[jobs.WAITING],
            running=found[RUNNING],
            dead=found[DEAD],
            stored_bytes=job_room.stored_bytes(self._database),
        )

    def _dead(self, caller: Caller) -> tuple[JobView, ...]:
        return self.page(caller, states=(DEAD,), limit=MOST_AT_ONCE).jobs

    def _own(self, caller: Caller, job_id: str) -> StoredJob:
        job = jobs.get(self._database, job_id)
        require_row_of(caller, job.key_id, thing="job")
        if job.model:
            require_model(caller, job.model)
        return job

    def _shown(self, job: StoredJob) -> JobView:
        return view_of(job, self._news.progress(job.id))

    def _note(self, connection: Connection, caller: Caller, action: str, job: StoredJob) -> None:
        """Leave a trace in the audit where somebody touches what another one sent."""
        if (caller.key_id or "") != job.key_id:
            detail = {"kind": job.kind, "sent_by": job.key_name}
            audit.record(
                connection, caller, action=action, subject=job.id, detail=detail, clock=self._clock
            )


def _why_no_result(view: JobView) -> str:
    if view.state == DEAD:
        detail = (view.problem or {}).get("detail", "no reason is known")
        return f"This job is dead and has no result: {detail}"
    if view.state == DONE:
        return "The result of this job is gone."
    return f"This job is {view.state} and has no result yet."
