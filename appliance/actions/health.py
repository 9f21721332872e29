"""Health: what the appliance knows about itself, and whether it is fit to serve."""

import os
from collections.abc import Callable
from typing import Any, NamedTuple

import msgspec
import psutil

from appliance import __version__
from appliance.actions.jobs import JobCounts
from appliance.actions.keep_inputs import InputsStatus
from appliance.clock import Clock, utc_text
from appliance.config import Config
from appliance.engine.engine import Engine
from appliance.engine.served import FAILED, IDLE, READY, STOPPED
from appliance.engine.status import ModelStatus
from appliance.errors import Problem
from appliance.store.database import Database, DatabaseStatus
from appliance.store.disk import DiskStatus, DiskWatch, Level
from appliance.store.rotation import Listed

_STALE_CANARY_ROUNDS = 3


class ModelHealth(msgspec.Struct, frozen=True, kw_only=True):
    """One version that should answer."""

    model: str
    version: int
    state: str
    reason: str
    is_active: bool
    restarts: int
    process_id: int | None
    memory_bytes: int | None
    canary_ok: bool | None
    canary_seconds: float | None
    canary_age_seconds: float | None


class Memory(msgspec.Struct, frozen=True, kw_only=True):
    """The machine's memory and ours."""

    total_bytes: int
    available_bytes: int
    front_bytes: int


class BackupHealth(msgspec.Struct, frozen=True, kw_only=True):
    """The newest backup; it is sound until a check of it has failed."""

    newest: str | None
    age_seconds: float | None
    is_stale: bool
    is_sound: bool = True


class ClockHealth(msgspec.Struct, frozen=True, kw_only=True):
    """The wall clock: `suspect` when it went backwards or jumped since it was last seen."""

    now: str
    state: str


class Health(msgspec.Struct, frozen=True, kw_only=True):
    """Everything, for an admin's eyes; `status` is ok, degraded (works, but look) or failing."""

    status: str
    reasons: tuple[str, ...]
    version: str
    started: str
    uptime_seconds: float
    disk: DiskStatus
    memory: Memory
    cpu_ratio: float
    cores: int
    load: tuple[float, float, float]
    temperatures_celsius: dict[str, float]
    database: DatabaseStatus
    models: tuple[ModelHealth, ...]
    jobs: JobCounts | None
    inputs: InputsStatus | None
    backup: BackupHealth
    clock: ClockHealth
    recovery: str


class Readiness(msgspec.Struct, frozen=True, kw_only=True):
    """Whether requests should be sent here now, and if not, why."""

    live: bool = True
    ready: bool
    reasons: tuple[str, ...] = ()


class _Fault(NamedTuple):
    """What is wrong in a few words, and what is told of it to known callers only: it may name
    files, versions and other things that help whoever looks for a way in.
    """

    words: str
    detail: str = ""

    def told(self, *, with_details: bool) -> str:
        return f"{self.words}: {self.detail}" if self.detail and with_details else self.words


class HealthCheck:
    """Asks every part how it is.

    Threads: any; `begin_stop` flips one flag.
    """

    def __init__(
        self,
        config: Config,
        clock: Clock,
        *,
        engine: Engine,
        database: Database,
        disk: DiskWatch,
        newest_backup: Callable[[], Listed | None],
        clock_state: Callable[[], str],
        recovery: str,
        is_unsound: Callable[[str], bool] = lambda name: False,
    ) -> None:
        self._is_unsound = is_unsound
        self._config = config
        self._clock = clock
        self._engine = engine
        self._database = database
        self._disk = disk
        self._newest_backup = newest_backup
        self._clock_state = clock_state
        self._recovery = recovery
        self._started_wall = clock.wall_seconds()
        self._started = clock.monotonic()
        self._is_stopping = False
        self._count_jobs: Callable[[], JobCounts] | None = None
        self._ask_inputs: Callable[[], InputsStatus] | None = None

    def watch_jobs(self, count: Callable[[], JobCounts]) -> None:
        """Given how to count jobs, tell of them from now on; called once, before serving."""
        self._count_jobs = count

    def watch_inputs(self, ask: Callable[[], InputsStatus]) -> None:
        """Given how to ask about kept inputs, tell of them from now on; called before serving."""
        self._ask_inputs = ask

    def begin_stop(self) -> None:
        """From now on the appliance is not ready: it is stopping."""
        self._is_stopping = True

    def models(self) -> list[ModelStatus]:
        """Return the state of every installed version."""
        return self._engine.models()

    def readiness(self, *, with_details: bool = True) -> Readiness:
        """Return whether requests should come: every active model answered its canary, the
        database takes writes and the disk is not full.

        Without details the reasons say what is wrong, but not why.
        """
        reasons = [fault.told(with_details=with_details) for fault in self._faults()]
        return Readiness(ready=not reasons, reasons=tuple(reasons))

    def _faults(self) -> list[_Fault]:
        faults = self._model_faults(self._engine.models())
        database = self._database.status()
        if not database.is_writable:
            faults.append(_Fault("the database takes no writes", database.last_error))
        if self._disk.level() >= Level.CRITICAL:
            faults.append(_Fault("the disk is full"))
        if self._is_stopping:
            faults.append(_Fault("the appliance is stopping"))
        return faults

    def health(self, *, with_details: bool = True) -> Health:
        """Return everything there is to know; without details less of what went wrong."""
        statuses = self._engine.models()
        failing = self.readiness(with_details=with_details).reasons
        warnings = [fault.told(with_details=with_details) for fault in self._warnings()]
        database = self._database.status()
        if not with_details:
            statuses = [msgspec.structs.replace(status, reason="") for status in statuses]
            database = msgspec.structs.replace(database, last_error="")
        return Health(
            status="failing" if failing else "degraded" if warnings else "ok",
            reasons=(*failing, *warnings),
            version=__version__,
            started=utc_text(self._started_wall),
            uptime_seconds=round(self._clock.monotonic() - self._started, 1),
            disk=self._disk.status(),
            memory=_memory(),
            cpu_ratio=psutil.cpu_percent(interval=None) / 100,
            cores=len(os.sched_getaffinity(0)),
            load=os.getloadavg(),
            temperatures_celsius=_temperatures(),
            database=database,
            models=tuple(
                _model_health(status)
                for status in statuses
                if status.is_active or status.state != STOPPED
            ),
            jobs=self._jobs(),
            inputs=self._ask_inputs() if self._ask_inputs is not None else None,
            backup=self._backup(),
            clock=ClockHealth(now=utc_text(self._clock.wall_seconds()), state=self._clock_state()),
            recovery=self._recovery if with_details else "",
        )

    def _jobs(self) -> JobCounts | None:
        """Return how many jobs there are; None where the database cannot tell."""
        try:
            return self._count_jobs() if self._count_jobs is not None else None
        except Problem:
            return None

    def _model_faults(self, statuses: list[ModelStatus]) -> list[_Fault]:
        oldest = self._config.models.canary_seconds * _STALE_CANARY_ROUNDS + (
            self._config.models.deadline_seconds
        )
        faults = []
        for status in statuses:
            name = f"{status.name}@{status.version}"
            # What an admin took out of service on purpose is no reason to send requests elsewhere.
            if not status.is_active or status.state == STOPPED:
                continue
            if status.state == IDLE:
                continue  # the next request starts it
            if status.state != READY:
                unknown = "no reason given" if status.state == FAILED else ""
                faults.append(_Fault(f"{name} is {status.state}", status.reason or unknown))
            elif status.canary_ok is False:
                faults.append(_Fault(f"{name} failed its canary"))
            elif status.canary_age_seconds is None or status.canary_age_seconds > oldest:
                faults.append(_Fault(f"{name} has not answered a canary for too long"))
        return faults

    def _warnings(self) -> list[_Fault]:
        warnings = []
        disk = self._disk.status()
        if disk.level not in ("ok", "critical"):
            warnings.append(_Fault(f"disk space is {disk.level}", disk.reason))
        backup = self._backup()
        if backup.is_stale:
            warnings.append(_Fault("the newest backup is too old; run: appliance backup"))
        if not backup.is_sound:
            warnings.append(_Fault("the newest backup failed its check; run: appliance backup"))
        if self._clock_state() != "ok":
            warnings.append(
                _Fault(
                    "the clock jumped, or is far from when the appliance last ran; retention is"
                    " paused until it has run steadily for a day or is put right"
                )
            )
        if self._recovery:
            warnings.append(_Fault("the state was recovered at the start", self._recovery))
        return warnings

    def _backup(self) -> BackupHealth:
        newest = self._newest_backup()
        now = self._clock.wall_seconds()
        if newest is None:
            young = now - self._started_wall < self._config.backup.max_age_seconds
            return BackupHealth(newest=None, age_seconds=None, is_stale=not young)
        age = now - newest.made_seconds
        return BackupHealth(
            newest=newest.path.name,
            age_seconds=round(age, 1),
            is_stale=age > self._config.backup.max_age_seconds,
            is_sound=not self._is_unsound(newest.path.name),
        )


def _model_health(status: ModelStatus) -> ModelHealth:
    return ModelHealth(
        model=status.name,
        version=status.version,
        state=status.state,
        reason=status.reason,
        is_active=status.is_active,
        restarts=status.restarts,
        process_id=status.process_id,
        memory_bytes=resident_bytes(status.process_id),
        canary_ok=status.canary_ok,
        canary_seconds=status.canary_seconds,
        canary_age_seconds=status.canary_age_seconds,
    )


def resident_bytes(process_id: int | None) -> int | None:
    """Given a process, return what it holds in memory; None when there is none such."""
    if process_id is None:
        return None
    try:
        return int(psutil.Process(process_id).memory_info().rss)
    except psutil.Error:
        return None


def _memory() -> Memory:
    machine = psutil.virtual_memory()
    return Memory(
        total_bytes=machine.total,
        available_bytes=machine.available,
        front_bytes=psutil.Process().memory_info().rss,
    )


def _temperatures() -> dict[str, float]:
    readings: dict[str, Any] = psutil.sensors_temperatures()
    return {
        f"{chip}/{sensor.label or number}": float(sensor.current)
        for chip, sensors in readings.items()
        for number, sensor in enumerate(sensors)
    }
