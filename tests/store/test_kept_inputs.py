"""The files of kept inputs: private, whole or not there, the oldest first."""

import stat
from pathlib import Path

import pytest

from appliance.identifiers import new_id
from appliance.store.kept_inputs import KeptInput, KeptInputs, on_disk


@pytest.fixture
def files(tmp_path: Path) -> KeptInputs:
    return KeptInputs(tmp_path / "inputs")


def test_a_file_takes_whole_blocks() -> None:
    assert [on_disk(size) for size in (0, 1, 4096, 4097)] == [4096, 4096, 4096, 8192]


def test_inputs_are_listed_oldest_first_by_model_or_all_together(files: KeptInputs) -> None:
    first, second, third = new_id(), new_id(), new_id()
    files.write("b", first, b"x")
    files.write("a", second, b"x" * 5000)
    files.write("b", third, b"")
    assert files.models() == ["a", "b"]
    assert files.listed() == [
        KeptInput(first, "b", 4096),
        KeptInput(second, "a", 8192),
        KeptInput(third, "b", 4096),
    ]
    assert [one.id for one in files.listed("b")] == [first, third]
    assert files.listed("c") == []


def test_only_the_owner_can_look(files: KeptInputs, tmp_path: Path) -> None:
    files.write("a", new_id(), b"x")
    assert stat.S_IMODE((tmp_path / "inputs" / "a").stat().st_mode) == 0o700


def test_strangers_in_the_directory_are_let_be(files: KeptInputs, tmp_path: Path) -> None:
    files.write("a", new_id(), b"x")
    (tmp_path / "inputs" / "a" / "notes.txt").write_text("mine")
    (tmp_path / "inputs" / "file").write_text("mine")
    assert len(files.listed()) == 1
    assert files.remove(files.listed()) == 1
    assert (tmp_path / "inputs" / "a" / "notes.txt").exists()


def test_what_cannot_be_written_leaves_nothing(files: KeptInputs, tmp_path: Path) -> None:
    identifier = new_id()
    files.path("a", identifier).mkdir(parents=True)  # a name that cannot be replaced
    with pytest.raises(OSError, match=r"directory"):
        files.write("a", identifier, b"x")
    assert list((tmp_path / "inputs" / "a").glob("*.tmp")) == []


def test_before_anything_is_kept_nothing_is_there(files: KeptInputs) -> None:
    assert (files.models(), files.listed()) == ([], [])
    files.remove_unfinished()
    files.remove_model("a")
