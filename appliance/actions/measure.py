"""Turn what happens into metrics, and ask the parts at a scrape for what only they know."""

from collections.abc import Mapping
from typing import Any

from appliance.actions.health import Health, HealthCheck
from appliance.engine.served import Served
from appliance.engine.status import ModelStatus
from appliance.metrics import Metrics
from appliance.store.disk import Level
from appliance.store.rotation import Listed


class Measured:
    """What the engine tells, as metrics. Threads: any."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def call_finished(
        self, served: Served, outcome: str, seconds: tuple[float, float, float, float]
    ) -> None:
        """Given a call's version, outcome and seconds (queue, decode, infer, encode), count it."""
        place = served.place
        self._metrics.call_finished(place.model, place.version, outcome, seconds)

    def host_restarted(self, served: Served, words: str) -> None:
        """Given a version whose host is started again and why, count it under one word."""
        reason = "deadline" if "deadline" in words else "signal" if "signal" in words else "exit"
        self._metrics.host_restarted(served.place.model, reason)

    def load_failed(self, served: Served) -> None:
        """Given a version that did not become ready, count it."""
        self._metrics.model_load_failed(served.place.model)


def readings(check: HealthCheck, newest: Listed | None) -> Mapping[str, Any]:
    """Given the health check and the newest backup, return a scrape's values by metric name."""
    health = check.health()
    database = health.database
    return {
        "ready": float(check.readiness().ready),
        **_models(check.models()),
        "model_memory_bytes": {
            (model.model, str(model.version)): float(model.memory_bytes)
            for model in health.models
            if model.memory_bytes is not None
        },
        "predictions_lost_total": database.lost_rows,
        **_jobs(health),
        **_inputs(health),
        "database_size_bytes": database.bytes,
        "database_wal_bytes": database.wal_bytes,
        "database_quota_bytes": database.quota_bytes,
        "database_queue_rows": database.queue_rows,
        "database_last_commit_age_seconds": database.last_commit_seconds_ago,
        "database_writable": float(database.is_writable),
        **_disk(health),
        "backup_last_success_timestamp_seconds": newest.made_seconds if newest else None,
        "backup_last_size_bytes": newest.bytes if newest else None,
        # A backup gets its name only after every check has passed (store/backup.py), so that it is
        # sound until a later check has found otherwise.
        "backup_verify_ok": float(health.backup.is_sound) if newest else None,
    }


def _disk(health: Health) -> dict[str, Any]:
    return {
        "disk_free_bytes": {("state",): float(health.disk.free_bytes)},
        "disk_size_bytes": {("state",): float(health.disk.total_bytes)},
        "disk_level": float(Level[health.disk.level.upper()]),
    }


def _jobs(health: Health) -> dict[str, Any]:
    if health.jobs is None:
        return {}
    return {
        "jobs_waiting": float(health.jobs.waiting),
        "jobs_running": float(health.jobs.running),
        "jobs_dead": float(health.jobs.dead),
        "jobs_stored_bytes": float(health.jobs.stored_bytes),
    }


def _inputs(health: Health) -> dict[str, Any]:
    if health.inputs is None:
        return {}
    return {
        "inputs_kept": float(health.inputs.kept),
        "inputs_kept_bytes": float(health.inputs.kept_bytes),
        "inputs_dropped_total": float(health.inputs.dropped),
    }


def _models(statuses: list[ModelStatus]) -> dict[str, dict[tuple[str, ...], float]]:
    named = [((status.name, str(status.version)), status) for status in statuses]
    return {
        "in_flight": {key: float(one.in_flight) for key, one in named if one.state == "ready"},
        "model_loaded": {key: float(one.state == "ready") for key, one in named},
        "model_load_duration_seconds": {
            key: one.load_seconds for key, one in named if one.load_seconds is not None
        },
        "canary_success": {
            (one.name,): float(one.canary_ok)
            for one in statuses
            if one.is_active and one.canary_ok is not None
        },
        "canary_duration_seconds": {
            (one.name,): one.canary_seconds
            for one in statuses
            if one.is_active and one.canary_seconds is not None
        },
    }
