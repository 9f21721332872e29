"""What every command does first: find and read the configuration."""

import os
import sys
from pathlib import Path

from appliance import config_file
from appliance.config import Config

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
