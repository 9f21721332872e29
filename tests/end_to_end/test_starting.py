"""Starts that must work and starts that must not: cases 58, 61 to 63 and 77 of the catalogue."""

import contextlib
import os
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.end_to_end.conftest import Start
from tests.end_to_end.running import GENEROUS, ROOT, Running, command, environment, wait_for
from tests.tiny_models import picture

CONFIG_EXIT, STATE_EXIT = 78, 1


def serve(state: Path, *options: str, **settings: str) -> "subprocess.CompletedProcess[str]":
    """Run an appliance that is expected to end by itself."""
    shaped = {f"APPLIANCE_{name}": value for name, value in settings.items()}
    return subprocess.run(
        [sys.executable, "-m", "appliance", *options, "serve"],
        env=environment({**GENEROUS, "APPLIANCE_STATE__DIR": str(state), **shaped}),
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@contextlib.contextmanager
def held_database(state: Path) -> Iterator[None]:
    """Hold the database as another program would that forgot about it."""
    connection = sqlite3.connect(state / "appliance.db", isolation_level=None)
    try:
        connection.execute("BEGIN EXCLUSIVE")
        yield
        connection.execute("ROLLBACK")
    finally:
        connection.close()


def test_c58_with_the_database_held_reads_and_models_go_on(start_one: Start) -> None:
    appliance = start_one()
    with held_database(appliance.state):
        refused = appliance.post_json("/api/v1/keys", {"name": "x", "role": "device"})
        assert refused.problem == "database-unavailable"
        assert refused.status == 503
        assert appliance.predict(picture()).status == 200
        assert appliance.get("/api/v1/predictions").status == 200
        wait_for(lambda: not appliance.is_ready(), "not being ready")
        assert any("database" in reason for reason in appliance.reasons())
        assert appliance.get("/live").status == 200
    wait_for(appliance.is_ready, "being ready again")
    assert appliance.new_key()


def test_c61_what_an_earlier_run_left_behind_is_no_hindrance(
    start_one: Start, short_path: Path
) -> None:
    state = short_path / "state"
    first = start_one()
    first.kill()
    stale = socket.socket(socket.AF_UNIX)
    with stale, contextlib.suppress(OSError):
        (state / "run" / "admin.sock").unlink(missing_ok=True)
        stale.bind(str(state / "run" / "admin.sock"))
    (state / "appliance.db-shm").write_bytes(os.urandom(32768))
    (state / "spool" / "left-over").write_bytes(b"x" * 1000)
    (state / "models" / "colour" / ".partial-2").mkdir()
    (state / "lock").write_text("999999\n")
    second = start_one(state)
    assert second.predict(picture()).status == 200
    assert second.command("audit", "verify").returncode == 0
    assert not (state / "models" / "colour" / ".partial-2").exists()


def test_c62_a_second_instance_ends_and_names_the_first(start_one: Start) -> None:
    first = start_one()
    done = serve(first.state)
    assert done.returncode not in (0, None)
    assert str(first.process.pid) in done.stderr
    assert "Traceback" not in done.stderr
    assert first.predict(picture()).status == 200
    assert first.is_ready()


def test_a_port_that_is_taken_is_told_in_a_sentence(appliance: Running, short_path: Path) -> None:
    done = serve(short_path / "state", HTTP__PORT=str(appliance.port))
    assert done.returncode not in (0, None)
    assert str(appliance.port) in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("HTTP__PORT", "99999"),
        ("HTTP__PORT", "eighty"),
        ("LIMITS__IMAGE_PIXELS", "-1"),
        ("HTTP__NO_SUCH_SETTING", "1"),
        ("NOSUCHSECTION__KEY", "1"),
        ("METRICS__PUBLIC", "not-a-network"),
    ],
)
def test_c63_a_bad_setting_is_named_and_the_exit_says_so(
    short_path: Path, name: str, value: str
) -> None:
    done = serve(short_path / "state", **{name: value})
    assert done.returncode == CONFIG_EXIT, done.stderr
    assert "Traceback" not in done.stderr
    assert name.partition("__")[2].lower() in done.stderr.lower()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[http]\nport = 99999\n", "http.port"),
        ("[http]\nprot = 8080\n", "prot"),
        ("[http\nport = 8080\n", "config.toml:1:"),
        ("[http]\nport = 8080\nport = 8081\n", "config.toml:3:"),
    ],
)
def test_c63_a_bad_configuration_file_is_named_by_key_or_line(
    short_path: Path, text: str, said: str
) -> None:
    config = short_path / "config.toml"
    config.write_text(text)
    for words in (("serve",), ("config", "check")):
        done = command("--config", str(config), *words, settings={})
        assert done.returncode == CONFIG_EXIT, done
        assert said in done.stderr
        assert "Traceback" not in done.stderr


def test_c77_a_newer_database_is_left_alone(start_one: Start, short_path: Path) -> None:
    first = start_one()
    state = first.state
    assert first.stop() == 0
    with sqlite3.connect(state / "appliance.db") as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()
    done = serve(state)
    assert done.returncode not in (0, None)
    assert "99" in done.stderr
    assert "Traceback" not in done.stderr
    with sqlite3.connect(state / "appliance.db") as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (99,)
        assert connection.execute("SELECT count(*) FROM keys").fetchone() == (1,)
    connection.close()
    assert list(state.glob("*.corrupt-*")) == []


def test_c77_a_database_others_may_read_is_refused(start_one: Start) -> None:
    first = start_one()
    state = first.state
    assert first.stop() == 0
    (state / "appliance.db").chmod(0o644)
    done = serve(state)
    assert done.returncode not in (0, None)
    assert "chmod 600" in done.stderr
    (state / "appliance.db").chmod(0o600)
    assert start_one(state).predict(picture()).status == 200


def test_a_state_that_cannot_be_made_is_told_in_a_sentence(short_path: Path) -> None:
    (short_path / "file").write_text("in the way")
    done = serve(short_path / "file" / "state")
    assert done.returncode not in (0, None)
    assert "file" in done.stderr
    assert "Traceback" not in done.stderr
