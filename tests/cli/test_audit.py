import json

import pytest
from click.testing import CliRunner

from appliance import config
from appliance.cli.audit import audit
from appliance.cli.connection import admin_socket_path
from appliance.clock import ManualClock
from appliance.web.unix_door import as_admin
from tests.access_parts import Parts, edit, issued, opened
from tests.web.doors import door_at


@pytest.fixture
def settings(tmp_path):
    return config.Config(state=config.State(dir=str(tmp_path / "state")))


@pytest.fixture
def parts(tmp_path, settings):
    with opened(tmp_path / "state", ManualClock()) as database:
        parts = Parts(database, ManualClock())
        admin_socket_path(settings).parent.mkdir()
        door = door_at(admin_socket_path(settings), as_admin(parts.app))
        door.start()
        yield parts
        door.stop()


@pytest.fixture
def run(settings):
    def run(*arguments):
        return CliRunner().invoke(audit, arguments, obj=settings, catch_exceptions=False)

    return run


def test_verify_says_that_all_is_well(parts, run):
    issued(parts.ring)
    done = run("verify")
    assert (done.exit_code, done.stdout) == (0, "The audit is intact.\n")


def test_verify_names_the_first_broken_row_and_fails(parts, run):
    for _ in range(3):
        issued(parts.ring)
    edit(parts.database, "UPDATE audit SET action = 'nothing' WHERE sequence = 2")
    done = run("verify")
    assert done.exit_code == 1
    assert "broken at row 2" in done.stdout
    as_json = run("verify", "--json")
    assert as_json.exit_code == 1
    assert json.loads(as_json.stdout)["broken_sequence"] == 2


def test_list_shows_acts_newest_first(parts, run):
    for number in range(5):
        issued(parts.ring, name=f"camera {number}")
    shown = run("list", "--limit", "2").stdout
    assert "key.create" in shown
    assert "camera 4" in shown
    assert "camera 2" not in shown
    rows = json.loads(run("list", "--limit", "1000", "--json").stdout)
    assert [row["sequence"] for row in rows] == [5, 4, 3, 2, 1]
