"""`appliance config`: check the configuration and show what is in force."""

import os

import click

from appliance import config_file
from appliance.start import config_location, packaged_defaults


@click.group(name="config")
@click.option("--config", "config_path", metavar="FILE", help="Configuration file.")
@click.pass_context
def config(context: click.Context, config_path: str | None) -> None:
    """Check or show the configuration."""
    context.meta["location"] = config_location(config_path or context.meta.get("config_path"))


@config.command()
@click.pass_context
def check(context: click.Context) -> None:
    """Read the configuration; exit with 78 and name every fault if it is wrong."""
    location = context.meta["location"]
    config_file.load(location, os.environ, below=packaged_defaults())
    click.echo(f"The configuration is valid ({location or 'defaults and environment'}).")


@config.command()
@click.pass_context
def show(context: click.Context) -> None:
    """Print every setting in force and where it comes from."""
    loaded = config_file.load_with_sources(
        context.meta["location"], os.environ, below=packaged_defaults()
    )
    click.echo(config_file.as_toml(loaded), nl=False)


COMMANDS = (config,)
