"""Stopping the service for a while, with a stand-in for systemctl that notes what it is told."""

import subprocess
import sys
from pathlib import Path

import click
import pytest

from appliance.cli import unit


@pytest.fixture
def told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file with every call of systemctl; the words in `refuses` make it fail."""
    trace, refuses = tmp_path / "told", tmp_path / "refuses"
    program = tmp_path / "systemctl"
    program.write_text(
        f'#!/bin/sh\necho "$1" >> {trace}\n'
        f'if grep -qs "$1" {refuses}; then echo "no right" >&2; exit 4; fi\n',
        encoding="utf-8",
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    return trace


def test_the_service_is_stopped_around_the_command_and_its_status_is_kept(told: Path) -> None:
    command = [sys.executable, "-c", f"open({str(told)!r}, 'a').write('run\\n'); exit(3)"]
    assert unit.run_while_stopped(command) == 3
    assert told.read_text().split() == ["stop", "run", "start"]


def test_the_service_is_started_again_though_the_command_could_not_run(told: Path) -> None:
    with pytest.raises(FileNotFoundError):
        unit.run_while_stopped(["/nowhere/at/all"])
    assert told.read_text().split() == ["stop", "start"]


def test_a_service_that_does_not_stop_is_told_and_nothing_is_run(told: Path) -> None:
    told.with_name("refuses").write_text("stop\n")
    with pytest.raises(click.ClickException, match=r"systemctl stop .* failed: no right"):
        unit.run_while_stopped(["/nowhere/at/all"])
    assert told.read_text().split() == ["stop"]


def test_ctrl_c_ends_the_command_and_the_service_is_started_all_the_same(told: Path) -> None:
    interrupts = (
        "import os, signal, sys\n"
        "assert signal.getsignal(signal.SIGINT) is signal.default_int_handler\n"
        "os.kill(os.getppid(), signal.SIGINT)\n"
        "sys.exit(7)\n"
    )
    assert unit.run_while_stopped([sys.executable, "-c", interrupts]) == 7
    assert told.read_text().split() == ["stop", "start"]


@pytest.mark.skipif(Path("/run/systemd/system").is_dir(), reason="this machine runs systemd")
def test_without_systemd_nothing_is_known_and_nothing_is_wanted(told: Path) -> None:
    assert unit.systemd_property("ActiveState") == ""
    assert not unit.is_wanted_running()
    assert not told.exists()


def test_systemctl_is_what_is_asked(told: Path) -> None:
    unit.turn_unit("start")
    assert told.read_text() == "start\n"
    assert isinstance(unit.is_root(), bool)
    assert subprocess.run(["systemctl", "x"], check=False).returncode == 0
