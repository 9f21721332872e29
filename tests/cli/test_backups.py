"""`backup`, `backups`, `verify` and `restore`, against a real database and a real trial start."""

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
import falcon
import pytest
from click.testing import CliRunner, Result

from appliance import config
from appliance.actions.backup import Backups
from appliance.cli import backups as commands
from appliance.cli.connection import admin_socket_path
from appliance.clock import ManualClock
from appliance.errors import BackupInvalid, StateUnusable
from appliance.store import predictions, settings
from appliance.store.database import Database
from appliance.store.disk import DiskWatch
from appliance.store.integrity import InstanceLock
from appliance.web.problems import ErrorShapes
from appliance.web.resources.backups import BackupsResource
from tests.access_parts import opened
from tests.actions.examples import ADMIN, a_prediction
from tests.end_to_end.running import GENEROUS
from tests.rotten_backup import let_rot
from tests.web.doors import door_at

Run = Callable[..., Result]
DAY_SECONDS = 86400


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def wanted(tmp_path: Path) -> config.Config:
    return config.Config(state=config.State(dir=str(tmp_path / "state")))


@pytest.fixture
def run(wanted: config.Config) -> Run:
    def run(command: click.Command, *arguments: str) -> Result:
        return CliRunner().invoke(command, arguments, obj=wanted, catch_exceptions=False)

    return run


class AsAdmin:
    """Stands in for the access of the admin's door."""

    def process_request(self, request: falcon.Request, response: falcon.Response) -> None:
        request.context.caller = ADMIN


class Served:
    """The backups of a database, behind the admin's socket."""

    def __init__(self, tmp_path: Path, database: Database, clock: ManualClock) -> None:
        self.disk = DiskWatch(tmp_path, reserve_bytes=4096, clock=clock)
        made = Backups(
            config.Backup(daily=2, weekly=1, monthly=1),
            clock,
            database=database,
            disk=self.disk,
            directory=tmp_path / "backups",
            models_directory=tmp_path / "state" / "models",
            config_text="",
        )
        self.app: falcon.App[Any, Any] = falcon.App(middleware=[AsAdmin()])
        ErrorShapes({}).install(self.app)
        self.app.add_route("/api/v1/backups", BackupsResource(made))


@pytest.fixture
def database(tmp_path: Path, clock: ManualClock) -> Iterator[Database]:
    with opened(tmp_path / "state", clock) as database:
        predictions.record(database, a_prediction())
        yield database


@pytest.fixture
def served(
    tmp_path: Path, wanted: config.Config, database: Database, clock: ManualClock
) -> Iterator[Served]:
    served = Served(tmp_path, database, clock)
    path = admin_socket_path(wanted)
    path.parent.mkdir()
    door = door_at(path, served.app)
    door.start()
    yield served
    door.stop()


def test_a_backup_is_made_and_told_with_what_it_holds(served: Served, run: Run) -> None:
    done = run(commands.backup)
    path = Path(done.stdout.splitlines()[0])
    assert (done.exit_code, path.is_file()) == (0, True)
    assert "1 predictions" in done.stdout
    assert f"{path.stat().st_size:,} bytes, checked" in done.stdout


def test_programs_get_the_same_as_json(served: Served, run: Run) -> None:
    made = json.loads(run(commands.backup, "--json").stdout)
    (listed,) = json.loads(run(commands.backups, "--json").stdout)
    assert listed["path"] == made["path"]
    found = json.loads(run(commands.verify, made["path"], "--json").stdout)
    assert found["rows"] == made["rows"]


def test_backups_that_had_to_go_are_named(served: Served, run: Run, clock: ManualClock) -> None:
    first = json.loads(run(commands.backup, "--json").stdout)
    for _ in range(2):
        clock.advance(DAY_SECONDS)
        done = run(commands.backup)
    assert f"Removed the older {first['name']}." in done.stdout
    shown = run(commands.backups).stdout
    assert first["name"] not in shown
    assert shown.count(".backup") == 2


def test_what_the_appliance_refuses_is_said_in_its_words(served: Served, run: Run) -> None:
    served.disk.note_full()
    done = run(commands.backup)
    assert done.exit_code == 1
    assert "The disk is too full for a backup" in done.stderr


def test_without_an_appliance_the_command_says_what_to_do(run: Run) -> None:
    for command in (commands.backup, commands.backups):
        done = run(command)
        assert done.exit_code == 69
        assert "The appliance is not running" in done.stderr


def test_verify_needs_no_running_appliance(saved: Path, run: Run) -> None:
    done = run(commands.verify, str(saved))
    assert done.exit_code == 0
    assert f"{saved.name} is sound" in done.stdout
    assert "1 predictions" in done.stdout


def test_verify_tells_a_backup_that_rotted(saved: Path, run: Run) -> None:
    let_rot(saved)
    with pytest.raises(BackupInvalid):
        run(commands.verify, str(saved))


@pytest.fixture
def saved(served: Served, run: Run, database: Database) -> Path:
    """A backup with one prediction; the state then goes on to two and is closed."""
    settings.put(database, "state", "saved")
    made = json.loads(run(commands.backup, "--json").stdout)
    settings.put(database, "state", "later")
    database.close()
    return Path(made["path"])


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the trial start be one without models, which takes a second or two."""
    for name, value in GENEROUS.items():
        monkeypatch.setenv(name, value)


def says(tmp_path: Path, name: str = "state") -> Any:
    with opened(tmp_path / name, ManualClock()) as database:
        return settings.get(database, "state")


@pytest.mark.usefixtures("small")
def test_a_restore_is_proved_by_a_real_start(saved: Path, run: Run, tmp_path: Path) -> None:
    done = run(commands.restore, str(saved))
    assert done.exit_code == 0, done.output
    assert f"Restored from {saved.name}: " in done.stdout
    assert "1 predictions" in done.stdout
    assert says(tmp_path) == "saved"
    kept = Path(done.stdout.rpartition("is kept in ")[2].partition(".\n")[0])
    assert says(tmp_path, str(kept)) == "later"
    assert "config-from-backup.toml" in done.stdout


@pytest.mark.usefixtures("small")
def test_a_state_on_which_nothing_starts_is_taken_back(
    saved: Path, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("APPLIANCE_HTTP__THREADS", "none")
    with pytest.raises(BackupInvalid, match=r"(?s)exit status 78.*HTTP__THREADS") as refused:
        run(commands.restore, str(saved))
    assert "The state from before is back" in refused.value.detail
    assert says(tmp_path) == "later"


def test_nothing_is_restored_under_a_running_appliance(
    saved: Path, run: Run, tmp_path: Path
) -> None:
    lock = InstanceLock.take(tmp_path / "state")
    try:
        with pytest.raises(StateUnusable, match="in use by another appliance"):
            run(commands.restore, str(saved))
    finally:
        lock.release()
    assert says(tmp_path) == "later"


def test_a_file_that_is_not_there_is_told_before_anything_else(run: Run, tmp_path: Path) -> None:
    for command in (commands.verify, commands.restore):
        done = run(command, str(tmp_path / "missing.backup"))
        assert done.exit_code == 2
        assert "missing.backup" in done.stderr
    assert not (tmp_path / "state").exists()


def test_the_trial_is_this_very_program(monkeypatch: pytest.MonkeyPatch) -> None:
    assert commands.own_command() == [sys.executable, "-m", "appliance"]
    monkeypatch.setattr(sys, "frozen", True, raising=False)
    assert commands.own_command() == [sys.executable]
