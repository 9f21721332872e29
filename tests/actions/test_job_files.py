"""Folders of jobs: streamed in, bounded, never outside, gone when nothing needs them."""

import errno
import hashlib
import io
from pathlib import Path
from typing import IO, cast

import pytest

from appliance.actions.job_files import JobFiles, SentFile, at_least_one, below, shown_name
from appliance.errors import InsufficientStorage, InvalidInput, NotFound, PayloadTooLarge
from tests.job_parts import sent


@pytest.fixture
def files(tmp_path: Path) -> JobFiles:
    return JobFiles(tmp_path / "jobs", most_files=3, most_file_bytes=100)


def test_inputs_are_stored_under_numbers_with_size_and_sum(files: JobFiles) -> None:
    stored = files.store_inputs("j1", [sent("../../etc/passwd", b"abc"), sent("b", b"")])
    assert [(one.name, one.path, one.bytes) for one in stored] == [
        ("../../etc/passwd", "inputs/0001", 3),
        ("b", "inputs/0002", 0),
    ]
    assert stored[0].sha256 == hashlib.sha256(b"abc").hexdigest()
    path = files.input_path("j1", stored[0])
    assert path.read_bytes() == b"abc"
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_job_without_files_has_no_folder(files: JobFiles) -> None:
    assert files.store_inputs("j1", []) == ()
    assert not (files.root / "j1").exists()


@pytest.mark.parametrize(
    ("given", "words"),
    [([sent(body=b"x" * 101)], r"jobs\.file_bytes"), ([sent()] * 4, r"jobs\.files")],
)
def test_too_large_or_too_many_leave_nothing(
    files: JobFiles, given: list[SentFile], words: str
) -> None:
    with pytest.raises(PayloadTooLarge, match=words):
        files.store_inputs("j1", given)
    assert not (files.root / "j1").exists()


def test_a_full_disk_is_told_as_such_and_leaves_nothing(files: JobFiles) -> None:
    class Full(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(InsufficientStorage):
        files.store_inputs("j1", [SentFile("a", "", cast("IO[bytes]", Full()))])
    assert not (files.root / "j1").exists()


def test_results_keep_what_was_named_and_nothing_else(files: JobFiles) -> None:
    folder = files.begin_attempt("j1", 2)
    (folder.results / "plots").mkdir()
    (folder.results / "plots" / "a.png").write_bytes(b"png")
    (folder.results / "rest").write_text("x")
    (folder.results / "empty").mkdir()
    kept = files.settle_results("j1", 2, ["plots/a.png", "plots/a.png"], most_bytes=3)
    assert [(one.name, one.bytes) for one in kept] == [("plots/a.png", 3)]
    assert [path.name for path in folder.results.rglob("*")] == ["plots", "a.png"]
    assert files.result_path("j1", 2, "plots/a.png").read_bytes() == b"png"
    with pytest.raises(PayloadTooLarge, match=r"jobs\.kept_bytes"):
        files.settle_results("j1", 2, ["plots/a.png"], most_bytes=2)


@pytest.mark.parametrize("name", ["", "..", "../x", "/etc/passwd", "a/../../x", "link", "a\0b"])
def test_no_name_leads_out_of_a_folder(tmp_path: Path, name: str) -> None:
    (tmp_path / "inside").mkdir()
    (tmp_path / "x").write_text("secret")
    (tmp_path / "inside" / "link").symlink_to(tmp_path / "x")
    with pytest.raises(NotFound):
        below(tmp_path / "inside", name)


def test_a_document_is_bounded_and_json(files: JobFiles) -> None:
    folder = files.begin_attempt("j1", 1)
    folder.document.write_bytes(b'{"a":1}')
    assert files.read_document("j1", 1, most_bytes=7) == b'{"a":1}'
    with pytest.raises(PayloadTooLarge):
        files.read_document("j1", 1, most_bytes=6)
    folder.document.write_bytes(b"{nope")
    with pytest.raises(InvalidInput):
        files.read_document("j1", 1, most_bytes=100)


def test_a_folder_that_a_job_says_it_made_must_be_there(files: JobFiles) -> None:
    folder = files.begin_attempt("j1", 1)
    (folder.results / "version").mkdir()
    assert files.result_directory("j1", 1, "version").is_dir()
    with pytest.raises(NotFound):
        files.result_directory("j1", 1, "other")


def test_an_end_leaves_the_recorded_results_only(files: JobFiles) -> None:
    files.store_inputs("j1", [sent()])
    for attempt in (1, 2):
        folder = files.begin_attempt("j1", attempt)
        (folder.results / "kept").write_text("x")
        folder.document.write_text("{}")
    files.end_attempt("j1", 1)
    files.end_job("j1", recorded_attempt=2)
    left = sorted(path.name for path in (files.root / "j1").rglob("*"))
    assert left == ["attempt-2", "kept", "results"]
    files.end_job("j1")
    assert not (files.root / "j1").exists()


def test_folders_of_no_job_are_swept(files: JobFiles) -> None:
    files.store_inputs("known", [sent()])
    files.store_inputs("stranger", [sent()])
    assert files.sweep(frozenset({"known"})) == 1
    assert [path.name for path in files.root.iterdir()] == ["known"]


def test_names_are_shown_without_control_characters() -> None:
    assert shown_name("a\x1b[31m\u202eb") == "a\ufffd[31m\ufffdb"
    assert shown_name("") == "unnamed"
    assert len(shown_name("x" * 1000)) == 255


def test_a_request_without_files_is_refused_behind_the_last() -> None:
    files = [SentFile("a", "text/plain", io.BytesIO(b"a"))]
    assert list(at_least_one(files)) == files
    with pytest.raises(InvalidInput, match="no files"):
        list(at_least_one([]))
