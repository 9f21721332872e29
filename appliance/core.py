"""Assemble the appliance: every part, built once, in order."""

import logging
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from appliance.actions import model_settings
from appliance.actions.admit import Gate
from appliance.actions.auto_rollback import AutoRollbacks
from appliance.actions.backup import Backups
from appliance.actions.health import HealthCheck
from appliance.actions.import_work import ImportPlaces
from appliance.actions.install_model import ModelLibrary
from appliance.actions.issue_key import ADMIN_KEY_FILE, ensure_admin_key
from appliance.actions.job_parts import JobParts
from appliance.actions.job_parts import put_together as job_parts
from appliance.actions.key_ring import KeyRing
from appliance.actions.maintain import Maintenance
from appliance.actions.measure import Measured, readings
from appliance.actions.predict import Predictor
from appliance.actions.register_models import register_models
from appliance.actions.reload import Reload
from appliance.actions.remove_model import ModelRemoval, finish_removals, removed_starters
from appliance.actions.serve_model import ModelChanges
from appliance.actions.streams import StreamSessions
from appliance.actions.tend_models import ModelTending
from appliance.actions.text_models import install_text_models
from appliance.actions.tune_model import ModelTuning
from appliance.clock import Clock
from appliance.config import Config
from appliance.config_file import Loaded
from appliance.engine.canary import CanaryRounds
from appliance.engine.engine import Engine
from appliance.errors import StateUnusable
from appliance.host.confinement import allowed_cores
from appliance.host.jobs.registry import KINDS, RegisteredKind
from appliance.library.versions import install_starters, remove_partial_versions
from appliance.metrics import Metrics
from appliance.store.database import FILE_NAME, Database
from appliance.store.disk import DiskWatch
from appliance.store.integrity import InstanceLock, StartReport, prepare

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Places:
    """The directories of one appliance, all below the state directory unless configured."""

    state: Path
    models: Path
    cache: Path
    runtime: Path
    spool: Path
    backups: Path
    jobs: Path

    @property
    def admin_socket(self) -> Path:
        """Where the command line finds the running appliance."""
        return self.runtime / "admin.sock"

    @property
    def gateway_socket(self) -> Path:
        """Where the WebSocket gateway finds the running appliance."""
        return self.runtime / "front.sock"


@dataclass(frozen=True, slots=True)
class Appliance:
    """Every part of a running appliance; built by `assemble`, ended by `stop`."""

    config: Config
    clock: Clock
    places: Places
    disk: DiskWatch
    database: Database
    metrics: Metrics
    engine: Engine
    canary: CanaryRounds
    maintenance: Maintenance
    key_ring: KeyRing
    gate: Gate
    predictor: Predictor
    model_changes: ModelChanges
    library: ModelLibrary
    removal: ModelRemoval
    tending: ModelTending
    streams: StreamSessions
    jobs: JobParts
    backups: Backups
    health: HealthCheck
    reload: Reload
    lock: InstanceLock

    @property
    def admin_key_file(self) -> Path:
        """Where the key made at the first start lies, until an admin moves it."""
        return self.places.state / ADMIN_KEY_FILE

    def stop(self) -> None:
        """End every part in the reverse order; what was accepted for writing is written."""
        self.library.stop()
        self.tending.stop()
        self.canary.stop()
        self.maintenance.stop()
        self.jobs.dispatch.stop()
        self.engine.stop()
        self.key_ring.save_uses()
        is_clean = self.database.close()
        self.lock.release(is_clean=is_clean)


def places_of(config: Config) -> Places:
    """Given the configuration, return where everything is."""
    state = Path(config.state.dir).absolute()
    runtime = config.state.runtime_dir or str(state / "run")
    return Places(
        state=state,
        models=state / "models",
        cache=Path(config.state.cache_dir or state / "cache"),
        runtime=Path(runtime),
        spool=state / "spool",
        backups=Path(config.backup.dir or state / "backups"),
        jobs=state / "jobs",
    )


def assemble(
    config: Config,
    clock: Clock,
    *,
    config_text: str = "",
    read_again: Callable[[], Loaded] | None = None,
    job_kinds: Sequence[RegisteredKind] = KINDS,
) -> Appliance:
    """Given the settings, a clock and the settings' text for backups, build and start every part.

    `read_again` reads the settings' files for a reload; without it nothing ever changes.
    Raise StateUnusable or SchemaTooNew, in words for the admin, when the state cannot be used.
    """
    places = _prepared(places_of(config))
    lock = InstanceLock.take(places.state)
    metrics = Metrics()
    engine = _engine(config, places, metrics)
    engine.supervisor.start()  # importing OpenVINO takes longest, so it begins first
    disk = DiskWatch(places.state, reserve_bytes=config.state.reserve_bytes, clock=clock)
    database, report = _database(config, clock, places, lock, disk, metrics)
    ring = _key_ring(database, clock, places)
    backups = _backups(config, clock, places, database, disk, config_text)
    health = _health(config, clock, engine, database, disk, backups, report.lost)
    metrics.watch(lambda: readings(health, backups.newest()))
    active = _active_versions(config, clock, places, database)
    tuning = ModelTuning(database, engine.tunings)
    tuning.restore()
    engine.start(active, model_settings.traffic(database))
    changes = ModelChanges(engine, database, clock)
    streams = StreamSessions(engine, database, clock, config)
    library = _library(config, clock, places, database, disk, changes)
    jobs = _jobs(
        config, clock, places, engine, database, disk, metrics, job_kinds, library, tuning
    )
    health.watch_jobs(jobs.jobs.counts)
    parts = Appliance(
        config=config,
        clock=clock,
        places=places,
        disk=disk,
        database=database,
        metrics=metrics,
        engine=engine,
        canary=CanaryRounds(engine, interval_seconds=config.models.canary_seconds),
        maintenance=_maintenance(config, clock, database, disk, streams),
        key_ring=ring,
        gate=Gate(ring, clock, access=config.access, metrics=config.metrics),
        predictor=Predictor(engine, database, clock, config.history, metrics),
        model_changes=changes,
        library=library,
        removal=ModelRemoval(engine, clock, database=database, models_directory=places.models),
        tending=_tending(clock, engine, database, changes, metrics),
        streams=streams,
        jobs=jobs,
        backups=backups,
        health=health,
        reload=Reload(
            config, database, clock, read=read_again or (lambda: Loaded(config, sources={}))
        ),
        lock=lock,
    )
    _tell_of_reloads(parts)
    parts.canary.start()
    parts.tending.start()
    parts.maintenance.start()
    parts.library.start()
    parts.jobs.dispatch.start()
    return parts


def _tell_of_reloads(parts: Appliance) -> None:
    """Have each part told when its section of the configuration changes while it runs."""
    parts.reload.tell("access", parts.gate.use_access)
    parts.reload.tell("metrics", parts.gate.use_metrics)
    parts.reload.tell("history", parts.predictor.use_history)
    parts.reload.tell("history", parts.maintenance.use_history)
    parts.reload.tell("history", parts.streams.use_history)
    parts.reload.tell("backup", parts.backups.use_settings)
    parts.reload.tell_text(parts.backups.use_config_text)


def _tending(
    clock: Clock, engine: Engine, database: Database, changes: ModelChanges, metrics: Metrics
) -> ModelTending:
    rollbacks = AutoRollbacks(
        engine, database, clock, changes, on_rollback=metrics.auto_rolled_back
    )
    return ModelTending((engine.end_idle, rollbacks.run_round))


def _jobs(
    config: Config,
    clock: Clock,
    places: Places,
    engine: Engine,
    database: Database,
    disk: DiskWatch,
    metrics: Metrics,
    kinds: Sequence[RegisteredKind],
    library: ModelLibrary,
    tuning: ModelTuning,
) -> JobParts:
    return job_parts(
        config,
        clock,
        engine=engine,
        database=database,
        disk=disk,
        directory=places.jobs,
        models=places.models,
        cache=places.cache,
        threads=config.models.threads or allowed_cores(),
        install_version=library.install_made,
        on_end=metrics.job_ended,
        on_result=tuning.keep,
        kinds=kinds,
    )


def _library(
    config: Config,
    clock: Clock,
    places: Places,
    database: Database,
    disk: DiskWatch,
    changes: ModelChanges,
) -> ModelLibrary:
    return ModelLibrary(
        config,
        clock,
        database=database,
        disk=disk,
        places=ImportPlaces(
            models=places.models,
            cache=places.cache,
            threads=config.models.threads or allowed_cores(),
        ),
        activate=changes.activate,
    )


def _engine(config: Config, places: Places, metrics: Metrics) -> Engine:
    measured = Measured(metrics)
    return Engine(
        config,
        models_directory=places.models,
        cache_directory=places.cache,
        threads=config.models.threads or allowed_cores(),
        on_call=measured.call_finished,
        on_restart=measured.host_restarted,
        on_load_failed=measured.load_failed,
    )


def _database(
    config: Config,
    clock: Clock,
    places: Places,
    lock: InstanceLock,
    disk: DiskWatch,
    metrics: Metrics,
) -> tuple[Database, StartReport]:
    """Return a database that opens, whatever the last stop left behind, and what was found."""
    report = prepare(
        places.state,
        backups_dir=places.backups,
        was_unclean=lock.was_unclean,
        clock=clock,
        disk=disk,
    )
    database = Database.open(
        places.state / FILE_NAME,
        clock=clock,
        quota_bytes=config.state.database_bytes,
        queue_rows=config.history.queue_rows,
        queue_bytes=config.history.queue_bytes,
        read_seconds=config.history.query_seconds,
        disk=disk,
        on_commit=metrics.commit_finished,
    )
    return database, report


def _active_versions(
    config: Config, clock: Clock, places: Places, database: Database
) -> dict[str, int | None]:
    remove_partial_versions(places.models)
    finish_removals(database, places.models)
    if config.models.starter:
        install_starters(places.models, removed=removed_starters(database))
        install_text_models(places.models, removed=removed_starters(database))
    return register_models(database, places.models, clock)


def _key_ring(database: Database, clock: Clock, places: Places) -> KeyRing:
    ring = KeyRing(database, clock)
    ensure_admin_key(ring, places.state)
    return ring


def _backups(
    config: Config,
    clock: Clock,
    places: Places,
    database: Database,
    disk: DiskWatch,
    config_text: str,
) -> Backups:
    return Backups(
        config.backup,
        clock,
        database=database,
        disk=disk,
        directory=places.backups,
        models_directory=places.models,
        config_text=config_text,
    )


def _health(
    config: Config,
    clock: Clock,
    engine: Engine,
    database: Database,
    disk: DiskWatch,
    backups: Backups,
    recovery: str,
) -> HealthCheck:
    return HealthCheck(
        config,
        clock,
        engine=engine,
        database=database,
        disk=disk,
        newest_backup=backups.newest,
        clock_state=lambda: "suspect" if database.status().clock_is_suspect else "ok",
        recovery=recovery,
        is_unsound=backups.is_unsound,
    )


def _maintenance(
    config: Config, clock: Clock, database: Database, disk: DiskWatch, streams: StreamSessions
) -> Maintenance:
    return Maintenance(
        config.history, clock, database=database, disk=disk, expire_streams=streams.expire
    )


def _prepared(places: Places) -> Places:
    """Create the directories, readable by nobody else."""
    try:
        places.state.mkdir(mode=0o700, parents=True, exist_ok=True)
        for directory in (places.models, places.cache, places.spool, places.backups, places.jobs):
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        places.runtime.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as fault:
        raise StateUnusable(
            f"{fault.filename} cannot be created: {fault.strerror}. Make its parent writable for"
            f" the user {os.geteuid()} or set state.dir elsewhere."
        ) from None
    return places
