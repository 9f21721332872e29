"""`appliance stream-gateway` finds the appliance's socket and says where it listens."""

import contextlib
import signal
import socket
import subprocess
import sys
from pathlib import Path

import click.testing
import msgspec

from appliance.config import Config
from appliance.places import places_of
from appliance.stream.command import front_socket_path, program
from tests.end_to_end.running import ROOT, command


def test_the_socket_is_where_the_front_puts_it(tmp_path: Path) -> None:
    for state in ({"dir": str(tmp_path)}, {"dir": str(tmp_path), "runtime_dir": "/run/x"}):
        config = msgspec.convert({"state": state}, Config)
        assert front_socket_path(config) == places_of(config).gateway_socket


def test_a_port_that_is_taken_ends_it_with_words(tmp_path: Path) -> None:
    with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as taken:
        done = command(
            "stream-gateway",
            settings={
                "APPLIANCE_STATE__DIR": str(tmp_path),
                "APPLIANCE_STREAMS__GATEWAY_HOST": "127.0.0.1",
                "APPLIANCE_STREAMS__GATEWAY_PORT": str(taken.getsockname()[1]),
            },
        )
    assert done.returncode == 75
    assert "streams.gateway_port" in done.stderr
    assert "Traceback" not in done.stderr
    assert done.returncode != -signal.SIGTERM


def test_its_help_says_what_it_needs() -> None:
    shown = click.testing.CliRunner().invoke(program, ["stream-gateway", "--help"])
    assert shown.exit_code == 0
    assert "WebSockets" in shown.output


def test_a_process_that_begins_with_it_imports_nothing_of_the_rest() -> None:
    code = (
        "import sys; sys.argv = ['appliance', 'stream-gateway'];"
        "import appliance.__main__; print(*sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    loaded = set(done.stdout.split())
    assert "appliance.stream.gateway" in loaded
    others = {"appliance.cli", "appliance.core", "appliance.web", "appliance.store", "apsw"}
    others |= {"peewee", "psutil", "waitress", "prometheus_client", "rich", "numpy"}
    assert not others & loaded
