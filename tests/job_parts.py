"""Everything about jobs over a real database and real processes, without a front around it."""

import contextlib
import io
import time
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from appliance.actions.callers import Caller, Role
from appliance.actions.job_endings import InstallVersion, JobEndings, refuse_versions
from appliance.actions.job_files import JobFiles, SentFile
from appliance.actions.job_news import JobNews
from appliance.actions.job_orders import JobOrders
from appliance.actions.job_views import JobView
from appliance.actions.jobs import Jobs
from appliance.actions.run_jobs import JobDispatch
from appliance.actions.submit_job import JobSubmission, Submitted, WantedJob
from appliance.clock import Clock, SystemClock
from appliance.config import Jobs as Settings
from appliance.engine.job_runner import JobRunners
from appliance.errors import NotFound
from appliance.host.specification import HostSpecification, JobProcess
from appliance.store.database import Database
from appliance.store.disk import DiskWatch
from appliance.store.jobs import ENDED
from tests.job_kinds import PLAY

HANG_SECONDS = 60.0
ADMIN = Caller(key_name="ann", key_id="admin1", role=Role.ADMIN, address="192.0.2.1")
DEVICE = Caller(key_name="cam", key_id="cam001", role=Role.DEVICE, address="192.0.2.2")
OTHER = Caller(key_name="bell", key_id="bell01", role=Role.DEVICE, address="192.0.2.3")
SETTINGS = Settings(
    backoff_seconds=0.01, longest_backoff_seconds=0.05, runners=2, result_bytes=1_000_000
)
PROCESS = JobProcess(memory_bytes=8 << 30, cpu_seconds=600, file_bytes=1 << 30)


def sent(name: str = "a.txt", body: bytes = b"hello", kind: str = "text/plain") -> SentFile:
    return SentFile(name, kind, io.BytesIO(body))


def a_zip(members: Mapping[str, bytes]) -> bytes:
    """Return a zip of files."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name, body in members.items():
            archive.writestr(name, body)
    return packed.getvalue()


def specification(model: str, version: int) -> HostSpecification:
    if version > 2:
        raise NotFound(f"{model}@{version}, which this job needs, is not installed any more.")
    return HostSpecification(
        directory=f"models/{model}/{version}",
        cache_directory="",
        threads=1,
        connections=1,
        memory_bytes=1 << 30,
        image_pixels=1000,
        image_formats=(),
        tensor_batch=1,
    )


def active(model: str, version: int | None) -> int:
    """Tell that version 2 of every model answers, and that there are three."""
    if version is not None and version > 3:
        raise NotFound(f"There is no version {version} of {model}.")
    return version or 2


class Bench:
    """The parts; `start` begins to run jobs."""

    def __init__(
        self,
        database: Database,
        directory: Path,
        *,
        clock: Clock | None = None,
        settings: Settings = SETTINGS,
        install_version: InstallVersion = refuse_versions,
    ) -> None:
        directory.mkdir(exist_ok=True)
        self.clock = clock or SystemClock()
        self.database, self.settings, self.directory = database, settings, directory
        self.news = JobNews()
        self.disk = DiskWatch(directory, reserve_bytes=1, clock=self.clock)
        self.disk.check()
        self.ended: list[tuple[str, str]] = []
        self.files = JobFiles(
            directory / "jobs", most_files=settings.files, most_file_bytes=settings.file_bytes
        )
        self.endings = JobEndings(
            settings,
            self.clock,
            database=database,
            files=self.files,
            news=self.news,
            install_version=install_version,
            on_end=lambda kind, outcome, seconds: self.ended.append((kind, outcome)),
        )
        self.submission = JobSubmission(
            settings,
            self.clock,
            database=database,
            disk=self.disk,
            files=self.files,
            news=self.news,
            resolve_version=active,
            kinds=(PLAY,),
        )
        self.orders = JobOrders(
            settings,
            files=self.files,
            disk=self.disk,
            specification=specification,
            kinds=(PLAY,),
        )
        self.jobs = Jobs(settings, self.clock, database=database, files=self.files, news=self.news)
        self.dispatch = self.new_dispatch()
        self.place = directory / "place"
        self.place.mkdir(exist_ok=True)

    def new_dispatch(self) -> JobDispatch:
        return JobDispatch(
            self.settings,
            self.clock,
            database=self.database,
            disk=self.disk,
            news=self.news,
            orders=self.orders,
            endings=self.endings,
            make_runners=lambda: JobRunners(PROCESS),
        )

    def submit(self, act: str = "echo", *, caller: Caller = DEVICE, **more: Any) -> Submitted:
        params = {"act": act, "place": str(self.place), **more.pop("params", {})}
        return self.submission.submit(WantedJob(caller=caller, kind="play", params=params, **more))

    def view(self, job_id: str) -> JobView:
        return self.jobs.view(ADMIN, job_id)

    def result(self, job_id: str) -> Any:
        return msgspec.json.decode(self.jobs.outcome(ADMIN, job_id).result)

    def until(self, job_id: str, condition: Callable[[JobView], bool]) -> JobView:
        return eventually(lambda: (view := self.view(job_id)) and condition(view) and view)

    def until_ended(self, job_id: str) -> JobView:
        return self.until(job_id, lambda view: view.state in ENDED)

    def running_process(self) -> int:
        """Return the process of an attempt that has told in `place` that it runs."""
        found = eventually(lambda: sorted(self.place.glob("runs-*")))
        process_id = int(found[-1].name.partition("-")[2])
        found[-1].unlink()
        return process_id

    def results_kept(self, job_id: str) -> int:
        statement = "SELECT count(*) FROM job_results WHERE job_id = ?"
        with self.database.read() as connection:
            return int(connection.value(statement, (job_id,)))


def eventually(condition: Callable[[], Any]) -> Any:
    give_up_at = time.monotonic() + HANG_SECONDS
    while not (found := condition()):
        assert time.monotonic() < give_up_at, "it did not come true"
        time.sleep(0.01)
    return found


@contextlib.contextmanager
def bench(directory: Path, **more: Any) -> Iterator[Bench]:
    """Yield parts over a new database in a directory; what runs is stopped at the end."""
    clock = more.pop("clock", None) or SystemClock()
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    database = Database.open(
        directory / "appliance.db", clock=clock, quota_bytes=1 << 28, queue_rows=1000
    )
    try:
        found = Bench(database, directory, clock=clock, **more)
        yield found
        found.dispatch.stop()
    finally:
        database.close()
