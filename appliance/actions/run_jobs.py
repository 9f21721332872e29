"""Run jobs: take what is due, give it to a process, keep how it ended, try again or bury it."""

import contextlib
import logging
import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from appliance.actions.job_endings import Attempt, JobEndings
from appliance.actions.job_news import JobNews
from appliance.actions.job_orders import JobOrders
from appliance.clock import Clock
from appliance.config import Jobs
from appliance.engine.job_runner import JobEvent, JobRunners
from appliance.errors import JobDied, Problem
from appliance.identifiers import new_id
from appliance.store import job_queue
from appliance.store.database import Database
from appliance.store.disk import DiskWatch, Level
from appliance.store.job_queue import lease_of
from appliance.store.jobs import StoredJob

_log = logging.getLogger(__name__)
_TURN_SECONDS = 1.0
_PRUNE_SECONDS = 600.0
#: A job that is told to end may take so long to tidy up.
_CANCEL_SECONDS = 10.0
#: After a fault of the machine or the database nothing new is begun for so long.
_PAUSE_SECONDS = 1.0
_STOP_SECONDS = 30.0


@dataclass(slots=True, eq=False)
class _Running:
    attempt: Attempt
    end_by: float  # monotonic seconds


class _Ended(NamedTuple):
    attempt: Attempt
    event: JobEvent


class JobDispatch:
    """Runs jobs until it is stopped.

    Threads: one of its own does everything; `start`, `stop` and `heartbeat_age_seconds` are for
    the thread that assembles. What it knows of running jobs is lost with it, but nothing else: the
    next run of the appliance frees their leases and they are tried again.
    """

    def __init__(
        self,
        settings: Jobs,
        clock: Clock,
        *,
        database: Database,
        disk: DiskWatch,
        news: JobNews,
        orders: JobOrders,
        endings: JobEndings,
        make_runners: Callable[[], JobRunners],
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._database = database
        self._disk = disk
        self._news = news
        self._orders = orders
        self._endings = endings
        self._make_runners = make_runners
        self.instance = new_id()
        self._running: dict[int, _Running] = {}
        #: Ends that could not be kept yet, because the database did not take them.
        self._ended: list[_Ended] = []
        self._pause_until = 0.0
        self._next_prune = clock.monotonic()
        self._is_stopping = False
        self._beat = clock.monotonic()
        self._thread = threading.Thread(target=self._run, name="jobs", daemon=True)

    def start(self) -> None:
        """Free what earlier runs of the appliance held, then begin."""
        self._free_others()
        self._thread.start()

    def stop(self) -> None:
        """End the running jobs, which will be begun again without loss of an attempt, and wait."""
        self._is_stopping = True
        self._news.wake()
        if self._thread.is_alive():
            self._thread.join(_STOP_SECONDS)

    @property
    def heartbeat_age_seconds(self) -> float:
        """Return the seconds since the thread last went round its loop."""
        return self._clock.monotonic() - self._beat

    def _free_others(self) -> None:
        died = JobDied("The appliance ended, with a crash or a power cut, while the job ran.")
        try:
            waiting, ended = job_queue.free_others(
                self._database,
                self.instance,
                self._endings.document(died),
                now=self._clock.wall_seconds(),
            )
        except Problem as problem:
            _log.error("jobs of the last run not freed", extra={"reason": problem.detail})
            return
        if waiting or ended:
            _log.warning("jobs were cut short", extra={"waiting": waiting, "ended": ended})

    def _run(self) -> None:
        runners = self._make_runners()
        self._news.wake = runners.wake
        while not self._is_stopping:
            try:
                self._go_round(runners)
            except Exception:  # the last resort: jobs must go on
                _log.exception("jobs: a step failed")
                self._pause_until = time.monotonic() + _PAUSE_SECONDS
                time.sleep(_PAUSE_SECONDS)
        self._news.wake = lambda: None
        runners.stop()
        self._return_all()

    def _go_round(self, runners: JobRunners) -> None:
        self._beat = self._clock.monotonic()
        while len(self._running) < self._settings.runners and self._begin_one(runners):
            pass
        for event in runners.wait(_TURN_SECONDS):
            self._hear(event)
        self._end_unwanted(runners)
        self._end_late(runners)
        self._keep_ends()
        self._prune()

    def _begin_one(self, runners: JobRunners) -> bool:
        """Begin the next due job; return whether to look for another."""
        if self._is_stopping or time.monotonic() < self._pause_until:
            return False
        if self._disk.level() >= Level.CRITICAL:
            return False
        job = self._take()
        if job is None:
            return False
        attempt = Attempt(job, lease_of(job), time.monotonic())
        try:
            order = self._orders.order(job)
            token = runners.start(order)
        except Problem as problem:  # its files or its model are gone
            self._ended.append(_Ended(attempt, self._endings.refused(problem)))
        except OSError as fault:
            _log.error("job not started", extra={"job": job.id, "reason": str(fault)})
            self._pause_until = time.monotonic() + _PAUSE_SECONDS
            self._return(attempt)
        else:
            end_by = time.monotonic() + self._settings.deadline_seconds
            self._running[token] = _Running(attempt, end_by)
            _log.info("job begun", extra={"job": job.id, "kind": job.kind, "try": job.attempts})
        return True

    def _take(self) -> StoredJob | None:
        now, longest = self._clock.wall_seconds(), self._settings.longest_backoff_seconds
        try:
            if not job_queue.has_due(self._database, now, longest_pause_seconds=longest):
                return None
            return job_queue.take(
                self._database, self.instance, now, longest_pause_seconds=longest
            )
        except Problem as problem:
            _log.warning("jobs put off", extra={"reason": problem.detail})
            self._pause_until = time.monotonic() + _PAUSE_SECONDS
            return None

    def _hear(self, event: JobEvent) -> None:
        if event.has_ended:
            ended = _Ended(self._running.pop(event.token).attempt, event)
            if event.word is not None and event.word.new_version is not None:
                self._keep_apart(ended)
            else:
                self._ended.append(ended)
            return
        running = self._running.get(event.token)
        if running is None or event.word is None:
            return
        lease, word = running.attempt.lease, event.word
        self._news.tell_progress(lease.job_id, word.progress, word.message)
        job_queue.submit_progress(self._database, lease, word.progress, word.message)

    def _end_unwanted(self, runners: JobRunners) -> None:
        unwanted = self._news.unwanted()
        for token, running in self._running.items():
            if running.attempt.job.id in unwanted:
                runners.cancel(token, patience_seconds=_CANCEL_SECONDS)

    def _end_late(self, runners: JobRunners) -> None:
        now, most = time.monotonic(), self._settings.deadline_seconds
        for token, running in self._running.items():
            if now >= running.end_by:
                running.attempt.is_late = True
                runners.kill(token, f"it took longer than {most:g} s (jobs.deadline_seconds)")

    def _keep_ends(self) -> None:
        """Keep how attempts ended; what the database does not take now is tried again."""
        ended, self._ended = self._ended, []
        for position, (attempt, event) in enumerate(ended):
            try:
                self._endings.keep(attempt, event, pause_seconds=self._backoff(attempt.job))
            except Problem as problem:
                _log.warning("the end of a job is not kept yet", extra={"reason": problem.detail})
                self._pause_until = time.monotonic() + _PAUSE_SECONDS
                self._ended = ended[position:]
                return

    def _keep_apart(self, ended: _Ended) -> None:
        """Keep an end in a thread of its own: proving a version that a job made takes long."""

        def keep() -> None:
            attempt, event = ended
            while not self._is_stopping:
                try:
                    self._endings.keep(attempt, event, pause_seconds=self._backoff(attempt.job))
                except Problem as problem:
                    _log.warning("a job's version is put off", extra={"reason": problem.detail})
                    time.sleep(_PAUSE_SECONDS)
                else:
                    return

        threading.Thread(target=keep, name=f"job {ended.attempt.job.id}", daemon=True).start()

    def _backoff(self, job: StoredJob) -> float:
        """Return the pause before the next attempt: doubled each time, less up to half by chance.

        Chance keeps jobs that failed together from failing together again.
        """
        settings = self._settings
        tried = max(1, settings.attempts - (job.allowed_attempts - job.attempts))
        pause = settings.backoff_seconds * 2.0 ** min(tried - 1, 20)
        return min(pause, settings.longest_backoff_seconds) * random.uniform(0.5, 1.0)

    def _prune(self) -> None:
        now = self._clock.monotonic()
        if now >= self._next_prune:
            self._next_prune = now + _PRUNE_SECONDS
            with contextlib.suppress(Problem):
                self._endings.prune()

    def _return_all(self) -> None:
        with contextlib.suppress(Problem):
            self._keep_ends()
        for running in self._running.values():
            self._return(running.attempt)
        self._running.clear()

    def _return(self, attempt: Attempt) -> None:
        """Let a job wait again whose attempt we cut short ourselves."""
        with contextlib.suppress(Problem):
            self._endings.give_back(attempt)
