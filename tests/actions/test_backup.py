"""Backups are made, listed, checked and rotated, and each leaves its trace."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance import __version__
from appliance.actions import audit
from appliance.actions.backup import Backups, checked
from appliance.clock import ManualClock
from appliance.config import Backup
from appliance.errors import BackupInvalid, Conflict, InsufficientStorage, NotFound, Problem
from appliance.store import predictions
from appliance.store.database import Database
from appliance.store.disk import DiskWatch
from tests.access_parts import opened
from tests.actions.examples import ADMIN, a_prediction
from tests.rotten_backup import let_rot

DAY_SECONDS = 86400


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def database(tmp_path: Path, clock: ManualClock) -> Iterator[Database]:
    with opened(tmp_path / "state", clock) as database:
        yield database


@pytest.fixture
def disk(tmp_path: Path, clock: ManualClock) -> DiskWatch:
    return DiskWatch(tmp_path, reserve_bytes=4096, clock=clock)


@pytest.fixture
def backups(tmp_path: Path, database: Database, clock: ManualClock, disk: DiskWatch) -> Backups:
    models = tmp_path / "models" / "vehicle-type" / "1"
    models.mkdir(parents=True)
    (models / "manifest.toml").write_text('name = "vehicle-type"')
    (models / "model.bin").write_bytes(bytes(50_000))
    return Backups(
        Backup(daily=2, weekly=1, monthly=1),
        clock,
        database=database,
        disk=disk,
        directory=tmp_path / "backups",
        models_directory=tmp_path / "models",
        config_text="[http]\nport = 8080\n",
    )


def test_a_backup_is_made_checked_and_listed(
    backups: Backups, database: Database, tmp_path: Path
) -> None:
    for _ in range(3):
        predictions.record(database, a_prediction())
    made = backups.create(ADMIN, with_models=False)
    assert made.rows["predictions"] == 3
    assert Path(made.path) == tmp_path / "backups" / made.name
    assert Path(made.path).stat().st_size == made.bytes
    (listed,) = backups.entries().backups
    assert (listed.name, listed.path, listed.bytes) == (made.name, made.path, made.bytes)
    assert (listed.made, listed.version) == ("2026-09-21T14:13:20.000Z", __version__)
    assert backups.check(made.name).rows["predictions"] == 3
    newest = backups.newest()
    assert newest is not None
    assert newest.path.name == made.name


def test_who_made_a_backup_is_in_the_audit(backups: Backups, database: Database) -> None:
    made = backups.create(ADMIN, with_models=False)
    ((row,), _) = audit.page(database, before_sequence=None, limit=10)
    assert (row.actor, row.action, row.subject) == ("ann (admin1)", "backup.create", made.name)
    assert audit.verify(database) is None


def test_model_files_go_in_when_asked_for(backups: Backups, clock: ManualClock) -> None:
    without = backups.create(ADMIN, with_models=False)
    clock.advance(60)
    whole = backups.create(ADMIN, with_models=True)
    assert whole.bytes > without.bytes + 50_000


def test_old_backups_go_when_a_new_one_is_sound(backups: Backups, clock: ManualClock) -> None:
    made = []
    for _ in range(4):
        made.append(backups.create(ADMIN, with_models=False))
        clock.advance(DAY_SECONDS)
    kept = [one.name for one in backups.entries().backups]
    assert kept == [made[3].name, made[2].name]
    assert made[2].removed == (made[0].name,)
    assert made[3].removed == (made[1].name,)


def test_without_backups_the_list_is_empty(backups: Backups) -> None:
    assert backups.entries().backups == ()
    assert backups.newest() is None


@pytest.mark.parametrize("name", ["", "../state/appliance.db", "nothing.backup", "x" * 500])
def test_only_listed_backups_can_be_checked(backups: Backups, name: str) -> None:
    backups.create(ADMIN, with_models=False)
    with pytest.raises(NotFound) as refused:
        backups.check(name)
    assert len(refused.value.detail) < 200


def test_a_backup_that_rotted_is_told(backups: Backups) -> None:
    made = backups.create(ADMIN, with_models=False)
    path = Path(made.path)
    let_rot(path)
    with pytest.raises(BackupInvalid):
        backups.check(made.name)
    with pytest.raises(BackupInvalid):
        checked(path)


def test_no_backup_is_begun_on_a_full_disk(backups: Backups, disk: DiskWatch) -> None:
    disk.note_full()
    with pytest.raises(InsufficientStorage):
        backups.create(ADMIN, with_models=False)
    assert backups.entries().backups == ()


def test_of_two_backups_at_once_one_is_refused_or_waits_its_turn(backups: Backups) -> None:
    answers: list[object] = []
    start = threading.Barrier(2)

    def make() -> None:
        start.wait(30)
        try:
            answers.append(backups.create(ADMIN, with_models=True))
        except Problem as fault:
            answers.append(fault)

    threads = [threading.Thread(target=make) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    refused = [one for one in answers if isinstance(one, Problem)]
    assert all(isinstance(one, Conflict) for one in refused)
    assert len(answers) == 2
    assert len(refused) < 2
    assert all(backups.check(one.name) for one in backups.entries().backups)


def test_a_backup_that_failed_its_check_is_remembered_until_it_passes_one(
    backups: Backups, clock: ManualClock, database: Database, disk: DiskWatch, tmp_path: Path
) -> None:
    made = backups.create(ADMIN, with_models=False)
    path = Path(made.path)
    whole = path.read_bytes()
    assert not backups.is_unsound(made.name)
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(BackupInvalid):
        backups.check(made.name)
    restarted = Backups(
        Backup(),
        clock,
        database=database,
        disk=disk,
        directory=tmp_path / "backups",
        models_directory=tmp_path / "models",
        config_text="",
    )
    assert backups.is_unsound(made.name)
    assert restarted.is_unsound(made.name)
    path.write_bytes(whole)
    restarted.check(made.name)
    assert not restarted.is_unsound(made.name)


def test_one_check_runs_at_a_time(backups: Backups) -> None:
    made = backups.create(ADMIN, with_models=False)
    with backups._checking, pytest.raises(Conflict, match="being checked"):
        backups.check(made.name)
    assert backups.check(made.name).name == made.name
