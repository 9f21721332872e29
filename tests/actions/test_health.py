"""Health says what is wrong before it breaks, and readiness only what keeps requests away."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from appliance.actions.health import HealthCheck
from appliance.clock import ManualClock
from appliance.config import Backup, Config, Models
from appliance.store.database import Database
from appliance.store.disk import DiskWatch
from appliance.store.rotation import Listed
from tests.access_parts import opened
from tests.actions.examples import StubEngine, a_status

MEBIBYTE = 1024**2
CONFIG = Config(
    models=Models(canary_seconds=10.0, deadline_seconds=5.0), backup=Backup(max_age_seconds=100.0)
)


class Parts:
    """A health check whose every part can be made ill."""

    def __init__(self, state_dir: Path, database: Database, clock: ManualClock) -> None:
        self.clock = clock
        self.database = database
        self.engine = StubEngine()
        self.newest: Listed | None = None
        self.clock_state = "ok"
        self.free_share = 0.5
        self.disk = DiskWatch(
            state_dir, reserve_bytes=4096, clock=clock, measure=lambda _: self._facts()
        )
        self.disk.check()

    def _facts(self) -> os.statvfs_result:
        blocks = 1000 * 256  # of 4 KiB: a disk of 1000 MiB
        free = int(blocks * self.free_share)
        return os.statvfs_result((4096, 4096, blocks, free, free, 1000, 900, 900, 0, 255))

    def check(self, **changes: Any) -> HealthCheck:
        """Return a check that starts now."""
        given: dict[str, Any] = {
            "engine": self.engine,
            "database": self.database,
            "disk": self.disk,
            "newest_backup": lambda: self.newest,
            "clock_state": lambda: self.clock_state,
            "recovery": "",
            **changes,
        }
        return HealthCheck(CONFIG, self.clock, **given)

    def backup_made(self, seconds_ago: float) -> None:
        """Let a backup of that age be the newest."""
        made = self.clock.wall_seconds() - seconds_ago
        self.newest = Listed(Path("/b/box-1.backup"), "box", made, "1.0", 2, 4096)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def parts(tmp_path: Path, clock: ManualClock) -> Iterator[Parts]:
    with opened(tmp_path / "state", clock) as database:
        yield Parts(tmp_path / "state", database, clock)


def test_all_is_well_when_nothing_is_wrong(parts: Parts) -> None:
    check = parts.check()
    parts.clock.advance(12)
    health = check.health()
    assert (health.status, health.reasons) == ("ok", ())
    assert health.uptime_seconds == 12
    assert health.disk.level == "ok"
    assert health.database.is_writable
    assert 0 < health.memory.front_bytes < health.memory.total_bytes
    assert check.readiness().ready


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"state": "starting", "reason": "first start"}, "is starting: first start"),
        ({"state": "failed"}, "is failed: no reason given"),
        ({"canary_ok": False}, "failed its canary"),
        ({"canary_ok": None, "canary_age_seconds": None}, "has not answered a canary"),
        ({"canary_age_seconds": 36.0}, "has not answered a canary for too long"),
    ],
)
def test_a_model_that_does_not_answer_keeps_requests_away(
    parts: Parts, changes: dict[str, Any], words: str
) -> None:
    parts.engine.statuses = [a_status(), a_status("step-detector", **changes)]
    (reason,) = parts.check().readiness().reasons
    assert reason.startswith("step-detector@1 ")
    assert words in reason
    health = parts.check().health()
    assert (health.status, health.reasons) == ("failing", (reason,))


def test_a_canary_may_be_late_by_some_rounds_and_the_longest_call(parts: Parts) -> None:
    parts.engine.statuses = [a_status(canary_age_seconds=34.9)]
    assert parts.check().readiness().ready


@pytest.mark.parametrize(
    "changes", [{"state": "stopped"}, {"is_active": False, "state": "failed"}]
)
def test_what_was_taken_out_of_service_on_purpose_is_no_fault(
    parts: Parts, changes: dict[str, Any]
) -> None:
    parts.engine.statuses = [a_status(canary_ok=None, canary_age_seconds=None, **changes)]
    assert parts.check().readiness().ready


def test_versions_that_neither_answer_nor_should_are_left_out(parts: Parts) -> None:
    parts.engine.statuses = [
        a_status(version=1, is_active=False, state="stopped"),
        a_status(version=2, process_id=os.getpid()),
        a_status(version=3, is_active=False, process_id=2**22 + 1),
    ]
    second, third = parts.check().health().models
    assert (second.version, third.version) == (2, 3)
    assert second.memory_bytes is not None
    assert second.memory_bytes > MEBIBYTE
    assert third.memory_bytes is None


def test_a_database_that_takes_no_writes_keeps_requests_away(parts: Parts) -> None:
    parts.database.close()
    readiness = parts.check().readiness()
    assert not readiness.ready
    assert "the database takes no writes" in readiness.reasons[0]
    assert parts.check().health().status == "failing"


@pytest.mark.parametrize(("free_share", "level"), [(0.12, "warn"), (0.05, "tight")])
def test_a_disk_that_fills_is_warned_of_before_it_is_full(
    parts: Parts, free_share: float, level: str
) -> None:
    parts.free_share = free_share
    parts.disk.check()
    health = parts.check().health()
    assert health.status == "degraded"
    assert health.reasons[0].startswith(f"disk space is {level}: ")
    assert "% of the disk is free" in health.reasons[0]
    assert parts.check().readiness().ready


def test_a_full_disk_keeps_requests_away_and_is_told_once(parts: Parts) -> None:
    parts.free_share = 0.01
    parts.disk.check()
    assert parts.check().readiness().reasons == ("the disk is full",)
    health = parts.check().health()
    assert (health.status, health.reasons) == ("failing", ("the disk is full",))


def test_an_old_backup_is_warned_of(parts: Parts) -> None:
    parts.backup_made(seconds_ago=99)
    check = parts.check()
    assert check.health().status == "ok"
    assert check.health().backup.newest == "box-1.backup"
    parts.clock.advance(2)
    health = check.health()
    assert health.status == "degraded"
    assert health.reasons == ("the newest backup is too old; run: appliance backup",)
    assert (health.backup.is_stale, health.backup.age_seconds) == (True, 101)
    assert check.readiness().ready


def test_a_new_appliance_has_as_long_for_its_first_backup(parts: Parts) -> None:
    check = parts.check()
    parts.clock.advance(99)
    assert not check.health().backup.is_stale
    parts.clock.advance(2)
    assert check.health().backup.is_stale
    assert check.health().status == "degraded"


def test_a_clock_that_jumped_is_warned_of(parts: Parts) -> None:
    parts.clock_state = "suspect"
    health = parts.check().health()
    assert (health.status, health.clock.state) == ("degraded", "suspect")
    assert "the clock jumped" in health.reasons[0]


def test_what_the_start_lost_stays_told(parts: Parts) -> None:
    health = parts.check(recovery="predictions since noon were lost").health()
    assert health.status == "degraded"
    assert health.reasons == (
        "the state was recovered at the start: predictions since noon were lost",
    )
    assert health.recovery == "predictions since noon were lost"


def test_who_stops_is_alive_but_not_ready(parts: Parts) -> None:
    check = parts.check()
    check.begin_stop()
    readiness = check.readiness()
    assert readiness.live
    assert not readiness.ready
    assert readiness.reasons == ("the appliance is stopping",)


def test_without_details_nothing_is_told_that_helps_an_intruder(parts: Parts) -> None:
    secret = "/var/lib/appliance/models/x: permission denied"
    parts.engine.statuses = [a_status(state="failed", reason=secret)]
    check = parts.check(recovery=f"restored from {secret}")
    assert secret in str(check.readiness())
    assert secret in str(check.health())
    readiness = check.readiness(with_details=False)
    assert readiness.reasons == ("vehicle-type@1 is failed",)
    health = check.health(with_details=False)
    assert secret not in str(health)
    assert health.reasons == ("vehicle-type@1 is failed", "the state was recovered at the start")
    assert health.models[0].state == "failed"


def test_a_newest_backup_that_failed_its_check_is_told(parts: Parts) -> None:
    parts.backup_made(10)
    health = parts.check(is_unsound=lambda name: name == "box-1.backup").health()
    assert not health.backup.is_sound
    assert (health.status, len(health.reasons)) == ("degraded", 1)
    assert "failed its check" in health.reasons[0]
