"""Changes of what is served take place and leave their trace, or neither."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from appliance.actions import audit, model_settings
from appliance.actions.callers import Caller
from appliance.actions.model_settings import AutoRollback, Policy
from appliance.actions.serve_model import ModelChanges
from appliance.clock import ManualClock
from appliance.engine.traffic import Traffic
from appliance.errors import (
    Conflict,
    DatabaseUnavailable,
    Forbidden,
    ModelInvalid,
    NotFound,
    Unavailable,
)
from appliance.library.versions import VersionDirectory
from appliance.store import models
from appliance.store.audit import AuditRow
from appliance.store.database import Database
from tests.access_parts import opened
from tests.actions.examples import ADMIN, StubEngine, a_device, a_status, broken

MODEL = "vehicle-type"


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with opened(tmp_path / "state", ManualClock()) as database:
        for version in (1, 2):
            models.add_version(
                database,
                models.Version(
                    name=MODEL,
                    version=version,
                    state="ready",
                    sha256="",
                    size_bytes=1,
                    created_seconds=0.0,
                ),
            )
        models.switch(database, MODEL, 1, actor="a test", at_seconds=0.0)
        yield database


@pytest.fixture
def engine() -> StubEngine:
    return StubEngine(a_status(version=1), a_status(version=2, is_active=False))


@pytest.fixture
def changes(engine: StubEngine, database: Database) -> ModelChanges:
    return ModelChanges(engine, database, ManualClock())  # type: ignore[arg-type]


def trail(database: Database) -> list[AuditRow]:
    return list(audit.page(database, before_sequence=None, limit=10)[0])


def test_a_load_and_an_unload_are_in_the_audit(
    changes: ModelChanges, engine: StubEngine, database: Database
) -> None:
    changes.unload(ADMIN, MODEL)
    changes.load(ADMIN, MODEL)
    assert engine.changes == [f"unload {MODEL}", f"load {MODEL}"]
    told = [(row.actor, row.action, row.subject) for row in trail(database)]
    assert told == [
        ("ann (admin1)", "model.load", f"{MODEL}@1"),
        ("ann (admin1)", "model.unload", MODEL),
    ]


def test_an_activated_version_answers_after_the_next_start_too(
    changes: ModelChanges, engine: StubEngine, database: Database
) -> None:
    changes.activate(ADMIN, MODEL, 2)
    assert engine.changes == [f"activate 2 {MODEL}"]
    assert models.active_version(database, MODEL) == 2
    assert models.switches(database)[0].actor == "ann (admin1)"
    (row,) = trail(database)
    assert (row.action, row.subject) == ("model.activate", f"{MODEL}@2")
    assert "1" in str(row.detail)


CHANGES: dict[str, Callable[[ModelChanges, Caller], object]] = {
    "load": lambda changes, caller: changes.load(caller, MODEL),
    "unload": lambda changes, caller: changes.unload(caller, MODEL),
    "activate": lambda changes, caller: changes.activate(caller, MODEL, 2),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_what_fails_in_the_engine_leaves_no_trace(
    changes: ModelChanges,
    engine: StubEngine,
    database: Database,
    change: Callable[[ModelChanges, Caller], object],
) -> None:
    engine.fault = broken()
    with pytest.raises(ModelInvalid):
        change(changes, ADMIN)
    assert trail(database) == []
    assert models.active_version(database, MODEL) == 1


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_nobody_changes_a_model_outside_the_scope_of_the_key(
    changes: ModelChanges, engine: StubEngine, change: Callable[[ModelChanges, Caller], object]
) -> None:
    with pytest.raises(Forbidden):
        change(changes, a_device(models=("step-detector",)))
    assert engine.changes == []


def test_a_version_the_database_does_not_know_is_refused_before_anything_changes(
    changes: ModelChanges, engine: StubEngine, database: Database
) -> None:
    engine.statuses.append(a_status(version=3, is_active=False))
    with pytest.raises(NotFound, match="3"):
        changes.activate(ADMIN, MODEL, 3)
    assert engine.changes == []
    assert trail(database) == []


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_what_cannot_be_written_down_does_not_happen(
    changes: ModelChanges,
    engine: StubEngine,
    database: Database,
    change: Callable[[ModelChanges, Caller], object],
) -> None:
    def refuse(work: object, **_: object) -> None:
        raise DatabaseUnavailable("the disk is gone")

    database.write = refuse  # type: ignore[method-assign, assignment]
    with pytest.raises(Unavailable):
        change(changes, ADMIN)
    assert engine.changes == []
    assert models.active_version(database, MODEL) == 1


def test_an_unloaded_model_stays_so_until_it_is_loaded_again(
    changes: ModelChanges, engine: StubEngine, database: Database
) -> None:
    changes.activate(ADMIN, MODEL, 2)
    assert changes.unload(ADMIN, MODEL).active_version is None
    assert models.active_version(database, MODEL) is None
    engine.statuses = [a_status(version=1, is_active=False), a_status(version=2, is_active=False)]
    switched = changes.load(ADMIN, MODEL)
    assert (switched.active_version, switched.previous_version) == (2, None)
    assert models.active_version(database, MODEL) == 2


def test_a_rollback_leads_to_the_version_before_and_back(
    changes: ModelChanges, engine: StubEngine, database: Database
) -> None:
    with pytest.raises(Conflict, match="no earlier version"):
        changes.roll_back(ADMIN, MODEL)
    changes.activate(ADMIN, MODEL, 2)
    assert changes.roll_back(ADMIN, MODEL).active_version == 1
    assert models.active_version(database, MODEL) == 1
    assert trail(database)[0].action == "model.rollback"
    assert changes.roll_back(ADMIN, MODEL).active_version == 2
    with pytest.raises(NotFound):
        changes.roll_back(ADMIN, "nobody")


def test_a_version_that_failed_its_import_is_not_activated(
    changes: ModelChanges, engine: StubEngine, database: Database
) -> None:
    models.set_state(database, MODEL, 2, state="failed", reason="no golden sample fits")
    for change in (
        lambda: changes.activate(ADMIN, MODEL, 2),
        lambda: changes.load(ADMIN, MODEL, 2),
        lambda: changes.set_traffic(ADMIN, MODEL, Traffic(shadow="2")),
    ):
        with pytest.raises(Conflict, match="is failed: no golden sample fits"):
            change()
    assert engine.changes == []


def test_the_active_version_is_not_its_own_shadow(
    changes: ModelChanges, engine: StubEngine, database: Database
) -> None:
    engine.statuses = [a_status(version=1, is_active=False), a_status(version=2)]
    with pytest.raises(Conflict, match="is the active version"):
        changes.set_traffic(ADMIN, MODEL, Traffic(shadow="2"))
    assert model_settings.traffic(database) == {}
    changes.set_traffic(ADMIN, MODEL, Traffic(shadow="1"))


def test_traffic_is_kept_audited_and_ended_by_an_activation(
    changes: ModelChanges, engine: StubEngine, database: Database
) -> None:
    spread = Traffic(traffic={"1": 90, "2": 10})
    assert changes.set_traffic(ADMIN, MODEL, spread) == spread
    assert model_settings.traffic(database) == {MODEL: spread}
    assert trail(database)[0].action == "model.traffic"
    changes.activate(ADMIN, MODEL, 2)
    assert model_settings.traffic(database) == {}


def test_a_policy_puts_the_versions_to_come_on_probation(
    changes: ModelChanges, engine: StubEngine, database: Database
) -> None:
    policy = Policy(auto_rollback=AutoRollback(seconds=60))
    assert changes.set_policy(ADMIN, MODEL, policy) == policy
    assert changes.policy(ADMIN, MODEL) == policy
    assert trail(database)[0].action == "model.policy"
    changes.activate(ADMIN, MODEL, 2)
    probation = model_settings.probations(database)[MODEL]
    assert (probation.version, probation.before, probation.rule.seconds) == (2, 1, 60)
    changes.roll_back(ADMIN, MODEL)
    assert model_settings.probations(database) == {}
    with pytest.raises(NotFound):
        changes.set_policy(ADMIN, "nobody", policy)


def test_an_activation_may_say_otherwise_than_the_policy(
    changes: ModelChanges, engine: StubEngine, database: Database
) -> None:
    changes.activate(ADMIN, MODEL, 2, auto_rollback=AutoRollback(max_error_rate=0.5))
    assert model_settings.probations(database)[MODEL].rule.max_error_rate == 0.5
    changes.set_policy(ADMIN, MODEL, Policy(auto_rollback=AutoRollback()))
    engine.statuses = [a_status(version=1, is_active=False), a_status(version=2)]
    changes.activate(ADMIN, MODEL, 1, auto_rollback=None)
    assert model_settings.probations(database) == {}


def test_a_commit_whose_answer_was_lost_counts_as_done(
    changes: ModelChanges, engine: StubEngine, database: Database
) -> None:
    write = database.write

    def lose_the_answer(work: object, **_: object) -> None:
        write(work)  # type: ignore[arg-type]
        raise DatabaseUnavailable("it may or may not have been recorded")

    database.write = lose_the_answer  # type: ignore[method-assign, assignment]
    assert changes.activate(ADMIN, MODEL, 2).active_version == 2
    assert engine.changes == [f"activate 2 {MODEL}"]


def test_a_version_put_there_by_hand_is_registered_when_it_is_loaded(
    changes: ModelChanges, engine: StubEngine, database: Database, tmp_path: Path
) -> None:
    engine.statuses = [a_status(name="by-hand", is_active=False)]
    directory = tmp_path / "by-hand" / "1"
    directory.mkdir(parents=True)
    (directory / "manifest.toml").write_text("x")
    engine.place = lambda *_: VersionDirectory("by-hand", 1, directory)  # type: ignore[attr-defined]
    changes.load(ADMIN, "by-hand")
    assert models.get_version(database, "by-hand", 1) is not None
    assert models.active_version(database, "by-hand") == 1
