"""Files that are whole or not there."""

import os
from pathlib import Path

import pytest

from appliance.store.files import (
    create_private,
    replacing,
    size_of,
    unused,
    utc_stamp,
    write_durably,
)


def test_a_file_is_replaced_whole_and_privately(tmp_path: Path) -> None:
    path = tmp_path / "a"
    write_durably(path, b"old")
    write_durably(path, b"new", mode=0o640)
    assert path.read_bytes() == b"new"
    assert path.stat().st_mode & 0o777 == 0o640
    assert [one.name for one in tmp_path.iterdir()] == ["a"]


def test_a_replacement_that_fails_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a"
    write_durably(path, b"old")

    def fail() -> None:
        with replacing(path) as file:
            file.write(b"half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert path.read_bytes() == b"old"
    assert [one.name for one in tmp_path.iterdir()] == ["a"]


def test_a_leftover_of_an_interrupted_replacement_does_not_matter(tmp_path: Path) -> None:
    (tmp_path / "a.tmp").write_bytes(b"half")
    write_durably(tmp_path / "a", b"new")
    assert [one.name for one in tmp_path.iterdir()] == ["a"]


def test_a_private_file_is_never_taken_over(tmp_path: Path) -> None:
    create_private(tmp_path / "a")
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o600
    with pytest.raises(FileExistsError):
        create_private(tmp_path / "a")
    os.symlink("elsewhere", tmp_path / "b")
    with pytest.raises(FileExistsError):
        create_private(tmp_path / "b")


def test_names_that_are_taken_get_a_number(tmp_path: Path) -> None:
    assert unused(tmp_path / "a").name == "a"
    (tmp_path / "a").touch()
    (tmp_path / "a-2").symlink_to("nowhere")
    assert unused(tmp_path / "a").name == "a-3"


def test_a_stamp_is_utc_and_sorts() -> None:
    assert utc_stamp(0) == "19700101T000000Z"
    assert utc_stamp(1_790_000_000) < utc_stamp(1_790_000_001)


def test_a_missing_file_has_no_size(tmp_path: Path) -> None:
    assert size_of(tmp_path / "a") == 0
