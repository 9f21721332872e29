"""`appliance reload`: the answer of the running appliance, in words."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from appliance import config, config_file
from appliance.actions.reload import Reload
from appliance.cli.connection import admin_socket_path
from appliance.cli.reload import reload
from appliance.clock import ManualClock
from appliance.web.openapi import Route
from appliance.web.resources.settings import ReloadResource
from appliance.web.unix_door import as_admin
from tests.access_parts import opened
from tests.web.doors import door_at
from tests.web.routed import Routed

Run = Callable[[], Result]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "config.toml"
    path.write_text("")
    return path


@pytest.fixture
def run(tmp_path: Path, file: Path) -> Iterator[Run]:
    settings = config.Config(state=config.State(dir=str(tmp_path / "state")))
    with opened(tmp_path / "state", ManualClock()) as database:
        reloading = Reload(
            config.Config(),
            database,
            ManualClock(),
            read=lambda: config_file.load_with_sources(file, {}),
        )
        routed = Routed(Route("/api/v1/settings/reload", ReloadResource(reloading)))
        admin_socket_path(settings).parent.mkdir()
        door = door_at(admin_socket_path(settings), as_admin(routed.client.app))
        door.start()
        yield lambda: CliRunner().invoke(reload, obj=settings)
        door.stop()


def test_what_is_in_force_and_what_needs_a_restart_is_said(run: Run, file: Path) -> None:
    file.write_text("[access]\nburst = 7\n[http]\nport = 9999\n")
    done = run()
    assert done.exit_code == 0
    assert done.stdout == "In force now: access.burst.\nNeeds a restart: http.port.\n"


def test_that_nothing_has_changed_is_said(run: Run) -> None:
    assert run().stdout == "Nothing has changed.\n"


def test_a_fault_of_the_file_is_told_with_its_place(run: Run, file: Path) -> None:
    file.write_text("[access]\nbrst = 7\n")
    done = run()
    assert done.exit_code == 1
    assert "config.toml:2" in done.stderr
    assert "Did you mean burst?" in done.stderr
