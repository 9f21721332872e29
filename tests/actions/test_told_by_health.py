"""What the appliance says of itself, as findings."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from appliance.actions import told_by_health
from appliance.actions.findings import FAULT, OK, WARNING, Finding, Scene
from tests.actions.test_doctor import scene

READY = {"model": "a", "version": 2, "state": "ready", "reason": "", "is_active": True}


def told(tmp_path: Path, **health: Any) -> Scene:
    return scene(tmp_path, health={"status": "ok", **health})


def one(findings: Iterator[Finding]) -> Finding:
    (found,) = findings
    return found


def test_models_that_answer_are_named(tmp_path: Path) -> None:
    idle = {**READY, "model": "b", "state": "idle"}
    found = one(told_by_health.models(told(tmp_path, models=[READY, idle])))
    assert (found.level, found.text) == (OK, "Every active model answers: a@2, b@2.")


def test_a_model_that_does_not_is_a_fault_with_its_reason_and_the_way_back(tmp_path: Path) -> None:
    failed = {**READY, "state": "failed", "reason": "its canary says another label."}
    found = one(told_by_health.models(told(tmp_path, models=[READY, failed])))
    assert found.level == FAULT
    assert found.text.endswith("it is failed: its canary says another label.")
    assert "appliance model rollback a" in found.advice


def test_a_model_that_starts_is_waited_for(tmp_path: Path) -> None:
    starting = {**READY, "state": "starting"}
    assert one(told_by_health.models(told(tmp_path, models=[starting]))).level == WARNING


def test_a_box_without_models_is_told_how_to_get_one(tmp_path: Path) -> None:
    found = one(told_by_health.models(told(tmp_path, models=[{**READY, "is_active": False}])))
    assert found.level == WARNING
    assert "appliance model install" in found.advice


def test_a_database_that_takes_writes_is_fine_and_one_that_does_not_is_a_fault(
    tmp_path: Path,
) -> None:
    well = {"state": "ok", "is_writable": True, "bytes": 25_000_000, "last_error": ""}
    assert one(told_by_health.database(told(tmp_path, database=well))).text.endswith("25.0 MB.")
    ill = {**well, "state": "failing", "is_writable": False, "last_error": "disk I/O error"}
    found = one(told_by_health.database(told(tmp_path, database=ill)))
    assert found.level == FAULT
    assert "failing: disk I/O error." in found.text


def test_a_recovery_is_told_until_the_next_start(tmp_path: Path) -> None:
    well = {"state": "ok", "is_writable": True, "bytes": 1}
    found = list(told_by_health.database(told(tmp_path, database=well, recovery="It is gone.")))
    assert [each.level for each in found] == [WARNING, OK]
    assert found[0].text == "It is gone."


def test_a_clock_that_is_not_believed_is_told(tmp_path: Path) -> None:
    assert one(told_by_health.clock(told(tmp_path, clock={"state": "suspect"}))).level == WARNING
    assert list(told_by_health.clock(told(tmp_path, clock={"state": "ok"}))) == []


def test_a_silent_appliance_says_nothing(tmp_path: Path) -> None:
    silent = scene(tmp_path, health=None)
    for check in (told_by_health.models, told_by_health.database, told_by_health.clock):
        assert list(check(silent)) == []
