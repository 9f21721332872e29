"""The command line: `appliance …`, one group per thing, one verb per action."""

import click

from appliance import __version__
from appliance.cli import (
    audit,
    backups,
    configuration,
    doctor,
    drill,
    gateway,
    jobs,
    keys,
    model,
    model_library,
    model_life,
    model_measure,
    model_text,
    monitor,
    predict,
    reload,
    serve,
    steps,
)
from appliance.start import ended_by_faults, read_config


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--config",
    "config_path",
    metavar="FILE",
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
    jobs,
    model,
    model_library,
    model_life,
    model_measure,
    model_text,
    monitor,
    predict,
    reload,
    steps,
    doctor,
):
    for command in module.COMMANDS:
        cli.add_command(command)


def main() -> None:
    """Run the command line; end with the exit status of the fault that stopped it."""
    ended_by_faults(lambda: cli(prog_name="appliance"))
