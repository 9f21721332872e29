import json

import pytest
from click.testing import CliRunner

from appliance.actions.authenticate import authenticate
from appliance.actions.callers import Role
from appliance.cli.keys import keys
from tests.access_parts import issued_with_id


@pytest.fixture
def run(settings):
    def run(*arguments):
        return CliRunner().invoke(keys, arguments, obj=settings, catch_exceptions=False)

    return run


def test_create_prints_the_key_alone_on_standard_output(parts, run):
    done = run("create", "camera 1", "--model", "step", "--from", "192.0.2.0/24")
    assert done.exit_code == 0
    caller = authenticate(parts.ring, done.stdout.strip(), address="192.0.2.9")
    assert (caller.key_name, caller.role, caller.models) == ("camera 1", Role.DEVICE, ("step",))
    assert "cannot be shown again" in done.stderr


def test_create_as_json_holds_everything(parts, run):
    done = run("create", "ann", "--role", "admin", "--days", "3650", "--json")
    issued = json.loads(done.stdout)
    assert authenticate(parts.ring, issued["key"], address="192.0.2.9").role is Role.ADMIN
    assert issued["expires"] == "2036-09-18T14:13:20.000Z"


def test_what_the_appliance_refuses_is_said_in_its_words(parts, run):
    done = run("create", "camera", "--from", "everywhere")
    assert done.exit_code == 1
    assert "'everywhere' is not a network" in done.stderr
    assert run("create", "camera", "--days", "1e9").exit_code != 0


def test_list_shows_every_key_that_is_not_revoked(parts, run):
    _, gone = issued_with_id(parts.ring, name="old [bold]camera[/bold]")
    issued_with_id(parts.ring, name="new camera", models=("step",))
    assert run("revoke", gone).exit_code == 0
    done = run("list")
    assert "new camera" in done.stdout
    assert "step" in done.stdout
    assert "old" not in done.stdout
    assert "old [bold]camera[/bold]" in run("list", "--all").stdout
    assert [key["name"] for key in json.loads(run("list", "--json").stdout)] == ["new camera"]


def test_revoke_kills_the_key_even_the_last_admins(parts, run):
    _, key_id = issued_with_id(parts.ring, Role.ADMIN)
    done = run("revoke", key_id)
    assert done.exit_code == 0
    assert parts.ring.live_admins() == []
    again = run("revoke", key_id)
    assert again.exit_code == 1
    assert "no live key" in again.stderr
    assert run("revoke", "../audit").exit_code == 1


def test_without_an_appliance_the_command_says_what_to_do(run):
    done = run("list")
    assert done.exit_code == 69
    assert "The appliance is not running" in done.stderr
