"""What every command does first: find and read the configuration."""

import os
from pathlib import Path

from appliance import config_file
from appliance.config import Config

PACKAGED_CONFIG = Path("/etc/inference-appliance/config.toml")


def config_location(given: str | None) -> Path | None:
    """Given the path from the command line, return the file to read: that one, the packaged one, or none."""
    if given:
        return Path(given)
    return PACKAGED_CONFIG if PACKAGED_CONFIG.exists() else None


def read_config(given: str | None) -> Config:
    """Given the path from the command line, return the configuration; raise ConfigInvalid when it is wrong."""
    return config_file.load(config_location(given), os.environ)


def read_loaded(given: str | None) -> config_file.Loaded:
    """Given the path from the command line, return the configuration and where each value came from."""
    return config_file.load_with_sources(config_location(given), os.environ)
