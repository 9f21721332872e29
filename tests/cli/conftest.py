"""Fixtures of the command line's tests: a state directory with an admin's door in it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance import config
from appliance.cli.connection import admin_socket_path
from appliance.clock import ManualClock
from appliance.web.unix_door import as_admin
from tests.access_parts import Parts, opened
from tests.web.doors import door_at


@pytest.fixture
def settings(tmp_path: Path) -> config.Config:
    return config.Config(state=config.State(dir=str(tmp_path / "state")))


@pytest.fixture
def parts(tmp_path: Path, settings: config.Config) -> Iterator[Parts]:
    """Keys and audit behind the socket through which the command line speaks."""
    with opened(tmp_path / "state", ManualClock()) as database:
        parts = Parts(database, ManualClock())
        admin_socket_path(settings).parent.mkdir()
        door = door_at(admin_socket_path(settings), as_admin(parts.app))
        door.start()
        yield parts
        door.stop()
