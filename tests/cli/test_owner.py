"""Giving up being root for the owner of the state."""

import os
import subprocess
import sys
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


def test_a_state_of_one_s_own_changes_nothing(tmp_path: Path) -> None:
    done = become(tmp_path, tmp_path)
    assert done.stdout.split()[0] == str(os.geteuid()), done.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_root_becomes_the_owner_of_the_state_for_good(tmp_path: Path) -> None:
    os.chmod(tmp_path, 0o755)
    os.chown(tmp_path, NOBODY, NOBODY)
    for parent in tmp_path.parents:
        if parent == Path("/tmp"):
            break
        os.chmod(parent, 0o755)
    readable = tmp_path / "file"
    readable.touch(0o644)
    done = become(tmp_path, readable)
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
