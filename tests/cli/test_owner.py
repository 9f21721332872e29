"""Giving up being root for the owner of the state."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

_BECOME = """\
import os, sys
from pathlib import Path
from appliance.cli.owner import become_owner_of
become_owner_of(Path(sys.argv[1]), reads=Path(sys.argv[2]))
print(os.geteuid(), os.getegid(), os.getgroups())
"""
NOBODY = 65534


def become(state: Path, reads: Path) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-c", _BECOME, str(state), str(reads)],
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).resolve().parents[2],
    )


@pytest.fixture
def open_place() -> Iterator[Path]:
    """A directory anybody can reach; pytest closes the way to its own at each start of another."""
    with tempfile.TemporaryDirectory(prefix="ia-owner-") as place:
        os.chmod(place, 0o755)
        yield Path(place)


def test_a_state_of_one_s_own_changes_nothing(tmp_path: Path) -> None:
    done = become(tmp_path, tmp_path)
    assert done.stdout.split()[0] == str(os.geteuid()), done.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_root_becomes_the_owner_of_the_state_for_good(open_place: Path) -> None:
    os.chown(open_place, NOBODY, NOBODY)
    readable = open_place / "file"
    readable.touch(0o644)
    done = become(open_place, readable)
    assert done.stdout.split(None, 2)[:2] == [str(NOBODY), str(NOBODY)], done.stderr
    assert done.stdout.split(None, 2)[2].strip() == f"[{NOBODY}]"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_a_file_the_owner_may_not_read_is_refused_in_words(tmp_path: Path) -> None:
    state = tmp_path / "state"
    state.mkdir()
    os.chown(state, NOBODY, NOBODY)
    secret = tmp_path / "secret"
    secret.touch(0o600)
    done = become(state, secret)
    assert done.returncode != 0
    assert "cannot be read by" in done.stderr


_COPY = """\
import sys
from pathlib import Path
from appliance.cli.owner import become_owner_of, readable_by_owner_of
state, file = map(Path, sys.argv[1:])
with readable_by_owner_of(state, file) as given:
    print(given)
    become_owner_of(state, reads=given)
    print(given.read_text())
print(list(state.iterdir()))
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_a_file_the_owner_may_not_read_is_copied_for_as_long_as_it_is_needed(
    open_place: Path,
) -> None:
    state = open_place / "state"
    state.mkdir()
    os.chown(state, NOBODY, NOBODY)
    mine, everyone_s = open_place / "mine.backup", open_place / "everyone's.backup"
    for path, mode in ((mine, 0o600), (everyone_s, 0o644)):
        path.write_text("saved")
        path.chmod(mode)
        done = subprocess.run(
            [sys.executable, "-c", _COPY, str(state), str(path)],
            capture_output=True,
            text=True,
            check=False,
            cwd=Path(__file__).resolve().parents[2],
        )
        given, content, left = done.stdout.splitlines()
        assert (content, left) == ("saved", "[]"), done.stderr
        assert Path(given).name == path.name
        assert (Path(given) == path) == (mode == 0o644)
