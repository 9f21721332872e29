"""Assemble the appliance: every part, built once, in order."""

import logging
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from appliance.actions.admit import Gate
from appliance.actions.backup import Backups
from appliance.actions.health import HealthCheck
from appliance.actions.issue_key import ADMIN_KEY_FILE, ensure_admin_key
from appliance.actions.key_ring import KeyRing
from appliance.actions.maintain import Maintenance
from appliance.actions.measure import Measured, readings
from appliance.actions.predict import Predictor
from appliance.actions.register_models import register_models
from appliance.actions.serve_model import ModelChanges
from appliance.actions.streams import StreamSessions
from appliance.clock import Clock
from appliance.config import Config
from appliance.engine.canary import CanaryRounds
from appliance.engine.engine import Engine
from appliance.errors import StateUnusable
from appliance.host.confinement import allowed_cores
from appliance.library.versions import install_starters, remove_partial_versions
from appliance.metrics import Metrics
from appliance.store.database import FILE_NAME, Database
from appliance.store.disk import DiskWatch
from appliance.store.integrity import InstanceLock, prepare

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
    streams: StreamSessions
    backups: Backups
    health: HealthCheck
    lock: InstanceLock
    exposition: Callable[[str], tuple[bytes, str]]
    admin_key_file: Path

    def stop(self) -> None:
        """End every part in the reverse order; what was accepted for writing is written."""
        self.canary.stop()
        self.maintenance.stop()
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
    )


def assemble(config: Config, clock: Clock, *, config_text: str = "") -> Appliance:
    """Given the configuration, its text for backups and a clock, build and start every part but the HTTP server.

    Raise StateUnusable or SchemaTooNew, in words for the admin, when the state cannot be used.
    """
    places = _prepared(places_of(config))
    lock = InstanceLock.take(places.state)
    metrics = Metrics()
    threads = config.models.threads or allowed_cores()
    measured = Measured(metrics)
    engine = Engine(
        config,
        models_directory=places.models,
        cache_directory=places.cache,
        threads=threads,
        on_call=measured.call_finished,
        on_restart=measured.host_restarted,
        on_load_failed=measured.load_failed,
    )
    engine.supervisor.start()  # importing OpenVINO takes longest, so it begins first
    disk = DiskWatch(places.state, reserve_bytes=config.state.reserve_bytes, clock=clock)
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
        disk=disk,
        on_commit=metrics.commit_finished,
    )
    remove_partial_versions(places.models)
    if config.models.starter:
        install_starters(places.models)
    ring = KeyRing(database, clock)
    ensure_admin_key(ring, places.state)
    gate = Gate(ring, clock, access=config.access, metrics=config.metrics)
    backups = Backups(
        config.backup,
        clock,
        database=database,
        disk=disk,
        directory=places.backups,
        models_directory=places.models,
        config_text=config_text,
    )
    health = HealthCheck(
        config,
        clock,
        engine=engine,
        database=database,
        disk=disk,
        newest_backup=backups.newest,
        clock_state=lambda: "suspect" if database.status().clock_is_suspect else "ok",
        recovery=report.lost,
    )
    metrics.watch(lambda: readings(health, backups.newest()))
    engine.start(register_models(database, places.models, clock))
    canary = CanaryRounds(engine, interval_seconds=config.models.canary_seconds)
    canary.start()
    streams = StreamSessions(engine, database, clock, config)
    maintenance = Maintenance(
        config.history, clock, database=database, disk=disk, expire_streams=streams.expire
    )
    maintenance.start()
    return Appliance(
        config=config,
        clock=clock,
        places=places,
        disk=disk,
        database=database,
        metrics=metrics,
        engine=engine,
        canary=canary,
        maintenance=maintenance,
        key_ring=ring,
        gate=gate,
        predictor=Predictor(engine, database, clock, config.history, metrics),
        model_changes=ModelChanges(engine, database, clock),
        streams=streams,
        backups=backups,
        health=health,
        lock=lock,
        exposition=metrics.exposition,
        admin_key_file=places.state / ADMIN_KEY_FILE,
    )


def _prepared(places: Places) -> Places:
    """Create the directories; a Unix socket's path must fit in 107 bytes, else they go to a temporary directory."""
    try:
        places.state.mkdir(mode=0o700, parents=True, exist_ok=True)
        for directory in (places.models, places.cache, places.spool, places.backups):
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        places.runtime.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as fault:
        raise StateUnusable(
            f"{fault.filename} cannot be created: {fault.strerror}. Make its parent writable for"
            f" the user {os.geteuid()} or set state.dir elsewhere."
        ) from None
    return places
