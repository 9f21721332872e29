"""A restore counts only when an appliance starts on it; otherwise the old state is back."""

from collections.abc import Callable
from pathlib import Path

import pytest

from appliance.actions.restore import restore_and_prove
from appliance.clock import ManualClock
from appliance.errors import BackupInvalid, StateUnusable
from appliance.store import audit, backup, predictions, settings
from appliance.store.backup import Content
from appliance.store.database import FILE_NAME, Database
from appliance.store.integrity import InstanceLock
from tests.access_parts import opened
from tests.actions.examples import a_prediction
from tests.rotten_backup import let_rot


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def state_dir(tmp_path: Path) -> Path:
    return tmp_path / "state"


@pytest.fixture
def saved(tmp_path: Path, state_dir: Path, clock: ManualClock) -> Path:
    """A backup of a state that says 'saved'; the state itself then goes on to say 'later'."""
    with opened(state_dir, clock) as database:
        settings.put(database, "state", "saved")
        predictions.record(database, a_prediction())
        made = backup.create(
            database, tmp_path / "backups", content=Content(config_text=""), clock=clock
        )
        settings.put(database, "state", "later")
        predictions.record(database, a_prediction())
    return made.path


def says(state_dir: Path, clock: ManualClock) -> object:
    with opened(state_dir, clock) as database:
        return settings.get(database, "state")


def is_free(state_dir: Path) -> bool:
    InstanceLock.take(state_dir).release()
    return True


def test_a_restore_that_starts_takes_place(
    saved: Path, state_dir: Path, clock: ManualClock
) -> None:
    during: list[object] = []

    def starts() -> str:
        assert is_free(state_dir), "the trial must be able to take the lock"
        during.append(says(state_dir, clock))
        return ""

    done = restore_and_prove(saved, state_dir, clock=clock, starts=starts)
    assert during == ["saved"]
    assert says(state_dir, clock) == "saved"
    assert (done.from_backup, done.rows["predictions"]) == (saved.name, 1)
    assert says(Path(done.old_state), clock) == "later"
    assert is_free(state_dir)


def test_a_failing_trial_start_brings_the_old_state_back(
    saved: Path, state_dir: Path, clock: ManualClock
) -> None:
    with pytest.raises(BackupInvalid, match=r"exit status 78.*state from before is back") as told:
        restore_and_prove(saved, state_dir, clock=clock, starts=lambda: "exit status 78")
    assert says(state_dir, clock) == "later"
    failed = Path(told.value.detail.rpartition(" in ")[2].rstrip("."))
    assert says(failed, clock) == "saved"
    assert is_free(state_dir)


def interrupted() -> str:
    raise KeyboardInterrupt


def broken_trial() -> str:
    raise OSError("the program cannot be executed")


@pytest.mark.parametrize("starts", [interrupted, broken_trial])
def test_a_trial_that_breaks_off_brings_the_old_state_back(
    saved: Path, state_dir: Path, clock: ManualClock, starts: Callable[[], str]
) -> None:
    with pytest.raises((KeyboardInterrupt, OSError)):
        restore_and_prove(saved, state_dir, clock=clock, starts=starts)
    assert says(state_dir, clock) == "later"
    assert is_free(state_dir)


def never() -> str:
    raise AssertionError("nothing was restored, so nothing is to be tried")


def test_nothing_is_touched_while_an_appliance_runs(
    saved: Path, state_dir: Path, clock: ManualClock
) -> None:
    lock = InstanceLock.take(state_dir)
    try:
        with pytest.raises(StateUnusable, match="in use"):
            restore_and_prove(saved, state_dir, clock=clock, starts=never)
    finally:
        lock.release()
    assert says(state_dir, clock) == "later"


def test_an_unsound_backup_changes_nothing(
    saved: Path, state_dir: Path, clock: ManualClock
) -> None:
    let_rot(saved)
    with pytest.raises(BackupInvalid):
        restore_and_prove(saved, state_dir, clock=clock, starts=never)
    assert says(state_dir, clock) == "later"
    assert is_free(state_dir)


def test_what_was_recorded_after_the_backup_is_kept_in_the_old_state(
    saved: Path, state_dir: Path, clock: ManualClock
) -> None:
    done = restore_and_prove(saved, state_dir, clock=clock, starts=lambda: "")

    def rows(database: Database) -> int:
        return predictions.count(database)

    with opened(Path(done.old_state), clock) as database:
        assert rows(database) == 2
    with opened(state_dir, clock) as database:
        assert rows(database) == 1


def test_a_restore_is_an_act_of_the_audit(
    saved: Path, state_dir: Path, clock: ManualClock
) -> None:
    done = restore_and_prove(saved, state_dir, clock=clock, starts=lambda: "")
    with opened(state_dir, clock) as database:
        (row,) = audit.rows(database)
        assert audit.verify(database, head_file=state_dir / audit.HEAD_FILE) is None
    assert (row.actor, row.action, row.subject) == ("local-admin", "state.restore", saved.name)
    assert Path(done.old_state).name in row.detail


def test_a_restore_that_was_taken_back_leaves_no_act(
    saved: Path, state_dir: Path, clock: ManualClock
) -> None:
    with pytest.raises(BackupInvalid):
        restore_and_prove(saved, state_dir, clock=clock, starts=lambda: "exit status 78")
    with opened(state_dir, clock) as database:
        assert audit.rows(database) == ()


def test_a_proved_restore_stands_even_if_it_cannot_be_written_down(
    saved: Path, state_dir: Path, clock: ManualClock
) -> None:
    def starts() -> str:
        (state_dir / FILE_NAME).chmod(0o644)  # such a database is refused
        return ""

    assert restore_and_prove(saved, state_dir, clock=clock, starts=starts).old_state
    (state_dir / FILE_NAME).chmod(0o600)
    assert says(state_dir, clock) == "saved"
