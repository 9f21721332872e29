"""`appliance stream-gateway` stands among the other commands."""

import click.testing

from appliance.cli import cli


def test_its_help_says_what_it_needs() -> None:
    shown = click.testing.CliRunner().invoke(cli, ["stream-gateway", "--help"])
    assert shown.exit_code == 0
    assert "WebSockets" in shown.output
