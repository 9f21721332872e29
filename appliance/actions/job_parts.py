"""Everything about jobs, put together: take them in, run them, let clients look."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from appliance.actions.job_endings import InstallVersion, JobEndings, OnEnd, OnResult
from appliance.actions.job_files import JobFiles
from appliance.actions.job_news import JobNews
from appliance.actions.job_orders import JobOrders, specification_of
from appliance.actions.jobs import Jobs
from appliance.actions.keep_inputs import InputKeeper
from appliance.actions.recorded_data import RecordedData
from appliance.actions.run_jobs import JobDispatch
from appliance.actions.submit_batch import BatchSubmission
from appliance.actions.submit_job import JobSubmission
from appliance.actions.submit_measurement import MeasurementSubmission
from appliance.clock import Clock
from appliance.config import Config
from appliance.config import Jobs as Settings
from appliance.engine.engine import Engine
from appliance.engine.job_runner import JobRunners
from appliance.host.jobs.registry import KINDS, RegisteredKind
from appliance.host.specification import HostSpecification, JobProcess
from appliance.places import Places
from appliance.store import jobs
from appliance.store.database import Database
from appliance.store.disk import DiskWatch

#: The CPU time of one attempt beyond what all cores can give it before its deadline.
_SPARE_CPU_SECONDS = 60


@dataclass(frozen=True, slots=True)
class JobParts:
    """The parts of an appliance that deal with jobs."""

    submission: JobSubmission
    batches: BatchSubmission
    measurements: MeasurementSubmission
    jobs: Jobs
    dispatch: JobDispatch


def put_together(
    config: Config,
    clock: Clock,
    *,
    engine: Engine,
    database: Database,
    disk: DiskWatch,
    inputs: InputKeeper,
    places: Places,
    threads: int,
    install_version: InstallVersion,
    on_end: OnEnd,
    on_result: OnResult = lambda job, document: None,
    kinds: Sequence[RegisteredKind] = KINDS,
) -> JobParts:
    """Given the other parts and where things lie, return those for jobs, not started yet.

    Folders that belong to no job, which a crash left behind, are removed.
    """
    files = JobFiles(
        places.jobs, most_files=config.jobs.files, most_file_bytes=config.jobs.file_bytes
    )
    files.sweep(jobs.known_ids(database))
    shared = _Shared(config.jobs, clock, database, disk, files, JobNews())
    specification = specification_of(config, places.models, places.cache, threads=threads)
    orders = shared.orders(specification, kinds)
    endings = shared.endings(install_version, on_end, on_result)
    submission = shared.submission(engine, kinds)
    recorded = _recorded(config, database, inputs, places)
    return JobParts(
        submission=submission,
        batches=BatchSubmission(engine, submission),
        measurements=MeasurementSubmission(engine, submission, recorded),
        jobs=Jobs(config.jobs, clock, database=database, files=files, news=shared.news),
        dispatch=shared.dispatch(orders, endings, _runners(config, threads)),
    )


def _recorded(
    config: Config, database: Database, inputs: InputKeeper, places: Places
) -> RecordedData:
    return RecordedData(
        inputs,
        database,
        scratch=places.spool,
        most_file_bytes=config.jobs.file_bytes,
        most_bytes=config.limits.body_bytes,
    )


class _Shared(NamedTuple):
    """What most parts need."""

    settings: Settings
    clock: Clock
    database: Database
    disk: DiskWatch
    files: JobFiles
    news: JobNews

    def orders(
        self,
        specification: Callable[[str, int], HostSpecification],
        kinds: Sequence[RegisteredKind],
    ) -> JobOrders:
        return JobOrders(
            self.settings,
            files=self.files,
            disk=self.disk,
            specification=specification,
            kinds=kinds,
        )

    def submission(self, engine: Engine, kinds: Sequence[RegisteredKind]) -> JobSubmission:
        return JobSubmission(
            self.settings,
            self.clock,
            database=self.database,
            disk=self.disk,
            files=self.files,
            news=self.news,
            resolve_version=lambda model, version: engine.status(model, version).version,
            kinds=kinds,
        )

    def endings(
        self, install_version: InstallVersion, on_end: OnEnd, on_result: OnResult
    ) -> JobEndings:
        return JobEndings(
            self.settings,
            self.clock,
            database=self.database,
            files=self.files,
            news=self.news,
            install_version=install_version,
            on_end=on_end,
            on_result=on_result,
        )

    def dispatch(
        self, orders: JobOrders, endings: JobEndings, make_runners: Callable[[], JobRunners]
    ) -> JobDispatch:
        return JobDispatch(
            self.settings,
            self.clock,
            database=self.database,
            disk=self.disk,
            news=self.news,
            orders=orders,
            endings=endings,
            make_runners=make_runners,
        )


def _runners(config: Config, threads: int) -> Callable[[], JobRunners]:
    settings = config.jobs
    process = JobProcess(
        memory_bytes=settings.memory_bytes,
        cpu_seconds=int(settings.deadline_seconds * threads) + _SPARE_CPU_SECONDS,
        file_bytes=settings.kept_bytes,
        log_level=config.log.level,
    )
    return lambda: JobRunners(process)
