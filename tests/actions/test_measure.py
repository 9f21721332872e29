"""What happens becomes metrics, and a scrape tells what the parts know."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.actions.health import HealthCheck
from appliance.actions.jobs import JobCounts
from appliance.actions.keep_inputs import InputsStatus
from appliance.actions.measure import Measured, readings
from appliance.clock import ManualClock
from appliance.config import Config
from appliance.engine.admission import Admission
from appliance.engine.served import Served
from appliance.library.manifest import Manifest
from appliance.library.versions import VersionDirectory
from appliance.metrics import NAMESPACE, WATCHED, Metrics
from appliance.store.disk import DiskWatch
from appliance.store.rotation import Listed
from tests.access_parts import opened
from tests.actions.examples import StubEngine, a_status


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


@pytest.fixture
def served() -> Served:
    return Served(
        place=VersionDirectory("vehicle-type", 2, Path("nowhere")),
        manifest=Manifest(manifest_version=1, name="vehicle-type", version=2, task="t"),
        admission=Admission(most=1, most_waiting=1, waiting_seconds=1.0),
    )


@pytest.fixture
def engine() -> StubEngine:
    return StubEngine()


@pytest.fixture
def check(tmp_path: Path, engine: StubEngine) -> Iterator[HealthCheck]:
    clock = ManualClock()
    with opened(tmp_path / "state", clock) as database:
        disk = DiskWatch(tmp_path, reserve_bytes=4096, clock=clock, measure=lambda _: _facts())
        disk.check()
        yield HealthCheck(
            Config(),
            clock,
            engine=engine,  # type: ignore[arg-type]
            database=database,
            disk=disk,
            newest_backup=lambda: None,
            clock_state=lambda: "ok",
            recovery="",
        )


def _facts() -> os.statvfs_result:
    """A disk of 1000 blocks of 1 MiB, of which 120 are free."""
    return os.statvfs_result((2**20, 2**20, 1000, 120, 120, 1000, 900, 900, 0, 255))


def value(metrics: Metrics, name: str, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(f"{NAMESPACE}_{name}", labels)


def test_a_call_is_counted_under_its_version_and_outcome(metrics: Metrics, served: Served) -> None:
    Measured(metrics).call_finished(served, "ok", (0.1, 0.2, 0.3, 0.4))
    Measured(metrics).call_finished(served, "overloaded", (0.5, 0.0, 0.0, 0.0))
    for outcome in ("ok", "overloaded"):
        labels = {"model": "vehicle-type", "version": "2", "outcome": outcome}
        assert value(metrics, "inference_requests_total", **labels) == 1
    assert value(metrics, "inference_duration_seconds_sum", model="vehicle-type") == 0.3


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ("it missed 2 deadlines", "deadline"),
        ("it was ended by signal 9", "signal"),
        ("it exited with status 1", "exit"),
    ],
)
def test_restarts_are_counted_under_one_word(
    metrics: Metrics, served: Served, words: str, reason: str
) -> None:
    Measured(metrics).host_restarted(served, words)
    assert value(metrics, "host_restarts_total", model="vehicle-type", reason=reason) == 1


def test_a_version_that_did_not_load_is_counted(metrics: Metrics, served: Served) -> None:
    Measured(metrics).load_failed(served)
    assert value(metrics, "model_load_failures_total", model="vehicle-type") == 1


def test_every_reading_has_its_place_among_the_metrics(check: HealthCheck) -> None:
    assert set(readings(check, None)) <= set(WATCHED)


def test_a_scrape_tells_the_parts_values(
    metrics: Metrics, check: HealthCheck, engine: StubEngine
) -> None:
    engine.statuses = [
        a_status(in_flight=3, process_id=os.getpid(), canary_ok=True, canary_seconds=0.02),
        a_status(version=2, is_active=False, state="failed", load_seconds=None),
    ]
    metrics.watch(lambda: readings(check, None))
    first = {"model": "vehicle-type", "version": "1"}
    second = {"model": "vehicle-type", "version": "2"}
    assert value(metrics, "in_flight", **first) == 3
    assert value(metrics, "in_flight", **second) is None
    assert value(metrics, "model_loaded", **first) == 1
    assert value(metrics, "model_loaded", **second) == 0
    assert value(metrics, "model_load_duration_seconds", **first) == 1.5
    assert value(metrics, "model_load_duration_seconds", **second) is None
    assert (value(metrics, "model_memory_bytes", **first) or 0) > 2**20
    assert value(metrics, "canary_success", model="vehicle-type") == 1
    assert value(metrics, "canary_duration_seconds", model="vehicle-type") == 0.02
    assert value(metrics, "ready") == 1
    assert value(metrics, "database_writable") == 1
    assert value(metrics, "disk_level") == 1
    assert value(metrics, "disk_free_bytes", directory="state") == 120 * 2**20
    assert value(metrics, "scrape_errors_total") == 0


def test_a_scrape_tells_of_jobs_and_of_kept_inputs(metrics: Metrics, check: HealthCheck) -> None:
    check.watch_jobs(lambda: JobCounts(waiting=4, running=3, dead=2, stored_bytes=99))
    check.watch_inputs(
        lambda: InputsStatus(is_on=True, paused="", kept=7, kept_bytes=70, waiting=1, dropped=5)
    )
    metrics.watch(lambda: readings(check, None))
    for name, expected in {
        "jobs_waiting": 4,
        "jobs_running": 3,
        "jobs_dead": 2,
        "jobs_stored_bytes": 99,
        "inputs_kept": 7,
        "inputs_kept_bytes": 70,
        "inputs_dropped_total": 5,
    }.items():
        assert value(metrics, name) == expected, name


def test_a_failed_canary_shows_as_zero_and_not_ready(
    metrics: Metrics, check: HealthCheck, engine: StubEngine
) -> None:
    engine.statuses = [a_status(canary_ok=False)]
    metrics.watch(lambda: readings(check, None))
    assert value(metrics, "canary_success", model="vehicle-type") == 0
    assert value(metrics, "ready") == 0


def test_the_newest_backup_shows_or_there_is_no_series(check: HealthCheck) -> None:
    assert readings(check, None)["backup_last_success_timestamp_seconds"] is None
    assert readings(check, None)["backup_verify_ok"] is None
    newest = Listed(Path("box.backup"), "box", 1_790_000_000.0, "1.0", 2, 4096)
    told = readings(check, newest)
    assert told["backup_last_success_timestamp_seconds"] == 1_790_000_000.0
    assert (told["backup_last_size_bytes"], told["backup_verify_ok"]) == (4096, 1.0)
