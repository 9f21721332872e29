"""`appliance stream-gateway` finds the appliance's socket and says where it listens."""

import contextlib
import signal
import socket
from pathlib import Path

import click.testing
import msgspec

from appliance.cli import cli
from appliance.cli.gateway import front_socket_path
from appliance.config import Config
from appliance.core import places_of
from tests.end_to_end.running import command


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
    shown = click.testing.CliRunner().invoke(cli, ["stream-gateway", "--help"])
    assert shown.exit_code == 0
    assert "WebSockets" in shown.output
