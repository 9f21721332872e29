import os
from pathlib import Path

import pytest

from appliance.errors import ModelInvalid
from appliance.library.checksums import check_sums, files_of, read_sums, sha256_of, write_sums


@pytest.fixture
def version(tmp_path: Path) -> Path:
    directory = tmp_path / "colour" / "3"
    (directory / "golden").mkdir(parents=True)
    (directory / "model.xml").write_text("<net/>")
    (directory / "model.bin").write_bytes(bytes(10))
    (directory / "golden" / "a file.png").write_bytes(b"x")
    write_sums(directory)
    return directory


def test_a_version_that_is_whole_passes(version: Path) -> None:
    check_sums(version)
    assert sorted(read_sums(version)) == ["golden/a file.png", "model.bin", "model.xml"]


def test_the_sums_are_those_sha256sum_reads(version: Path) -> None:
    first = (version / "SHA256SUMS").read_text().splitlines()[0]
    assert first == f"{sha256_of(version / 'golden' / 'a file.png')}  golden/a file.png"


def test_a_changed_file_is_named(version: Path) -> None:
    (version / "model.bin").write_bytes(bytes(9) + b"\x01")
    with pytest.raises(ModelInvalid, match=r"model\.bin of colour@3 was changed on disk"):
        check_sums(version)


def test_a_missing_file_is_named(version: Path) -> None:
    (version / "golden" / "a file.png").unlink()
    with pytest.raises(ModelInvalid, match=r"golden/a file\.png is missing from colour@3"):
        check_sums(version)


def test_a_file_too_many_is_named(version: Path) -> None:
    (version / "golden" / "extra.so").write_bytes(b"")
    with pytest.raises(ModelInvalid, match=r"golden/extra\.so does not belong to colour@3"):
        check_sums(version)


@pytest.mark.parametrize("name", ["model.bin", "SHA256SUMS", "golden"])
def test_a_symbolic_link_is_refused(version: Path, name: str) -> None:
    elsewhere = version.parent / f"elsewhere-{name}"
    (version / name).rename(elsewhere)
    (version / name).symlink_to(elsewhere)
    with pytest.raises(ModelInvalid, match=f"{name} of colour@3 is a link"):
        check_sums(version)


def test_a_hard_link_is_refused_unless_the_files_are_going_to_be_copied(version: Path) -> None:
    os.link(version / "model.bin", version.parent / "other-name")
    with pytest.raises(ModelInvalid, match="is a link"):
        check_sums(version)
    check_sums(version, hard_links_allowed=True)


def test_a_pipe_is_refused(version: Path) -> None:
    os.mkfifo(version / "pipe")
    with pytest.raises(ModelInvalid, match="pipe of colour@3 is not a plain file"):
        files_of(version)


@pytest.mark.parametrize("content", [b"junk\n", b"00  model.bin\n", b"\xff\xfe"])
def test_sums_that_are_none_are_told(version: Path, content: bytes) -> None:
    (version / "SHA256SUMS").write_bytes(content)
    with pytest.raises(ModelInvalid, match="SHA256SUMS of colour@3"):
        check_sums(version)


def test_no_sums_at_all_are_told_without_the_path_of_this_machine(version: Path) -> None:
    (version / "SHA256SUMS").unlink()
    with pytest.raises(ModelInvalid) as caught:
        check_sums(version)
    assert str(version.parent.parent) not in caught.value.detail
    assert "SHA256SUMS of colour@3 cannot be read" in caught.value.detail
