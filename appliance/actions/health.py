"""Health: what the appliance knows about itself, and whether it is fit to serve."""

import os
from collections.abc import Callable
from typing import Any

import msgspec
import psutil

from appliance import __version__
from appliance.clock import Clock, utc_text
from appliance.config import Config
from appliance.engine.engine import Engine
from appliance.engine.served import READY, STOPPED
from appliance.engine.status import ModelStatus
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
    """The newest backup."""

    newest: str | None
    age_seconds: float | None
    is_stale: bool


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
    backup: BackupHealth
    clock: ClockHealth
    recovery: str


class Readiness(msgspec.Struct, frozen=True, kw_only=True):
    """Whether requests should be sent here now, and if not, why."""

    live: bool = True
    ready: bool
    reasons: tuple[str, ...] = ()


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
    ) -> None:
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

    def begin_stop(self) -> None:
        """From now on the appliance is not ready: it is stopping."""
        self._is_stopping = True

    def models(self) -> list[ModelStatus]:
        """Return the state of every installed version."""
        return self._engine.models()

    def readiness(self) -> Readiness:
        """Return whether requests should come: every active model answered its canary, the
        database takes writes and the disk is not full.
        """
        reasons = [*self._model_faults(self._engine.models())]
        if not self._database.status().is_writable:
            reasons.append(f"the database takes no writes: {self._database.status().last_error}")
        if self._disk.level() >= Level.CRITICAL:
            reasons.append("the disk is full")
        if self._is_stopping:
            reasons.append("the appliance is stopping")
        return Readiness(ready=not reasons, reasons=tuple(reasons))

    def health(self) -> Health:
        """Return everything there is to know."""
        statuses = self._engine.models()
        failing = self.readiness().reasons
        warnings = [*self._warnings(), *([self._recovery] if self._recovery else [])]
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
            database=self._database.status(),
            models=tuple(
                _model_health(status)
                for status in statuses
                if status.is_active or status.state != STOPPED
            ),
            backup=self._backup(),
            clock=ClockHealth(now=utc_text(self._clock.wall_seconds()), state=self._clock_state()),
            recovery=self._recovery,
        )

    def _model_faults(self, statuses: list[ModelStatus]) -> list[str]:
        oldest = self._config.models.canary_seconds * _STALE_CANARY_ROUNDS + (
            self._config.models.deadline_seconds
        )
        faults = []
        for status in statuses:
            name = f"{status.name}@{status.version}"
            # What an admin took out of service on purpose is no reason to send requests elsewhere.
            if not status.is_active or status.state == STOPPED:
                continue
            if status.state != READY:
                faults.append(f"{name} is {status.state}: {status.reason or 'no reason given'}")
            elif status.canary_ok is False:
                faults.append(f"{name} failed its canary")
            elif status.canary_age_seconds is None or status.canary_age_seconds > oldest:
                faults.append(f"{name} has not answered a canary for too long")
        return faults

    def _warnings(self) -> list[str]:
        warnings = []
        disk = self._disk.status()
        if disk.level not in ("ok", "critical"):
            warnings.append(f"disk space is {disk.level}: {disk.reason}")
        if self._backup().is_stale:
            warnings.append("the newest backup is too old; run: appliance backup")
        if self._clock_state() != "ok":
            warnings.append("the clock jumped; retention is paused until it is trusted again")
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
        memory_bytes=_resident_bytes(status.process_id),
        canary_ok=status.canary_ok,
        canary_seconds=status.canary_seconds,
        canary_age_seconds=status.canary_age_seconds,
    )


def _resident_bytes(process_id: int | None) -> int | None:
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
