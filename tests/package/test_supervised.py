"""The appliance under supervisor, as laptops and containers run it: scripts/run --supervised."""

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import click
import psutil
import pytest

from appliance.cli.connection import Connection

ROOT = Path(__file__).resolve().parents[2]
HANG_SECONDS = 90.0


def wait_for(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + HANG_SECONDS
    while time.monotonic() < deadline:
        if condition():
            return
        time.sleep(0.1)
    raise AssertionError(f"waited for {what} in vain")


class Supervised:
    """scripts/run --supervised with a state of its own."""

    def __init__(self, directory: Path) -> None:
        self.state = directory / "state"
        environment = {key: value for key, value in os.environ.items() if key[:10] != "APPLIANCE_"}
        settings = {
            "APPLIANCE_STATE__DIR": str(self.state),
            "APPLIANCE_STATE__RESERVE_BYTES": "1048576",
            "APPLIANCE_HTTP__HOST": "127.0.0.1",
            "APPLIANCE_HTTP__PORT": "0",
            "APPLIANCE_STREAMS__GATEWAY_HOST": "127.0.0.1",
            "APPLIANCE_STREAMS__GATEWAY_PORT": "0",
            "APPLIANCE_MODELS__STARTER": "false",
        }
        with (directory / "output").open("wb") as output:
            self.process = subprocess.Popen(
                [ROOT / "scripts" / "run", "--supervised"],
                env={**environment, **settings},
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def front(self) -> psutil.Process | None:
        """Return the process that serves, once there is one."""
        for child in psutil.Process(self.process.pid).children():
            if child.cmdline()[-1:] == ["serve"]:
                return child
        return None

    def is_ready(self) -> bool:
        try:
            answer = Connection(self.state / "run" / "admin.sock").get("/ready")
        except click.ClickException:
            return False
        return bool(answer["ready"])


@pytest.fixture
def supervised() -> Iterator[Supervised]:
    directory = Path(tempfile.mkdtemp(prefix="ia-"))
    started = Supervised(directory)
    yield started
    if started.process.poll() is None:
        os.killpg(started.process.pid, signal.SIGKILL)
        started.process.wait(HANG_SECONDS)
    shutil.rmtree(directory, ignore_errors=True)


def test_a_killed_appliance_is_started_again_and_all_of_it_stops_cleanly(
    supervised: Supervised,
) -> None:
    wait_for(supervised.is_ready, "a ready appliance")
    front = supervised.front()
    assert front is not None
    front.kill()
    psutil.wait_procs([front], HANG_SECONDS)
    wait_for(supervised.is_ready, "the appliance to be back")
    facts = supervised.state / "run" / "inference_appliance.prom"
    wait_for(facts.exists, "the scheduler's facts")
    children = psutil.Process(supervised.process.pid).children(recursive=True)
    assert {each.cmdline()[3] for each in children if each.cmdline()[2:3] == ["appliance"]} >= {
        "serve",
        "stream-gateway",
        "scheduler",
    }
    supervised.process.send_signal(signal.SIGTERM)
    assert supervised.process.wait(HANG_SECONDS) == 0
    _, alive = psutil.wait_procs(children, HANG_SECONDS)
    assert alive == []
