"""How a program of ours finds its configuration, and how it ends when it cannot go on."""

import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import click

from appliance import config_file
from appliance.config import Config
from appliance.errors import Fault

GATEWAY_COMMAND = "stream-gateway"

PACKAGED_CONFIG = Path("/etc/inference-appliance/config.toml")
#: The package's own places, such as /var/lib/inference-appliance; the configuration wins.
PACKAGED_DEFAULTS = Path("/usr/share/inference-appliance/package.toml")


def config_location(given: str | None) -> Path | None:
    """Given the path from the command line, return the file to read, if there is one."""
    if given:
        return Path(given)
    return PACKAGED_CONFIG if PACKAGED_CONFIG.exists() else None


def packaged_defaults() -> Path | None:
    """Return the package's file of defaults; None for a program that runs from a checkout."""
    is_packaged = getattr(sys, "frozen", False) and PACKAGED_DEFAULTS.exists()
    return PACKAGED_DEFAULTS if is_packaged else None


def read_config(given: str | None) -> Config:
    """Given the path from the command line, return the configuration; raise ConfigInvalid."""
    return read_loaded(given).config


def read_loaded(given: str | None) -> config_file.Loaded:
    """Given the path from the command line, return the configuration and each value's source."""
    location = config_location(given)
    return config_file.load_with_sources(location, os.environ, below=packaged_defaults())


def ended_by_faults(program: Callable[[], object]) -> None:
    """Given a program, run it; end the process with the exit status of what stopped it."""
    try:
        program()
    except Fault as fault:
        click.echo(f"appliance: {fault.title}.\n{fault.detail}", err=True)
        sys.exit(fault.exit_status)


def is_gateway(words: Sequence[str]) -> bool:
    """Given the words of a command line, return whether they are for the WebSocket gateway.

    It is told before anything else is imported, because the gateway needs little of it: with all
    that the command line imports it takes nearly twice the memory.
    """
    rest = list(words)
    while rest and rest[0].startswith("-"):
        takes_value = rest[0] == "--config"
        del rest[: 2 if takes_value else 1]
    return rest[:1] == [GATEWAY_COMMAND]
