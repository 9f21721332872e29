"""A restore is the old state or the new one, whenever it stops, and can be taken back."""

import hashlib
import os
import shutil
import zipfile
from pathlib import Path

import apsw
import msgspec
import pytest

from appliance import errors
from appliance.clock import ManualClock
from appliance.store import audit, backup, predictions, restore, settings
from appliance.store.archive import MANIFEST_MEMBER, ArchiveWriter, BackupManifest, Member
from appliance.store.backup import Content
from appliance.store.connection import open_writer
from appliance.store.copies import check_copy, copy_database
from appliance.store.database import FILE_NAME
from appliance.store.migrate import migrate
from appliance.store.migrations import LATEST, MIGRATIONS
from tests.rotten_backup import let_rot
from tests.store.conftest import OpenDatabase
from tests.store.examples import NOON, a_prediction
from tests.store.test_backup import _rewrite


@pytest.fixture
def models_dir(state_dir: Path) -> Path:
    version = state_dir / "models" / "vehicle-type" / "1"
    version.mkdir(parents=True)
    (version / "manifest.toml").write_text("saved")
    (version / "model.bin").write_bytes(b"saved")
    return state_dir / "models"


@pytest.fixture
def saved(open_database: OpenDatabase, models_dir: Path, tmp_path: Path) -> Path:
    """A backup of a state that says 'saved'; the state itself then goes on to say 'later'."""
    database = open_database()
    settings.put(database, "state", "saved")
    audit.append(database, at_seconds=NOON, actor="a", action="b", subject="c")
    for _ in range(20):
        predictions.record(database, a_prediction())
    made = backup.create(
        database,
        tmp_path / "backups",
        content=Content(config_text="[http]\n", models_dir=models_dir, with_model_files=True),
        clock=ManualClock(),
    )
    settings.put(database, "state", "later")
    audit.append(database, at_seconds=NOON, actor="a", action="b", subject="d")
    (models_dir / "vehicle-type" / "1" / "model.bin").write_bytes(b"later")
    (models_dir / "vehicle-type" / "2").mkdir()
    database.close()
    return made.path


def _says(open_database: OpenDatabase, state_dir: Path) -> object:
    database = open_database()
    said = settings.get(database, "state")
    with database.read() as connection:
        assert connection.value("PRAGMA integrity_check") == "ok"
    broken = audit.verify(database, head_file=state_dir / audit.HEAD_FILE)
    database.close()
    assert broken is None
    model = (state_dir / "models" / "vehicle-type" / "1" / "model.bin").read_text()
    assert model == said, "database and models are of one state"
    return said


def _restore(file: Path, state_dir: Path) -> restore.Restored:
    return restore.restore(file, state_dir, clock=ManualClock())


def test_a_restore_brings_back_rows_models_and_config(
    saved: Path, state_dir: Path, open_database: OpenDatabase
) -> None:
    done = _restore(saved, state_dir)
    schema, counts = check_copy(state_dir / FILE_NAME)
    assert (schema, counts) == (done.manifest.schema, done.manifest.tables)
    assert _says(open_database, state_dir) == "saved"
    assert not (state_dir / "models" / "vehicle-type" / "2").exists()
    assert (state_dir / restore.CONFIG_NAME).read_text() == "[http]\n"
    assert (done.aside / FILE_NAME).exists()
    assert (done.aside / "models" / "vehicle-type" / "2").exists()
    assert not list(state_dir.glob("restoring-*"))
    assert (state_dir / FILE_NAME).stat().st_mode & 0o777 == 0o600


def test_a_restore_to_an_empty_directory_is_a_whole_state(
    saved: Path, tmp_path: Path, open_database: OpenDatabase
) -> None:
    fresh = tmp_path / "fresh"
    fresh.mkdir(mode=0o700)
    done = _restore(saved, fresh)
    database = open_database(path=fresh / FILE_NAME)
    assert settings.get(database, "state") == "saved"
    assert predictions.count(database) == done.manifest.tables["predictions"].rows == 20
    assert (fresh / "models" / "vehicle-type" / "1" / "model.bin").read_text() == "saved"


def test_a_restore_can_be_taken_back(
    saved: Path, state_dir: Path, open_database: OpenDatabase
) -> None:
    done = _restore(saved, state_dir)
    failed = done.revert()
    assert _says(open_database, state_dir) == "later"
    assert (state_dir / "models" / "vehicle-type" / "2").exists()
    assert (failed / FILE_NAME).exists()
    assert not done.aside.exists()


def test_an_old_log_is_not_left_beside_the_restored_database(
    saved: Path, state_dir: Path, open_database: OpenDatabase
) -> None:
    (state_dir / f"{FILE_NAME}-wal").write_bytes(b"stale" * 1000)
    (state_dir / f"{FILE_NAME}-shm").write_bytes(b"stale" * 1000)
    done = _restore(saved, state_dir)
    assert (done.aside / f"{FILE_NAME}-wal").exists()
    assert _says(open_database, state_dir) == "saved"


def test_a_backup_without_model_files_leaves_the_models_alone(
    open_database: OpenDatabase, models_dir: Path, state_dir: Path, tmp_path: Path
) -> None:
    content = Content(models_dir=models_dir)
    database = open_database()
    made = backup.create(database, tmp_path / "backups", content=content, clock=ManualClock())
    database.close()
    _restore(made.path, state_dir)
    assert (models_dir / "vehicle-type" / "1" / "model.bin").read_text() == "saved"


def test_an_unsound_backup_changes_nothing(
    saved: Path, state_dir: Path, open_database: OpenDatabase
) -> None:
    let_rot(saved)
    before = sorted(path.name for path in state_dir.iterdir())
    with pytest.raises(errors.BackupInvalid):
        _restore(saved, state_dir)
    assert sorted(path.name for path in state_dir.iterdir()) == before
    assert _says(open_database, state_dir) == "later"


def test_a_backup_of_a_newer_schema_is_refused_with_both_numbers(
    saved: Path, state_dir: Path, open_database: OpenDatabase
) -> None:
    _make_newer(saved)
    with pytest.raises(errors.BackupInvalid, match=f"schema {LATEST + 1}.*up to {LATEST}"):
        _restore(saved, state_dir)
    assert _says(open_database, state_dir) == "later"


def _make_newer(path: Path) -> None:
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    database = path.with_name("newer.db")
    database.write_bytes(members["appliance.db"])
    connection = apsw.Connection(str(database))
    connection.execute(f"PRAGMA user_version = {LATEST + 1}")
    connection.close()
    members["appliance.db"] = database.read_bytes()
    manifest = msgspec.json.decode(members[MANIFEST_MEMBER], type=BackupManifest)
    noted = Member(
        hashlib.sha256(members["appliance.db"]).hexdigest(), len(members["appliance.db"])
    )
    manifest = msgspec.structs.replace(
        manifest, schema=LATEST + 1, members=manifest.members | {"appliance.db": noted}
    )
    members[MANIFEST_MEMBER] = msgspec.json.encode(manifest)
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)


class PowerCut(BaseException):
    """The machine stops here."""


@pytest.mark.parametrize("takes_back", [False, True])
def test_a_stop_at_any_step_is_finished_at_the_next_start(
    saved: Path,
    state_dir: Path,
    tmp_path: Path,
    open_database: OpenDatabase,
    monkeypatch: pytest.MonkeyPatch,
    takes_back: bool,
) -> None:
    """Every change of a name in turn is the last thing that happens."""
    pristine = tmp_path / "pristine"
    shutil.copytree(state_dir, pristine)
    seen, number, has_finished = set(), -1, False
    while not has_finished:
        number += 1
        shutil.rmtree(state_dir)
        shutil.copytree(pristine, state_dir)
        done = _restore(saved, state_dir) if takes_back else None
        with monkeypatch.context() as patch:
            _stop_after(patch, number)
            try:
                if done is None:
                    _restore(saved, state_dir)
                else:
                    done.revert()
                has_finished = True
            except PowerCut:
                pass
        restore.finish_interrupted(state_dir)
        assert not (state_dir / restore.JOURNAL_NAME).exists()
        assert not list(state_dir.glob("restoring-*"))
        seen.add(_says(open_database, state_dir))
    assert number > 8
    assert seen == {"saved", "later"}


def _stop_after(patch: pytest.MonkeyPatch, operations: int) -> None:
    """So many changes of names happen and no more; cleaning up after a fault is stopped too."""
    left = [operations]

    def limited(original: object) -> object:
        def call(*args: object, **changes: object) -> object:
            left[0] -= 1
            if left[0] < 0:
                raise PowerCut
            return original(*args, **changes)  # type: ignore[operator]

        return call

    patch.setattr(Path, "rename", limited(Path.rename))
    patch.setattr(Path, "unlink", limited(Path.unlink))
    patch.setattr(shutil, "rmtree", limited(shutil.rmtree))
    patch.setattr(os, "rename", limited(os.rename))


def test_a_journal_that_cannot_be_read_is_told_not_guessed(state_dir: Path) -> None:
    (state_dir / restore.JOURNAL_NAME).write_bytes(b"{half")
    with pytest.raises(errors.StateUnusable, match="by hand"):
        restore.finish_interrupted(state_dir)


def test_only_the_newest_states_put_aside_are_kept(saved: Path, state_dir: Path) -> None:
    clock = ManualClock()
    for _ in range(5):
        restore.restore(saved, state_dir, clock=clock)
        clock.advance(60)
    assert len(list(state_dir.glob("before-restore-*"))) == restore.ASIDE_KEPT + 1


def test_a_restore_on_a_file_that_lies_about_its_counts_is_refused(
    saved: Path, state_dir: Path
) -> None:
    _rewrite(saved, {"tables": {}})
    with pytest.raises(errors.BackupInvalid, match="other rows"):
        _restore(saved, state_dir)


def test_a_backup_of_an_older_schema_is_brought_up_to_date(
    state_dir: Path, tmp_path: Path, open_database: OpenDatabase
) -> None:
    old = tmp_path / "old.db"
    connection = open_writer(old, quota_bytes=1 << 28)
    migrate(connection, clock=ManualClock(), migrations=MIGRATIONS[:1])
    settings.put(connection, "state", "old")
    connection.close()
    schema, counts = check_copy(old)
    with open(tmp_path / "old.backup", "wb") as file:
        writer = ArchiveWriter(file)
        writer.add_file("appliance.db", old)
        writer.add_text("config.toml", "")
        manifest = BackupManifest(
            format=1,
            product="inference-appliance",
            version="0.0.1",
            schema=schema,
            created="2026-01-01T00:00:00.000Z",
            host="old",
            has_model_files=False,
            tables=counts,
            members=writer.members,
        )
        writer.finish(manifest)
    _restore(tmp_path / "old.backup", state_dir)
    database = open_database()
    assert (schema, database.status().schema) == (1, LATEST)
    assert settings.get(database, "state") == "old"


def test_what_was_kept_before_an_upgrade_is_restored_like_a_backup(
    saved: Path, state_dir: Path, open_database: OpenDatabase
) -> None:
    kept = state_dir / "backups-pre-upgrade" / f"appliance-s{LATEST}-20260101T000000Z.db"
    kept.parent.mkdir()
    copy_database(state_dir / FILE_NAME, kept)
    _restore(saved, state_dir)
    done = _restore(kept, state_dir)
    database = open_database()
    assert settings.get(database, "state") == "later"
    assert not done.manifest.has_model_files
    assert (done.aside / FILE_NAME).exists()


def test_any_other_bare_database_is_no_backup(saved: Path, state_dir: Path) -> None:
    copied = state_dir.parent / "appliance.db"
    copied.write_bytes((state_dir / FILE_NAME).read_bytes())
    with pytest.raises(errors.BackupInvalid):
        _restore(copied, state_dir)
    wrong = state_dir.parent / "appliance-s1-20260101T000000Z.db"
    wrong.write_bytes((state_dir / FILE_NAME).read_bytes())
    with pytest.raises(errors.BackupInvalid, match="not the one in its name"):
        _restore(wrong, state_dir)
