"""The command line: `appliance …`, one group per thing, one verb per action."""

import sys

import click

from appliance import __version__
from appliance.cli import (
    audit,
    backups,
    configuration,
    doctor,
    drill,
    gateway,
    keys,
    monitor,
    reload,
    serve,
    steps,
)
from appliance.cli.start import read_config
from appliance.errors import Fault


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--config",
    "config_path",
    type=click.Path(dir_okay=False),
    envvar="APPLIANCE_CONFIG",
    help="Configuration file (TOML).",
)
@click.version_option(__version__, prog_name="appliance")
@click.pass_context
def cli(context: click.Context, config_path: str | None) -> None:
    """A private inference appliance: models answer over HTTP, every answer is recorded."""
    if context.invoked_subcommand not in ("config", "serve"):
        context.obj = read_config(config_path)
    context.meta["config_path"] = config_path


for module in (
    serve,
    gateway,
    configuration,
    keys,
    audit,
    backups,
    drill,
    monitor,
    reload,
    steps,
    doctor,
):
    for command in module.COMMANDS:
        cli.add_command(command)


def main() -> None:
    """Run the command line; end with the exit status of the fault that stopped it."""
    try:
        cli(prog_name="appliance")
    except Fault as fault:
        click.echo(f"appliance: {fault.title}.\n{fault.detail}", err=True)
        sys.exit(fault.exit_status)
