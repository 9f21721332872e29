"""The service's unit, as systemd knows it: what it says of it, and stopping it for a while."""

import os
import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import click

UNIT = "inference-appliance.service"
_ANSWER_SECONDS = 5.0
#: What systemd itself allows the service for its end and its start, and some more.
_TURN_SECONDS = 300.0
#: States of a service that an admin did not stop.
_WANTED = ("active", "activating", "reloading", "deactivating", "failed")


def systemd_property(name: str, unit: str = UNIT) -> str:
    """Given a property's name, return systemd's value of it for a unit; empty without systemd."""
    if not Path("/run/systemd/system").is_dir():
        return ""
    try:
        asked = subprocess.run(
            ["systemctl", "show", "--value", f"--property={name}", unit],
            capture_output=True,
            text=True,
            timeout=_ANSWER_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return asked.stdout.strip()


def is_wanted_running() -> bool:
    """Return whether systemd runs the service or has failed to; False without systemd."""
    return systemd_property("ActiveState") in _WANTED


def run_while_stopped(command: Sequence[str]) -> int:
    """Given a command, stop the service, run the command, start the service; return its status.

    The service is started again whatever becomes of the command. Raise ClickException when systemd
    refuses the one or the other.
    """
    turn_unit("stop")
    try:
        with _interrupts_left_to_child():
            # Not subprocess.run, which kills what it waits for when it is interrupted.
            status = subprocess.Popen(command).wait()
    finally:
        turn_unit("start")
    return status


def turn_unit(verb: str) -> None:
    """Given "stop" or "start", have systemd do it; raise ClickException when it does not."""
    done = subprocess.run(
        ["systemctl", verb, UNIT],
        capture_output=True,
        text=True,
        timeout=_TURN_SECONDS,
        check=False,
    )
    if done.returncode:
        raise click.ClickException(
            f"systemctl {verb} {UNIT} failed: {done.stderr.strip()[-400:]} See: journalctl -eu"
            " inference-appliance"
        )


def is_root() -> bool:
    """Return whether this process may stop the service and read every file."""
    return os.geteuid() == 0


@contextmanager
def _interrupts_left_to_child() -> Iterator[None]:
    """Let Ctrl-C end only the command, which puts things back before it goes."""

    def ignore(number: int, frame: FrameType | None) -> None:
        return

    # A function and not SIG_IGN, which the command would inherit.
    before = signal.signal(signal.SIGINT, ignore)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
