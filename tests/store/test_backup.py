"""A backup is whole, checked, and holds what was acknowledged before it began."""

import sys
import threading
import zipfile
from pathlib import Path

import apsw
import msgspec
import pytest

import appliance
from appliance import errors
from appliance.clock import ManualClock, SystemClock
from appliance.store import backup, keys, predictions, rotation, settings
from appliance.store.archive import MANIFEST_MEMBER, BackupManifest, read_manifest
from appliance.store.backup import Content
from appliance.store.database import FILE_NAME, Database
from appliance.store.disk import DiskWatch
from appliance.store.migrations import LATEST
from tests.rotten_backup import let_rot
from tests.store.conftest import OpenDatabase
from tests.store.examples import a_key, a_prediction, wait_until
from tests.store.kill import require_strace, run_until
from tests.store.small_disk import MEBIBYTE, fill, small_disk

CONFIG = "[http]\nport = 8080\n"


@pytest.fixture
def models_dir(tmp_path: Path) -> Path:
    directory = tmp_path / "models"
    version = directory / "vehicle-type" / "3"
    (version / "golden").mkdir(parents=True)
    (version / "manifest.toml").write_text('name = "vehicle-type"')
    (version / "model.bin").write_bytes(bytes(range(256)) * 1000)
    (version / "golden" / "truck.png").write_bytes(b"png")
    (version / "link").symlink_to("/etc/passwd")
    (directory / ".importing").mkdir()
    (directory / ".importing" / "half").write_bytes(b"x")
    return directory


@pytest.fixture
def filled(database: Database) -> Database:
    keys.add(database, a_key())
    for _ in range(300):
        predictions.record(database, a_prediction())
    assert database.flush()
    return database


def _create(database: Database, directory: Path, **content: object) -> backup.Backup:
    return backup.create(
        database,
        directory,
        content=Content(config_text=CONFIG, host="box 1/x", **content),  # type: ignore[arg-type]
        clock=ManualClock(),
    )


def test_a_backup_says_what_it_holds(filled: Database, tmp_path: Path, models_dir: Path) -> None:
    made = _create(filled, tmp_path / "b", models_dir=models_dir)
    assert made.path.name == (
        f"box_1_x-20260921T141320Z-v{appliance.__version__}-s{LATEST}.backup"
    )
    assert made.path.stat().st_mode & 0o777 == 0o640
    manifest = backup.verify(made.path)
    assert manifest == made.manifest == read_manifest(made.path)
    assert (manifest.product, manifest.schema) == ("inference-appliance", LATEST)
    assert (manifest.tables["predictions"].rows, manifest.tables["predictions"].max_id) == (
        300,
        300,
    )
    assert manifest.tables["keys"].rows == 1
    assert sorted(manifest.members) == [
        "appliance.db",
        "config.toml",
        "models/vehicle-type/3/manifest.toml",
    ]
    assert [one.name for one in made.path.parent.iterdir() if one.name != ".lock"] == [
        made.path.name
    ]


def test_model_files_are_in_it_when_asked_for(
    filled: Database, tmp_path: Path, models_dir: Path
) -> None:
    made = _create(filled, tmp_path / "b", models_dir=models_dir, with_model_files=True)
    assert sorted(name for name in made.manifest.members if name.startswith("models/")) == [
        "models/vehicle-type/3/golden/truck.png",
        "models/vehicle-type/3/manifest.toml",
        "models/vehicle-type/3/model.bin",
    ]
    backup.verify(made.path)


def test_every_row_acknowledged_before_the_start_is_in_it(
    open_database: OpenDatabase, tmp_path: Path
) -> None:
    database = open_database(clock=SystemClock())
    stop = threading.Event()
    acknowledged: list[int] = []

    def write() -> None:
        number = 0
        while not stop.is_set():
            settings.put(database, f"n{number}", number)
            predictions.record(database, a_prediction())
            acknowledged.append(number)
            number += 1

    writing = threading.Thread(target=write)
    writing.start()
    try:
        for round_number in range(3):
            wait_until(lambda: len(acknowledged) > 20 * (round_number + 1))  # noqa: B023
            before = len(acknowledged)
            directory = tmp_path / str(round_number)
            made = backup.create(database, directory, content=Content(), clock=SystemClock())
            assert made.manifest.tables["predictions"].rows >= before
            with zipfile.ZipFile(made.path) as archive:
                archive.extract("appliance.db", directory)
            copy = apsw.Connection(str(directory / "appliance.db"))
            names = {row[0] for row in copy.execute("SELECT name FROM settings")}
            copy.close()
            assert {f"n{number}" for number in range(before)} <= names
    finally:
        stop.set()
        writing.join()


def test_only_one_backup_is_made_at_a_time(filled: Database, tmp_path: Path) -> None:
    with backup._only_one(tmp_path), pytest.raises(errors.Conflict, match="right now"):
        _create(filled, tmp_path)


def test_what_a_killed_backup_has_left_is_removed(filled: Database, tmp_path: Path) -> None:
    (tmp_path / "appliance.db.tmp").write_bytes(b"half")
    (tmp_path / "new.backup.tmp").write_bytes(b"half")
    (tmp_path / ".verify-abc").mkdir()
    made = _create(filled, tmp_path)
    left = {one.name for one in tmp_path.iterdir()} - {"state", ".lock"}
    assert left == {made.path.name}


def test_on_a_disk_without_room_the_backup_fails_and_older_ones_stay(
    filled: Database, tmp_path: Path
) -> None:
    with small_disk(tmp_path / "disk", "size=16m") as directory:
        older = _create(filled, directory)
        fill(directory, leave_bytes=200 * 1024)
        with pytest.raises(errors.InsufficientStorage, match="free bytes"):
            _create(filled, directory)
        backup.verify(older.path, scratch_dir=tmp_path)
        assert not list(directory.glob("*.tmp"))


def test_a_disk_that_fills_while_the_backup_is_written_leaves_nothing_half(
    filled: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The check before is bypassed, as another program's writing in between would."""
    monkeypatch.setattr(backup, "_require_room", lambda *parts: None)
    with small_disk(tmp_path / "disk", "size=16m") as directory:
        fill(directory, leave_bytes=100 * 1024)
        with pytest.raises(errors.InsufficientStorage):
            _create(filled, directory)
        assert {one.name for one in directory.iterdir()} == {"filler", ".lock"}


def test_a_tight_disk_refuses_backups(filled: Database, tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "size=16m") as directory:
        fill(directory, leave_bytes=MEBIBYTE // 2)
        disk = DiskWatch(directory, reserve_bytes=4096, clock=ManualClock())
        disk.check()
        with pytest.raises(errors.InsufficientStorage, match="a backup"):
            backup.create(filled, tmp_path, content=Content(), clock=ManualClock(), disk=disk)


def _truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _empty(path: Path) -> None:
    path.write_bytes(b"")


def _rewrite(path: Path, change: dict[str, object], *, drop: str = "") -> None:
    """Write the archive anew with another manifest, as a forger would."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    manifest = msgspec.json.decode(members[MANIFEST_MEMBER], type=BackupManifest)
    changed = msgspec.structs.replace(manifest, **change)  # type: ignore[arg-type]
    members[MANIFEST_MEMBER] = msgspec.json.encode(changed)
    members.pop(drop, None)
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)


def _other_product(path: Path) -> None:
    _rewrite(path, {"product": "coffee-machine"})


def _newer_format(path: Path) -> None:
    _rewrite(path, {"format": 99})


def _wrong_counts(path: Path) -> None:
    _rewrite(path, {"tables": {}})


def _wrong_schema(path: Path) -> None:
    _rewrite(path, {"schema": LATEST + 1})


def _lacks_a_member(path: Path) -> None:
    _rewrite(path, {}, drop="config.toml")


def _no_manifest(path: Path) -> None:
    _rewrite(path, {}, drop=MANIFEST_MEMBER)


@pytest.mark.parametrize(
    "spoil",
    [
        _truncate,
        let_rot,
        _empty,
        _other_product,
        _newer_format,
        _wrong_counts,
        _wrong_schema,
        _lacks_a_member,
        _no_manifest,
        Path.unlink,
    ],
)
def test_a_spoilt_backup_is_refused_in_words(
    filled: Database, tmp_path: Path, spoil: object
) -> None:
    made = _create(filled, tmp_path / "b")
    spoil(made.path)  # type: ignore[operator]
    with pytest.raises(errors.BackupInvalid) as caught:
        backup.verify(made.path, scratch_dir=tmp_path)
    assert len(caught.value.detail) > 20


def test_a_copied_live_database_is_no_backup(filled: Database, tmp_path: Path) -> None:
    """`cp` of a live file passes SQLite's own check with rows missing; here it is no ZIP."""
    copy = tmp_path / "copy.backup"
    copy.write_bytes((filled.path.parent / FILE_NAME).read_bytes())
    with pytest.raises(errors.BackupInvalid, match="not a backup"):
        backup.verify(copy)


def test_every_cut_and_every_flipped_byte_is_noticed(filled: Database, tmp_path: Path) -> None:
    whole = _create(filled, tmp_path / "b").path.read_bytes()
    spoilt = tmp_path / "spoilt.backup"
    for step in range(25):
        at = len(whole) * step // 25
        spoilt.write_bytes(whole[:at])
        with pytest.raises(errors.BackupInvalid):
            backup.verify(spoilt)
        flipped = bytearray(whole)
        flipped[at] ^= 0xFF
        spoilt.write_bytes(flipped)
        try:
            manifest = backup.verify(spoilt)
        except errors.BackupInvalid:
            continue
        # Some bytes of a ZIP (times, attributes) mean nothing to the content.
        assert manifest.tables["predictions"].rows == 300


BACK_UP = """
import sys
from pathlib import Path
from appliance.clock import SystemClock
from appliance.store.backup import Content, create
from appliance.store.database import Database
state, target = Path(sys.argv[1]), Path(sys.argv[2])
database = Database.open(state, clock=SystemClock(), quota_bytes=1 << 28, queue_rows=100)
create(database, target, content=Content(), clock=SystemClock())
database.close()
"""


@pytest.mark.parametrize(("system_call", "stride"), [("rename", 1), ("fsync", 1), ("unlink", 1)])
def test_a_kill_at_any_step_leaves_no_half_backup(
    filled: Database, tmp_path: Path, system_call: str, stride: int
) -> None:
    require_strace()
    filled.close()
    number, has_finished = 1, False
    while not has_finished and number < 100:
        target = tmp_path / f"{system_call}-{number}"
        done = run_until(
            system_call, number, [sys.executable, "-c", BACK_UP, str(filled.path), str(target)]
        )
        has_finished = done == 0
        for one in rotation.listed(target):
            backup.verify(one.path)
        number += stride
    assert has_finished


def test_a_backup_made_during_a_check_leaves_its_scratch_alone(
    filled: Database, tmp_path: Path
) -> None:
    directory = tmp_path / "b"
    _create(filled, directory)
    with backup._scratch_in(directory) as scratch:
        (scratch / "appliance.db").write_bytes(b"half")
        (directory / ".verify-dead").mkdir()
        backup._remove_unfinished(directory)
        assert (scratch / "appliance.db").exists()
        assert not (directory / ".verify-dead").exists()
    assert not scratch.exists()
