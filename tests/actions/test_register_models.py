"""After a start the database knows every model on disk, and each has a version that answers."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.actions.register_models import register_models
from appliance.clock import ManualClock
from appliance.library.checksums import SUMS_NAME, sha256_of, write_sums
from appliance.store import models
from appliance.store.database import Database
from tests.access_parts import opened


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def database(tmp_path: Path, clock: ManualClock) -> Iterator[Database]:
    with opened(tmp_path / "state", clock) as database:
        yield database


@pytest.fixture
def library(tmp_path: Path) -> Path:
    directory = tmp_path / "models"
    directory.mkdir()
    return directory


def install(library: Path, name: str, version: int) -> Path:
    directory = library / name / str(version)
    (directory / "golden").mkdir(parents=True)
    (directory / "manifest.toml").write_text("x" * 100)
    (directory / "golden" / "red.png").write_bytes(b"y" * 50)
    write_sums(directory)
    return directory


def test_an_empty_library_registers_nothing(
    database: Database, library: Path, clock: ManualClock
) -> None:
    assert register_models(database, library, clock) == {}
    assert models.versions(database) == ()


def test_every_version_is_known_and_the_newest_answers(
    database: Database, library: Path, clock: ManualClock
) -> None:
    directory = install(library, "vehicle-type", 2)
    install(library, "vehicle-type", 10)
    install(library, "step-detector", 1)
    active = register_models(database, library, clock)
    assert active == {"vehicle-type": 10, "step-detector": 1}
    assert models.active_versions(database) == active
    known = [(one.name, one.version) for one in models.versions(database)]
    assert known == [("step-detector", 1), ("vehicle-type", 2), ("vehicle-type", 10)]
    version = models.get_version(database, "vehicle-type", 2)
    assert version is not None
    sums = directory / SUMS_NAME
    assert version.sha256 == sha256_of(sums)
    assert version.size_bytes == 150 + sums.stat().st_size
    assert version.created_seconds == clock.wall_seconds()


def test_a_second_start_changes_nothing(
    database: Database, library: Path, clock: ManualClock
) -> None:
    install(library, "vehicle-type", 1)
    register_models(database, library, clock)
    before = models.versions(database), models.switches(database)
    clock.advance(60)
    register_models(database, library, clock)
    assert (models.versions(database), models.switches(database)) == before


def test_a_newer_version_on_disk_does_not_answer_by_itself(
    database: Database, library: Path, clock: ManualClock
) -> None:
    install(library, "vehicle-type", 1)
    register_models(database, library, clock)
    install(library, "vehicle-type", 2)
    assert register_models(database, library, clock) == {"vehicle-type": 1}
    assert models.get_version(database, "vehicle-type", 2) is not None


def test_an_active_version_gone_from_disk_is_followed_by_the_newest(
    database: Database, library: Path, clock: ManualClock
) -> None:
    for version in (1, 2, 3):
        install(library, "vehicle-type", version)
    register_models(database, library, clock)
    shutil.rmtree(library / "vehicle-type" / "3")
    assert register_models(database, library, clock) == {"vehicle-type": 2}
    assert models.active_versions(database) == {"vehicle-type": 2}
    assert models.switches(database)[0].actor == "first-start"


def test_a_model_gone_from_disk_is_not_served(
    database: Database, library: Path, clock: ManualClock
) -> None:
    install(library, "vehicle-type", 1)
    install(library, "step-detector", 1)
    register_models(database, library, clock)
    shutil.rmtree(library / "vehicle-type")
    assert register_models(database, library, clock) == {"step-detector": 1}


def test_a_version_without_checksums_is_known_all_the_same(
    database: Database, library: Path, clock: ManualClock
) -> None:
    (install(library, "vehicle-type", 1) / SUMS_NAME).unlink()
    assert register_models(database, library, clock) == {"vehicle-type": 1}
    version = models.get_version(database, "vehicle-type", 1)
    assert version is not None
    assert version.sha256 == ""


def test_a_database_begun_anew_learns_the_library_again(
    tmp_path: Path, library: Path, clock: ManualClock
) -> None:
    install(library, "vehicle-type", 1)
    for state in ("old", "new"):
        with opened(tmp_path / state, clock) as database:
            assert register_models(database, library, clock) == {"vehicle-type": 1}
            assert models.active_versions(database) == {"vehicle-type": 1}
