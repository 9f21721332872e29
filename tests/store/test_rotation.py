"""Which backups stay."""

from pathlib import Path

import pytest

from appliance.clock import ManualClock
from appliance.store import backup, rotation
from appliance.store.database import Database
from appliance.store.files import utc_stamp
from tests.store.examples import NOON

DAY = 86400.0


def _name(day: float, version: str = "0.1.0") -> str:
    return f"host-{utc_stamp(NOON - day * DAY)}-v{version}-s1.backup"


@pytest.fixture
def sound(database: Database, tmp_path: Path) -> Path:
    """A real backup, the newest of the directory."""
    content = backup.Content(host="host")
    return backup.create(database, tmp_path, content=content, clock=ManualClock(NOON)).path


def test_backups_are_listed_newest_first_and_others_ignored(tmp_path: Path) -> None:
    for name in (_name(2), _name(0), _name(1, "1.0~rc1+dfsg"), "x.backup", "new.backup.tmp"):
        (tmp_path / name).write_bytes(b"x")
    found = rotation.listed(tmp_path)
    assert [one.path.name for one in found] == [_name(0), _name(1, "1.0~rc1+dfsg"), _name(2)]
    assert (found[1].version, found[1].schema, found[1].bytes) == ("1.0~rc1+dfsg", 1, 1)
    assert found[0].made_seconds == NOON


def test_days_weeks_and_months_keep_their_newest(sound: Path) -> None:
    for day in range(1, 400):
        (sound.parent / _name(day)).write_bytes(b"x")
    rotation.rotate(sound.parent, daily=7, weekly=4, monthly=6, verified=sound)
    kept = rotation.listed(sound.parent)
    ages = [round((NOON - one.made_seconds) / DAY) for one in kept]
    assert ages[:7] == list(range(7))
    assert 12 <= len(ages) <= 17
    assert 140 <= ages[-1] <= 190


def test_two_of_one_day_count_once(sound: Path) -> None:
    for hours in (1, 2, 3):
        (sound.parent / _name(hours / 24)).write_bytes(b"x")
    gone = rotation.rotate(sound.parent, daily=7, weekly=4, monthly=6, verified=sound)
    assert len(gone) == 3


def test_the_newest_sound_backup_stays_even_when_it_is_old(sound: Path) -> None:
    for day in range(-3, 0):
        (sound.parent / _name(day)).write_bytes(b"not a backup")
    assert rotation.newest_sound(sound.parent) == sound
    rotation.rotate(sound.parent, daily=1, weekly=1, monthly=1)
    assert sound.exists()


def test_without_a_sound_backup_nothing_goes(tmp_path: Path) -> None:
    for day in range(10):
        (tmp_path / _name(day)).write_bytes(b"not a backup")
    assert rotation.rotate(tmp_path, daily=1, weekly=1, monthly=1) == ()
    assert len(rotation.listed(tmp_path)) == 10


def test_files_of_other_names_are_never_touched(sound: Path) -> None:
    other = sound.parent / "host-before-the-upgrade.backup"
    other.write_bytes(b"x")
    rotation.rotate(sound.parent, daily=1, weekly=1, monthly=1, verified=sound)
    assert other.exists()


def test_a_missing_directory_has_no_backups(tmp_path: Path) -> None:
    assert rotation.listed(tmp_path / "missing") == ()
