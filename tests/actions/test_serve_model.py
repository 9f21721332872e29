"""Changes of what is served take place and leave their trace, or neither."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from appliance.actions import audit
from appliance.actions.callers import Caller
from appliance.actions.serve_model import ModelChanges
from appliance.clock import ManualClock
from appliance.errors import Forbidden, ModelInvalid, NotFound, Unavailable
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
        ("ann (admin1)", "model.load", MODEL),
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


CHANGES: dict[str, Callable[[ModelChanges, Caller], None]] = {
    "load": lambda changes, caller: changes.load(caller, MODEL),
    "unload": lambda changes, caller: changes.unload(caller, MODEL),
    "activate": lambda changes, caller: changes.activate(caller, MODEL, 2),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_what_fails_in_the_engine_leaves_no_trace(
    changes: ModelChanges,
    engine: StubEngine,
    database: Database,
    change: Callable[[ModelChanges, Caller], None],
) -> None:
    engine.fault = broken()
    with pytest.raises(ModelInvalid):
        change(changes, ADMIN)
    assert trail(database) == []
    assert models.active_version(database, MODEL) == 1


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_nobody_changes_a_model_outside_the_scope_of_the_key(
    changes: ModelChanges, engine: StubEngine, change: Callable[[ModelChanges, Caller], None]
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


def test_what_cannot_be_written_down_is_told(changes: ModelChanges, database: Database) -> None:
    database.close()
    with pytest.raises(Unavailable):
        changes.load(ADMIN, MODEL)
