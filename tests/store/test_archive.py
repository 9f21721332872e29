"""A hostile archive gets nothing out of the check but a refusal."""

import hashlib
import zipfile
from pathlib import Path

import msgspec
import pytest

from appliance import errors
from appliance.store.archive import (
    FORMAT,
    MANIFEST_MEMBER,
    PRODUCT,
    BackupManifest,
    Member,
    unpack,
)


def _archive(
    path: Path, members: dict[str, bytes], listed: dict[str, Member] | None = None
) -> Path:
    noted = {
        name: Member(hashlib.sha256(content).hexdigest(), len(content))
        for name, content in members.items()
    }
    manifest = BackupManifest(
        format=FORMAT,
        product=PRODUCT,
        version="0.1.0",
        schema=1,
        created="2026-10-16T08:00:00.000Z",
        host="box",
        has_model_files=True,
        tables={},
        members=noted if listed is None else listed,
    )
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
        archive.writestr(MANIFEST_MEMBER, msgspec.json.encode(manifest))
    return path


@pytest.mark.parametrize(
    "name",
    [
        "../evil",
        "/etc/passwd",
        "models/../../evil",
        "models/a/1/../../../../evil",
        "models\\a\\1\\evil",
        "models/a/1/.hidden",
        "models/A/1/x",
        "models/a/0/x",
        "lock",
        "admin-key",
        "restore.journal",
        "models/a/1/\u202etxt",
    ],
)
def test_a_member_with_a_name_no_backup_has_is_refused(tmp_path: Path, name: str) -> None:
    path = _archive(tmp_path / "b.backup", {"appliance.db": b"x", name: b"x"})
    target = tmp_path / "target"
    target.mkdir()
    with pytest.raises(errors.BackupInvalid):
        unpack(path, target, only_database=False)
    assert list(target.iterdir()) == []


def test_a_member_larger_than_it_says_is_not_read_to_its_end(tmp_path: Path) -> None:
    bomb = bytes(50 * 1024 * 1024)
    small = {"appliance.db": Member(hashlib.sha256(b"x").hexdigest(), 1)}
    path = _archive(tmp_path / "b.backup", {"appliance.db": bomb}, small)
    target = tmp_path / "target"
    target.mkdir()
    with pytest.raises(errors.BackupInvalid, match="not what was saved"):
        unpack(path, target, only_database=False)
    assert sum(one.stat().st_size for one in target.iterdir()) <= 1024 * 1024


def test_content_that_does_not_fit_is_told_before_it_is_written(tmp_path: Path) -> None:
    huge = {"appliance.db": Member("0" * 64, 1 << 60)}
    path = _archive(tmp_path / "b.backup", {"appliance.db": b"x"}, huge)
    target = tmp_path / "target"
    target.mkdir()
    with pytest.raises(errors.InsufficientStorage, match="free bytes"):
        unpack(path, target, only_database=False)


def test_the_same_member_twice_is_refused(tmp_path: Path) -> None:
    path = _archive(tmp_path / "b.backup", {"appliance.db": b"x"})
    with pytest.warns(UserWarning, match="Duplicate"), zipfile.ZipFile(path, "a") as archive:
        archive.writestr("appliance.db", b"y")
    with pytest.raises(errors.BackupInvalid, match="members"):
        unpack(path, tmp_path, only_database=True)


def test_a_manifest_that_is_not_one_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "b.backup"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(MANIFEST_MEMBER, b'{"format": "one"}')
    with pytest.raises(errors.BackupInvalid, match="not valid"):
        unpack(path, tmp_path, only_database=True)
