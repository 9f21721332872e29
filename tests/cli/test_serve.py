"""`appliance serve`: says where it is, keeps what it writes to itself, ends when told."""

import re
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from appliance.store.database import FILE_NAME
from appliance.store.integrity import LOCK_NAME
from tests.end_to_end.running import GENEROUS, Running, command, launch, start, wait_for


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., Running]]:
    """Start appliances that are gone at the end of the test."""
    started: list[Running] = []

    def serve(name: str = "state", **settings: str) -> Running:
        running = start(tmp_path / name, settings)
        started.append(running)
        return running

    yield serve
    for running in started:
        if running.process.poll() is None:
            running.kill()


def test_it_serves_keeps_its_files_private_and_ends_when_told(
    serve: Callable[..., Running],
) -> None:
    running = serve()
    assert running.get("/live", key=None).status == 200
    assert running.get("/api/v1/models").status == 200
    log = running.log()
    assert f"http://127.0.0.1:{running.port}" in log
    assert str(running.state / "admin-key") in log
    assert running.key not in log, "the key itself is never written to the log"
    for path in running.state.rglob("*"):
        if path.is_file():
            assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path
    assert running.stop() == 0
    assert (running.state / LOCK_NAME).read_text() == "", "the stop was clean"


def test_a_second_one_on_the_same_state_gives_up_and_names_the_first(
    serve: Callable[..., Running],
) -> None:
    first = serve()
    done = first.command("serve")
    assert done.returncode == 75
    assert f"process {first.process.pid}" in done.stderr
    assert "Traceback" not in done.stderr
    assert first.get("/live", key=None).status == 200


def test_a_wrong_configuration_ends_it_before_anything_is_written(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_text("[http]\nport = 99999\n")
    state = tmp_path / "state"
    settings = {**GENEROUS, "APPLIANCE_STATE__DIR": str(state)}
    settings.pop("APPLIANCE_HTTP__PORT")
    done = command("serve", "--config", str(file), settings=settings)
    assert done.returncode == 78
    assert re.search(r"port.*99999", done.stderr)
    assert "Traceback" not in done.stderr
    assert not state.exists()


def test_told_to_end_while_it_starts_it_ends(tmp_path: Path) -> None:
    running = launch(tmp_path / "state", {})
    try:
        wait_for((tmp_path / "state" / FILE_NAME).exists, "the database")
        # Before it listens the signal's own meaning counts: the process just ends.
        assert running.stop() in (0, -15)
    finally:
        running.kill()
