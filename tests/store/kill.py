"""Ending a process with SIGKILL at a chosen system call, so that every moment can be the last."""

import signal
import subprocess

import pytest


def require_strace() -> None:
    """Skip the test where strace is missing or may not trace."""
    try:
        done = subprocess.run(["strace", "-qq", "-o", "/dev/null", "true"], check=False)
    except FileNotFoundError:
        pytest.skip("strace is not installed")
    if done.returncode:
        pytest.skip("strace may not trace here")


def run_until(system_call: str, number: int, command: list[str]) -> int:
    """Run a command that is killed at the numbered call; return 0 when it ended before that."""
    done = subprocess.run(
        [
            *("strace", "-f", "-qq", "-o", "/dev/null", "-e", f"trace={system_call}"),
            *("-e", f"inject={system_call}:signal=KILL:when={number}", *command),
        ],
        check=False,
        capture_output=True,
    )
    assert done.returncode == 0 or abs(done.returncode) in (
        signal.SIGKILL,
        128 + signal.SIGKILL,
    ), done.stderr.decode()
    return done.returncode
