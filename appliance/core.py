"""Assemble the appliance: every part, built once, in order."""

import logging
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
from appliance.actions.keep_inputs import InputKeeper
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
from appliance.host.confinement import allowed_cores
from appliance.host.jobs.registry import KINDS, RegisteredKind
from appliance.library.versions import install_starters, remove_partial_versions
from appliance.metrics import Metrics
from appliance.places import Places, places_of, prepared
from appliance.store.database import FILE_NAME, Database
from appliance.store.disk import DiskWatch
from appliance.store.integrity import InstanceLock, StartReport, prepare
from appliance.store.kept_inputs import KeptInputs

_log = logging.getLogger(__name__)


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
    inputs: InputKeeper
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
        self.inputs.stop()
        self.key_ring.save_uses()
        is_clean = self.database.close()
        self.lock.release(is_clean=is_clean)


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
    ground = _ground(config, clock)
    backups = _backups(ground, config_text)
    health = _health(ground, backups)
    ground.metrics.watch(lambda: readings(health, backups.newest()))
    tuning = _started_models(ground)
    models = _models(ground, tuning, job_kinds)
    health.watch_jobs(models.jobs.jobs.counts)
    health.watch_inputs(ground.inputs.status)
    reload = Reload(
        config,
        ground.database,
        clock,
        read=read_again or (lambda: Loaded(config, sources={})),
    )
    return _begun(_together(ground, models, backups=backups, health=health, reload=reload))


@dataclass(frozen=True, slots=True)
class _Ground:
    """What all other parts stand on."""

    config: Config
    clock: Clock
    places: Places
    lock: InstanceLock
    metrics: Metrics
    engine: Engine
    disk: DiskWatch
    database: Database
    inputs: InputKeeper
    recovery: str


@dataclass(frozen=True, slots=True)
class _Models:
    """The parts by which models come, go and are measured."""

    changes: ModelChanges
    removal: ModelRemoval
    library: ModelLibrary
    jobs: JobParts


def _ground(config: Config, clock: Clock) -> _Ground:
    places = prepared(places_of(config))
    lock = InstanceLock.take(places.state)
    metrics = Metrics()
    engine = _engine(config, places, metrics)
    engine.supervisor.start()  # importing OpenVINO takes longest, so it begins first
    disk = DiskWatch(places.state, reserve_bytes=config.state.reserve_bytes, clock=clock)
    database, report = _database(config, clock, places, lock, disk, metrics)
    files = KeptInputs(places.inputs)
    inputs = InputKeeper(config.history, clock, database=database, disk=disk, files=files)
    return _Ground(
        config, clock, places, lock, metrics, engine, disk, database, inputs, report.lost
    )


def _started_models(ground: _Ground) -> ModelTuning:
    active = _active_versions(ground)
    tuning = ModelTuning(ground.database, ground.engine.tunings)
    tuning.restore()
    ground.engine.start(active, model_settings.traffic(ground.database))
    return tuning


def _models(ground: _Ground, tuning: ModelTuning, kinds: Sequence[RegisteredKind]) -> _Models:
    engine, database, clock = ground.engine, ground.database, ground.clock
    removal = ModelRemoval(engine, clock, database=database, models_directory=ground.places.models)
    changes = ModelChanges(engine, database, clock, after_activation=removal.prune_versions)
    library = _library(ground, changes)
    return _Models(changes, removal, library, _jobs(ground, kinds, library, tuning))


def _together(
    ground: _Ground, models: _Models, *, backups: Backups, health: HealthCheck, reload: Reload
) -> Appliance:
    config, clock, database = ground.config, ground.clock, ground.database
    ring = _key_ring(database, clock, ground.places)
    streams = StreamSessions(ground.engine, database, clock, config)
    return Appliance(
        config=config,
        clock=clock,
        places=ground.places,
        disk=ground.disk,
        database=database,
        metrics=ground.metrics,
        engine=ground.engine,
        canary=CanaryRounds(ground.engine, interval_seconds=config.models.canary_seconds),
        maintenance=Maintenance(
            config.history,
            clock,
            database=database,
            disk=ground.disk,
            expire_streams=streams.expire,
            sweep_inputs=ground.inputs.sweep,
        ),
        key_ring=ring,
        gate=Gate(ring, clock, access=config.access, metrics=config.metrics),
        predictor=_predictor(ground),
        model_changes=models.changes,
        library=models.library,
        removal=models.removal,
        tending=_tending(ground, models.changes),
        streams=streams,
        jobs=models.jobs,
        inputs=ground.inputs,
        backups=backups,
        health=health,
        reload=reload,
        lock=ground.lock,
    )


def _begun(parts: Appliance) -> Appliance:
    """Start what works by itself, and return the parts."""
    _tell_of_reloads(parts)
    parts.canary.start()
    parts.tending.start()
    parts.inputs.start()
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
    parts.reload.tell("history", parts.inputs.use_history)
    parts.reload.tell("backup", parts.backups.use_settings)
    parts.reload.tell_text(parts.backups.use_config_text)


def _predictor(ground: _Ground) -> Predictor:
    return Predictor(
        ground.engine,
        ground.database,
        ground.clock,
        ground.config.history,
        ground.metrics,
        keep_input=ground.inputs.offer,
    )


def _tending(ground: _Ground, changes: ModelChanges) -> ModelTending:
    rollbacks = AutoRollbacks(
        ground.engine,
        ground.database,
        ground.clock,
        changes,
        on_rollback=ground.metrics.auto_rolled_back,
    )
    return ModelTending((ground.engine.end_idle, rollbacks.run_round))


def _jobs(
    ground: _Ground, kinds: Sequence[RegisteredKind], library: ModelLibrary, tuning: ModelTuning
) -> JobParts:
    return job_parts(
        ground.config,
        ground.clock,
        engine=ground.engine,
        database=ground.database,
        disk=ground.disk,
        inputs=ground.inputs,
        places=ground.places,
        threads=ground.config.models.threads or allowed_cores(),
        install_version=library.install_made,
        on_end=ground.metrics.job_ended,
        on_result=tuning.keep,
        kinds=kinds,
    )


def _library(ground: _Ground, changes: ModelChanges) -> ModelLibrary:
    return ModelLibrary(
        ground.config,
        ground.clock,
        database=ground.database,
        disk=ground.disk,
        places=ImportPlaces(
            models=ground.places.models,
            cache=ground.places.cache,
            threads=ground.config.models.threads or allowed_cores(),
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


def _active_versions(ground: _Ground) -> dict[str, int | None]:
    models, database = ground.places.models, ground.database
    remove_partial_versions(models)
    finish_removals(database, models)
    if ground.config.models.starter:
        install_starters(models, removed=removed_starters(database))
        install_text_models(models, removed=removed_starters(database))
    return register_models(database, models, ground.clock)


def _key_ring(database: Database, clock: Clock, places: Places) -> KeyRing:
    ring = KeyRing(database, clock)
    ensure_admin_key(ring, places.state)
    return ring


def _backups(ground: _Ground, config_text: str) -> Backups:
    return Backups(
        ground.config.backup,
        ground.clock,
        database=ground.database,
        disk=ground.disk,
        directory=ground.places.backups,
        models_directory=ground.places.models,
        config_text=config_text,
    )


def _health(ground: _Ground, backups: Backups) -> HealthCheck:
    return HealthCheck(
        ground.config,
        ground.clock,
        engine=ground.engine,
        database=ground.database,
        disk=ground.disk,
        newest_backup=backups.newest,
        clock_state=lambda: "suspect" if ground.database.status().clock_is_suspect else "ok",
        recovery=ground.recovery,
        is_unsound=backups.is_unsound,
    )
