"""One instance at a time, and a start that always ends with a usable database."""

import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from appliance import errors
from appliance.clock import ManualClock
from appliance.store import audit, backup, predictions, settings
from appliance.store.backup import Content
from appliance.store.database import FILE_NAME
from appliance.store.integrity import (
    LOCK_NAME,
    QUARANTINES_KEPT,
    InstanceLock,
    StartReport,
    prepare,
)
from appliance.store.migrate import PRE_UPGRADE_DIRECTORY
from tests.store.conftest import OpenDatabase
from tests.store.examples import NOON, a_prediction

HOLD_THE_LOCK = """
import sys, time
from pathlib import Path
from appliance.store.integrity import InstanceLock
lock = InstanceLock.take(Path(sys.argv[1]))
print("held", flush=True)
sys.stdin.read()
lock.release()
"""

WRITE_UNTIL_KILLED = """
import sys
from pathlib import Path
from appliance.clock import SystemClock
from appliance.store import settings
from appliance.store.database import FILE_NAME, Database
from appliance.store.integrity import InstanceLock
state = Path(sys.argv[1])
lock = InstanceLock.take(state)
database = Database.open(
    state / FILE_NAME, clock=SystemClock(), quota_bytes=1 << 28, queue_rows=100
)
number = 0
while True:
    settings.put(database, f"n{number}", "x" * 1000)
    print(number, flush=True)
    number += 1
"""


def _start(script: str, state_dir: Path) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        [sys.executable, "-c", script, str(state_dir)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )


def _prepare(state_dir: Path, backups_dir: Path, *, was_unclean: bool = False) -> StartReport:
    return prepare(
        state_dir, backups_dir=backups_dir, was_unclean=was_unclean, clock=ManualClock()
    )


@pytest.fixture
def backups_dir(tmp_path: Path) -> Path:
    return tmp_path / "backups"


@pytest.fixture
def stopped(open_database: OpenDatabase, backups_dir: Path) -> Path:
    """A stopped database with a backup; one row came after the backup."""
    database = open_database()
    settings.put(database, "a", 1)
    for _ in range(200):
        predictions.record(database, a_prediction(result=b"x" * 3000))
    audit.append(database, at_seconds=NOON, actor="a", action="b", subject="c")
    backup.create(database, backups_dir, content=Content(), clock=ManualClock())
    settings.put(database, "late", 1)
    audit.append(database, at_seconds=NOON, actor="a", action="b", subject="d")
    database.close()
    return database.path


def _junk_header(path: Path) -> None:
    with open(path, "r+b") as file:
        file.write(os.urandom(16))


def _cut_in_half(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def _junk_in_the_middle(path: Path) -> None:
    with open(path, "r+b") as file:
        file.seek(path.stat().st_size // 2 // 4096 * 4096)
        file.write(random.Random(1).randbytes(4096))


DAMAGES = [_junk_header, _cut_in_half, _junk_in_the_middle]


def test_the_second_instance_is_refused_and_told_who_holds_the_state(state_dir: Path) -> None:
    holder = _start(HOLD_THE_LOCK, state_dir)
    assert holder.stdout is not None
    assert holder.stdin is not None
    assert holder.stdout.readline() == b"held\n"
    with pytest.raises(errors.StateUnusable, match=f"process {holder.pid}"):
        InstanceLock.take(state_dir)
    holder.stdin.close()
    assert holder.wait(10) == 0
    holder.stdout.close()
    lock = InstanceLock.take(state_dir)
    assert not lock.was_unclean
    lock.release()


def test_a_killed_holder_leaves_the_lock_free_and_the_stop_unclean(state_dir: Path) -> None:
    holder = _start(HOLD_THE_LOCK, state_dir)
    assert holder.stdout is not None
    assert holder.stdin is not None
    assert holder.stdout.readline() == b"held\n"
    holder.kill()
    assert holder.wait(10) == -signal.SIGKILL
    holder.stdout.close()
    holder.stdin.close()
    lock = InstanceLock.take(state_dir)
    assert lock.was_unclean
    lock.release(is_clean=False)
    again = InstanceLock.take(state_dir)
    assert again.was_unclean
    again.release()
    again.release()
    assert (state_dir / LOCK_NAME).read_bytes() == b""


def test_a_missing_state_directory_is_told_in_words(tmp_path: Path) -> None:
    with pytest.raises(errors.StateUnusable, match="No such file"):
        InstanceLock.take(tmp_path / "missing")


def test_after_kill_nine_everything_acknowledged_is_there(
    state_dir: Path, backups_dir: Path, open_database: OpenDatabase
) -> None:
    writer = _start(WRITE_UNTIL_KILLED, state_dir)
    assert writer.stdout is not None
    assert writer.stdin is not None
    acknowledged = [int(writer.stdout.readline()) for _ in range(60)]
    writer.kill()
    writer.wait(10)
    acknowledged += [int(line) for line in writer.stdout.read().splitlines() if line]
    writer.stdout.close()
    writer.stdin.close()
    lock = InstanceLock.take(state_dir)
    report = _prepare(state_dir, backups_dir, was_unclean=lock.was_unclean)
    assert (report.was_unclean, report.was_checked, report.damage) == (True, True, "")
    database = open_database()
    with database.read() as connection:
        found = {row[0] for row in connection.sql("SELECT name FROM settings")}
    assert {f"n{number}" for number in acknowledged} <= found
    lock.release()


def test_a_sound_database_is_left_alone(stopped: Path, backups_dir: Path) -> None:
    before = stopped.read_bytes()
    report = _prepare(stopped.parent, backups_dir)
    assert (report.damage, report.has_recovered, report.lost) == ("", False, "")
    assert stopped.read_bytes() == before


def test_the_first_start_has_nothing_to_check(state_dir: Path, backups_dir: Path) -> None:
    assert _prepare(state_dir, backups_dir) == StartReport()


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_database_is_kept_aside_and_the_backup_takes_its_place(
    stopped: Path, backups_dir: Path, open_database: OpenDatabase, damage: object
) -> None:
    damage(stopped)  # type: ignore[operator]
    spoilt = stopped.read_bytes()
    report = _prepare(stopped.parent, backups_dir)
    assert report.damage
    assert report.has_recovered
    assert report.quarantined[0].startswith(f"{FILE_NAME}.corrupt-2026")
    assert (stopped.parent / report.quarantined[0]).read_bytes() == spoilt
    assert ".backup took its place" in report.lost
    assert "missing" in report.lost
    database = open_database()
    assert settings.get(database, "a") == 1
    assert settings.get(database, "late") is None
    assert predictions.count(database) == 200
    assert audit.verify(database, head_file=stopped.parent / audit.HEAD_FILE) is None


@pytest.mark.parametrize("damage", DAMAGES)
def test_without_a_backup_it_starts_empty_and_says_what_is_lost(
    stopped: Path, tmp_path: Path, open_database: OpenDatabase, damage: object
) -> None:
    damage(stopped)  # type: ignore[operator]
    report = _prepare(stopped.parent, tmp_path / "no-backups")
    assert report.restored_from == ""
    assert "start empty" in report.lost
    assert predictions.count(open_database()) == 0


def test_an_unsound_backup_is_passed_over_for_an_older_one(
    stopped: Path, backups_dir: Path, open_database: OpenDatabase
) -> None:
    (good,) = backups_dir.glob("*.backup")
    spoilt = backups_dir / "appliance-20291231T000000Z-v0.1.0-s1.backup"
    spoilt.write_bytes(good.read_bytes()[:-1000])
    _cut_in_half(stopped)
    report = _prepare(stopped.parent, backups_dir)
    assert report.restored_from == str(good)
    assert settings.get(open_database(), "a") == 1


def test_a_copy_from_before_an_upgrade_is_the_last_resort(
    stopped: Path, tmp_path: Path, open_database: OpenDatabase
) -> None:
    directory = stopped.parent / PRE_UPGRADE_DIRECTORY
    directory.mkdir()
    (directory / "appliance-s1-20260101T000000Z.db").write_bytes(stopped.read_bytes())
    _junk_header(stopped)
    report = _prepare(stopped.parent, tmp_path / "no-backups")
    assert "appliance-s1" in report.restored_from
    assert settings.get(open_database(), "late") == 1


def test_quarantined_files_do_not_pile_up(stopped: Path, backups_dir: Path) -> None:
    clock = ManualClock()
    for _ in range(QUARANTINES_KEPT + 2):
        _junk_header(stopped)
        prepare(stopped.parent, backups_dir=backups_dir, was_unclean=False, clock=clock)
        clock.advance(60)
    kept = [
        path
        for path in stopped.parent.glob("*.corrupt-*")
        if not path.name.endswith(audit.HEAD_FILE)
    ]
    assert len(kept) == QUARANTINES_KEPT


def test_leftovers_of_every_kind_do_not_stop_the_start(
    stopped: Path, backups_dir: Path, open_database: OpenDatabase
) -> None:
    state = stopped.parent
    (state / LOCK_NAME).write_text("999999\n")
    (state / f"{FILE_NAME}-shm").write_bytes(os.urandom(32768))
    (state / "restoring-20200101T000000Z").mkdir()
    (state / "audit-head.tmp").write_bytes(b"{")
    lock = InstanceLock.take(state)
    report = _prepare(state, backups_dir, was_unclean=lock.was_unclean)
    assert (report.was_unclean, report.damage) == (True, "")
    assert settings.get(open_database(), "late") == 1
    assert not (state / "restoring-20200101T000000Z").exists()
    lock.release()


def test_a_garbled_log_is_read_as_far_as_it_is_sound(
    open_database: OpenDatabase, state_dir: Path, tmp_path: Path, backups_dir: Path
) -> None:
    database = open_database()
    for number in range(50):
        settings.put(database, f"n{number}", number)
    survivor = tmp_path / "survivor"
    survivor.mkdir(mode=0o700)
    for name in (FILE_NAME, f"{FILE_NAME}-wal"):
        (survivor / name).write_bytes((state_dir / name).read_bytes())
        (survivor / name).chmod(0o600)
    log = bytearray((survivor / f"{FILE_NAME}-wal").read_bytes())
    log[len(log) // 2 :] = os.urandom(len(log) - len(log) // 2)
    (survivor / f"{FILE_NAME}-wal").write_bytes(log)
    report = _prepare(survivor, backups_dir, was_unclean=True)
    assert report.damage == ""
    reopened = open_database(path=survivor / FILE_NAME)
    assert settings.get(reopened, "n0") == 0
    settings.put(reopened, "after", 1)
