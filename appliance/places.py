"""Where everything of one appliance lies."""

import os
from dataclasses import dataclass
from pathlib import Path

from appliance.config import Config
from appliance.errors import StateUnusable


@dataclass(frozen=True, slots=True)
class Places:
    """The directories of one appliance, all below the state directory unless configured."""

    state: Path
    models: Path
    cache: Path
    runtime: Path
    spool: Path
    backups: Path
    jobs: Path
    inputs: Path

    @property
    def admin_socket(self) -> Path:
        """Where the command line finds the running appliance."""
        return self.runtime / "admin.sock"

    @property
    def gateway_socket(self) -> Path:
        """Where the WebSocket gateway finds the running appliance."""
        return self.runtime / "front.sock"


def places_of(config: Config) -> Places:
    """Given the configuration, return where everything is."""
    state = Path(config.state.dir).absolute()
    runtime = config.state.runtime_dir or str(state / "run")
    return Places(
        state=state,
        models=state / "models",
        cache=Path(config.state.cache_dir or state / "cache"),
        runtime=Path(runtime),
        spool=state / "spool",
        backups=Path(config.backup.dir or state / "backups"),
        jobs=state / "jobs",
        inputs=state / "inputs",
    )


def prepared(places: Places) -> Places:
    """Given the directories, create them, readable by nobody else, and return them.

    Raise StateUnusable when one cannot be made.
    """
    try:
        places.state.mkdir(mode=0o700, parents=True, exist_ok=True)
        below = (places.models, places.cache, places.spool, places.backups)
        for directory in (*below, places.jobs, places.inputs):
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        places.runtime.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as fault:
        raise StateUnusable(
            f"{fault.filename} cannot be created: {fault.strerror}. Make its parent writable for"
            f" the user {os.geteuid()} or set state.dir elsewhere."
        ) from None
    return places
