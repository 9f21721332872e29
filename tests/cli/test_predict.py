"""`appliance predict`: which files are sent in which groups, and how answers are kept.

The whole way, with a model, is in tests/end_to_end/test_jobs.py.
"""

import contextlib
import io
import json
from pathlib import Path

import click
import falcon
import pytest
from click.testing import CliRunner
from falcon.testing import create_environ

from appliance.cli.predict import _files, _groups, _head, _pieces, _split, _tell, predict
from appliance.config import Config, Jobs, Limits
from appliance.web.sent_files import sent_files

OUTCOMES = (
    {"file": "a.png", "status": "ok", "label": "red", "confidence": 0.75},
    {"file": "=b", "status": "failed", "problem": {"detail": "No picture."}},
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "below").mkdir()
    (tmp_path / ".hidden").mkdir()
    for name in ("b.png", "a.png", "below/c.png", ".hidden/x", ".secret"):
        (tmp_path / name).write_bytes(b"x" * 10)
    return tmp_path


def test_folders_are_read_to_their_depth_without_what_is_hidden(folder: Path) -> None:
    names = [path.relative_to(folder).as_posix() for path in _files([folder])]
    assert names == ["a.png", "b.png", "below/c.png"]
    assert list(_files([folder / ".secret"])) == [folder / ".secret"]


def test_a_request_carries_no_more_than_it_may(folder: Path) -> None:
    files = list(_files([folder]))
    by_count = Config(jobs=Jobs(files=2))
    assert [len(group) for group in _groups(files, by_count)] == [2, 1]
    by_size = Config(limits=Limits(body_bytes=25))
    assert [len(group) for group in _groups(files, by_size)] == [2, 1]


def test_what_is_sent_is_a_form_that_the_front_reads(tmp_path: Path) -> None:
    odd = tmp_path / 'a "b"\n.png'
    odd.write_bytes(b"body")
    body = b"".join(_pieces([_head("cut", odd)], [odd], b"--cut--\r\n"))
    environ = create_environ(
        method="POST", body=body, headers={"Content-Type": "multipart/form-data; boundary=cut"}
    )
    (file,) = sent_files(falcon.Request(environ), most_files=5, whole_types=())
    assert file.content_type == "image/png"
    assert "\n" not in file.name


def lines() -> io.BytesIO:
    return io.BytesIO(b"".join(json.dumps(each).encode() + b"\n" for each in OUTCOMES))


@pytest.mark.parametrize("suffix", ["csv", "json", "jsonl"])
def test_answers_are_kept_in_the_form_that_the_name_asks_for(tmp_path: Path, suffix: str) -> None:
    out = tmp_path / f"out.{suffix}"
    assert _tell(lines(), out) == 1
    text = out.read_text()
    if suffix == "csv":
        assert text.splitlines()[1:] == ["a.png,ok,red,0.75,", "'=b,failed,,,No picture."]
    elif suffix == "json":
        assert json.loads(text) == list(OUTCOMES)
    else:
        assert [json.loads(line) for line in text.splitlines()] == list(OUTCOMES)


def test_without_a_file_answers_are_shown() -> None:
    shown = io.StringIO()
    with contextlib.redirect_stdout(shown):
        assert _tell(lines(), None) == 1
    assert "failed: No picture." in shown.getvalue()


def test_wrong_words_are_refused(folder: Path) -> None:
    assert _split("top_k=3") == ("top_k", "3")
    with pytest.raises(click.UsageError):
        _split("top_k")
    for words in (("m", str(folder), "--out", "a.xls"), ("m", str(folder / "none"))):
        assert CliRunner().invoke(predict, words, obj=Config()).exit_code == 2
    (folder / "empty").mkdir()
    done = CliRunner().invoke(predict, ["m", str(folder / "empty")], obj=Config())
    assert "no files" in done.output
