"""A version that does worse gives way; one that does not is left alone."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.actions import audit, model_settings
from appliance.actions.auto_rollback import AutoRollbacks, fault_of
from appliance.actions.model_settings import AutoRollback, Probation
from appliance.actions.serve_model import ModelChanges
from appliance.clock import ManualClock
from appliance.engine.admission import Admission
from appliance.engine.served import FAILED, Served
from appliance.engine.status import Conduct
from appliance.library.manifest import Manifest
from appliance.library.versions import VersionDirectory
from appliance.store import models
from appliance.store.database import Database
from tests.access_parts import opened
from tests.actions.examples import ADMIN
from tests.engine.running import Running, eventually, running
from tests.tiny_models import write_colour_model

RULE = AutoRollback(seconds=300, max_error_rate=0.05, max_latency_ratio=2.0, min_requests=20)
BEFORE = Conduct(answered=90, faults=10, compute_seconds=0.9)


def served_with(*, answered: int = 0, faults: int = 0, milliseconds: float = 10.0) -> Served:
    """Return a version that has answered and failed so often."""
    served = Served(
        place=VersionDirectory("m", 2, Path("m/2")),
        manifest=Manifest(manifest_version=1, name="m", version=2, task="t"),
        admission=Admission(most=1, most_waiting=1, waiting_seconds=1),
    )
    for _ in range(answered):
        served.counters.succeeded(9.0, 0.0, milliseconds / 1000, 0.0, batch=1)
    for _ in range(faults):
        served.counters.failed(1.0)
    return served


def probation(baseline: Conduct = BEFORE) -> Probation:
    return Probation(version=2, before=1, until_seconds=9e9, rule=RULE, baseline=baseline)


def test_as_good_as_before_is_good_enough() -> None:
    assert fault_of(served_with(answered=90, faults=10), probation()) == ""


def test_more_failures_than_allowed_are_a_fault() -> None:
    assert fault_of(served_with(answered=86, faults=14), probation()) == ""
    reason = fault_of(served_with(answered=80, faults=20), probation())
    assert reason.startswith("20.0% of 100 calls failed; 10.0% did before")


def test_too_few_calls_prove_nothing() -> None:
    assert fault_of(served_with(faults=19), probation()) == ""
    assert fault_of(served_with(answered=19, milliseconds=900), probation()) == ""


def test_calls_that_take_longer_than_allowed_are_a_fault() -> None:
    assert fault_of(served_with(answered=50, milliseconds=19), probation()) == ""
    reason = fault_of(served_with(answered=50, milliseconds=35), probation())
    assert "35.00 ms, 3.5 times as long" in reason
    assert fault_of(served_with(answered=50, milliseconds=35), probation(Conduct())) == ""


def test_calls_that_never_got_in_are_nobodys_fault() -> None:
    served = served_with(answered=30)
    for _ in range(100):
        served.counters.failed(1.0, is_fault=False)
    assert fault_of(served, probation()) == ""


def test_a_version_that_failed_or_keeps_dying_is_at_fault() -> None:
    served = served_with()
    served.become(FAILED, "its files changed")
    assert fault_of(served, probation()) == "it failed: its files changed"
    served = served_with()
    served.restarts = 2
    assert fault_of(served, probation()) == "its process ended 2 times"
    served = served_with()
    served.state = "ready"
    served.canary.note(reason="expected 'red', got 'blue'")
    assert "canary: expected 'red'" in fault_of(served, probation())


class Scene:
    """A real engine and database, and what watches them."""

    def __init__(self, engine: Running, database: Database, clock: ManualClock) -> None:
        self.engine, self.database, self.clock = engine, database, clock
        self.rolled_back: list[str] = []
        self.changes = ModelChanges(engine.engine, database, clock)
        self.watch = AutoRollbacks(
            engine.engine, database, clock, self.changes, on_rollback=self.rolled_back.append
        )
        write_colour_model(engine.models_directory, name="m")
        write_colour_model(engine.models_directory, name="m", version=2)
        for version in (1, 2):
            models.add_version(database, _version(version))
        self.changes.activate(ADMIN, "m", 1)


def _version(number: int) -> models.Version:
    return models.Version(
        name="m", version=number, state="ready", sha256="", size_bytes=1, created_seconds=0.0
    )


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    clock = ManualClock()
    with running(tmp_path) as engine, opened(tmp_path / "state", clock) as database:
        yield Scene(engine, database, clock)


def test_a_version_that_fails_calls_gives_way_and_that_is_written_down(scene: Scene) -> None:
    scene.changes.activate(ADMIN, "m", 2, auto_rollback=RULE)
    scene.watch.run_round()
    assert scene.engine.engine.active_versions() == {"m": 2}
    for _ in range(30):
        scene.engine.served("m", 2).counters.failed(0.1)
    scene.watch.run_round()
    assert scene.engine.engine.active_versions() == {"m": 1}
    assert scene.engine.predict("m") == ("red", 1)
    assert models.active_version(scene.database, "m") == 1
    assert scene.rolled_back == ["m"]
    (row,) = audit.page(scene.database, before_sequence=None, limit=1)[0]
    assert (row.actor, row.action, row.subject) == ("auto-rollback", "model.auto_rollback", "m@1")
    assert "100.0% of 30 calls failed" in row.detail
    scene.watch.run_round()
    assert model_settings.probations(scene.database) == {}
    assert scene.rolled_back == ["m"]


def test_a_version_that_keeps_dying_gives_way(scene: Scene) -> None:
    scene.changes.activate(ADMIN, "m", 2, auto_rollback=RULE)
    host = None
    for restarts in (1, 2):
        host = scene.engine.process_of("m", 2, after=host)
        os.kill(host, signal.SIGKILL)
        eventually(lambda n=restarts: scene.engine.status("m", 2).restarts >= n)  # type: ignore[misc]
    scene.watch.run_round()
    assert scene.engine.predict("m") == ("red", 1)


def test_probation_ends_with_its_time_or_with_another_change(scene: Scene) -> None:
    scene.changes.activate(ADMIN, "m", 2, auto_rollback=RULE)
    scene.clock.advance(301)
    scene.watch.run_round()
    assert model_settings.probations(scene.database) == {}
    scene.changes.activate(ADMIN, "m", 1, auto_rollback=RULE)
    kept = model_settings.probations(scene.database)["m"]
    scene.changes.unload(ADMIN, "m")
    model_settings.put_probation(scene.database, "m", kept)  # as if the unload had been a crash
    scene.watch.run_round()
    assert model_settings.probations(scene.database) == {}
    assert scene.rolled_back == []


def test_a_version_before_that_fails_too_leaves_the_new_one_in_service(scene: Scene) -> None:
    scene.changes.activate(ADMIN, "m", 2, auto_rollback=RULE)
    for _ in range(30):
        scene.engine.served("m", 2).counters.failed(0.1)
    (scene.engine.models_directory / "m" / "1" / "labels.txt").write_text("changed\n")
    scene.watch.run_round()
    assert scene.engine.predict("m") == ("red", 2)
    assert scene.rolled_back == []
    assert model_settings.probations(scene.database) == {}


def test_another_change_at_the_same_time_puts_it_off(scene: Scene) -> None:
    scene.changes.activate(ADMIN, "m", 2, auto_rollback=RULE)
    for _ in range(30):
        scene.engine.served("m", 2).counters.failed(0.1)
    with scene.engine.engine._changes._changing("m"):
        scene.watch.run_round()
    assert scene.engine.engine.active_versions() == {"m": 2}
    scene.watch.run_round()
    assert scene.engine.engine.active_versions() == {"m": 1}
