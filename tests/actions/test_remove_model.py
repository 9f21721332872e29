"""Versions go when asked to, old ones by themselves, and never one that is needed."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from appliance.actions.register_models import register_models
from appliance.actions.remove_model import ModelRemoval, finish_removals, removed_starters
from appliance.clock import ManualClock
from appliance.errors import Conflict, Forbidden, NotFound
from appliance.identifiers import new_id
from appliance.library.versions import install_starters, installed_versions, starter_versions
from appliance.store import jobs, models
from appliance.store.database import Database
from appliance.store.jobs import StoredJob
from tests.access_parts import opened
from tests.actions.examples import ADMIN, a_device
from tests.tiny_models import write_colour_model


class EngineOfFiles:
    """Removes as the engine does: asks first, then forgets the host."""

    def __init__(self, active: int | None = None) -> None:
        self.active = active
        self.forgotten: list[tuple[str, int]] = []

    def remove(self, model: str, version: int, *, commit: Callable[[int | None], None]) -> None:
        if version == self.active:
            raise Conflict(f"{model}@{version} is active.")
        commit(self.active)
        self.forgotten.append((model, version))


class Parts:
    """A library with versions of `colour`, and what removes them."""

    def __init__(self, database: Database, directory: Path) -> None:
        self.database = database
        self.directory = directory / "models"
        self.directory.mkdir()
        self.clock = ManualClock()
        self.engine = EngineOfFiles()
        self.removal = ModelRemoval(
            self.engine,  # type: ignore[arg-type]
            self.clock,
            database=database,
            models_directory=self.directory,
        )

    def have(self, *versions: int) -> None:
        for version in versions:
            write_colour_model(self.directory, version=version, has_golden=False)
        register_models(self.database, self.directory, self.clock)

    def switch(self, version: int) -> None:
        models.switch(self.database, "colour", version, actor="t", at_seconds=0)
        self.engine.active = version

    def pin(self, version: int) -> None:
        """Have a job wait that needs a version."""
        job = StoredJob(
            id=new_id(),
            kind="play",
            pins=(f"colour@{version}",),
            params={},
            key_id="k",
            key_name="k",
            request_id="r",
            created_seconds=0,
            due_seconds=0,
            allowed_attempts=1,
        )
        jobs.add(self.database, job, most_waiting=10)

    def on_disk(self) -> list[int]:
        return [place.version for place in installed_versions(self.directory)]

    def known(self) -> list[int]:
        return [row.version for row in models.versions(self.database, "colour")]


@pytest.fixture
def parts(tmp_path: Path) -> Iterator[Parts]:
    with opened(tmp_path / "state", ManualClock()) as database:
        yield Parts(database, tmp_path)


def test_a_version_goes_with_its_row_files_and_host(parts: Parts) -> None:
    parts.have(1, 2)
    parts.switch(2)
    parts.removal.remove(ADMIN, "colour", 1)
    assert parts.on_disk() == parts.known() == [2]
    assert parts.engine.forgotten == [("colour", 1)]
    assert list((parts.directory / ".incoming").iterdir()) == []


def test_the_active_version_stays(parts: Parts) -> None:
    """C-93."""
    parts.have(1)
    parts.switch(1)
    with pytest.raises(Conflict, match="active"):
        parts.removal.remove(ADMIN, "colour", 1)
    parts.engine.active = None  # the database knows better than an engine that is starting
    with pytest.raises(Conflict, match="active"):
        parts.removal.remove(ADMIN, "colour", 1)
    assert parts.on_disk() == [1]


def test_what_jobs_wait_for_stays(parts: Parts) -> None:
    """C-93."""
    parts.have(1, 2)
    parts.switch(2)
    parts.pin(1)
    with pytest.raises(Conflict, match="Jobs wait"):
        parts.removal.remove(ADMIN, "colour", 1)
    assert parts.on_disk() == [1, 2]


def test_failed_versions_go_and_imports_stay(parts: Parts) -> None:
    models.begin_version(parts.database, "colour", None, state="failed", at_seconds=0)
    parts.removal.remove(ADMIN, "colour", 1)
    models.begin_version(parts.database, "colour", None, state="validating", at_seconds=0)
    with pytest.raises(Conflict, match="imported"):
        parts.removal.remove(ADMIN, "colour", 1)
    assert parts.known() == [1]


def test_what_is_not_there_and_what_is_not_ones_own(parts: Parts) -> None:
    with pytest.raises(NotFound):
        parts.removal.remove(ADMIN, "colour", 1)
    with pytest.raises(NotFound):
        parts.removal.remove(ADMIN, "../models", 1)
    with pytest.raises(Forbidden):
        parts.removal.remove(a_device(models=("other",)), "colour", 1)


def test_a_crash_between_row_and_files_is_made_good(parts: Parts) -> None:
    parts.have(1, 2)
    parts.switch(2)
    models.set_state(parts.database, "colour", 1, state="removing")
    finish_removals(parts.database, parts.directory)
    assert parts.on_disk() == parts.known() == [2]


def test_two_that_answered_before_stay_and_newer_ones(parts: Parts) -> None:
    parts.have(1)
    parts.have(2, 3, 4, 5, 6)
    for version in (3, 4, 5):
        parts.switch(version)
    assert parts.removal.prune_versions(ADMIN, "colour") == (1, 2)
    assert parts.on_disk() == [3, 4, 5, 6]
    assert models.previous_version(parts.database, "colour") == 4


def test_without_an_active_version_nothing_is_pruned(parts: Parts) -> None:
    assert parts.removal.prune_versions(ADMIN, "colour") == ()


def test_what_cannot_go_now_is_kept(parts: Parts) -> None:
    parts.have(1, 2, 3, 4)
    parts.switch(4)
    parts.pin(1)
    assert parts.removal.prune_versions(ADMIN, "colour") == ()
    assert parts.on_disk() == [1, 2, 3, 4]


def test_a_shipped_model_that_was_removed_does_not_come_back(parts: Parts) -> None:
    install_starters(parts.directory)
    register_models(parts.database, parts.directory, parts.clock)
    name, version = sorted(starter_versions())[0]
    models.switch(parts.database, name, None, actor="t", at_seconds=0)
    parts.removal.remove(ADMIN, name, version)
    assert removed_starters(parts.database) == {(name, version)}
    install_starters(parts.directory, removed=removed_starters(parts.database))
    names = [place.model for place in installed_versions(parts.directory)]
    assert name not in names
    assert len(names) == len(starter_versions()) - 1
