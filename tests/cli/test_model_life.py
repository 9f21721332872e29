import json

import pytest
from click.testing import CliRunner

from appliance.cli import model_life
from appliance.cli.connection import admin_socket_path
from appliance.cli.model import model
from appliance.clock import ManualClock
from appliance.store import models
from appliance.web.unix_door import as_admin
from tests.access_parts import opened
from tests.actions.examples import StubEngine, a_status
from tests.web.doors import door_at
from tests.web.resources.test_model_life import life_routes, registered
from tests.web.routed import Routed


@pytest.fixture
def database(tmp_path, settings):
    with opened(tmp_path / "state", ManualClock()) as database:
        registered(database)
        engine = StubEngine(a_status(version=1), a_status(version=2, is_active=False))
        app = Routed(*life_routes(engine, database)).client.app
        admin_socket_path(settings).parent.mkdir()
        door = door_at(admin_socket_path(settings), as_admin(app))
        door.start()
        yield database
        door.stop()


@pytest.fixture
def run(settings, database):
    def run(*arguments):
        return CliRunner().invoke(model, arguments, obj=settings, catch_exceptions=False)

    return run


def test_activate_and_rollback_say_what_answers(run, database):
    done = run("activate", "vehicle-type", "2")
    assert done.stdout == "vehicle-type@2 answers; before it was version 1.\n"
    assert models.active_version(database, "vehicle-type") == 2
    assert "vehicle-type@1 answers" in run("rollback", "vehicle-type").stdout
    switched = json.loads(run("rollback", "vehicle-type", "--json").stdout)
    assert switched["active_version"] == 2


def test_unload_and_load_say_what_is_left(run):
    assert run("unload", "vehicle-type").stdout == "vehicle-type is unloaded.\n"
    assert "vehicle-type@2 answers" in run("load", "vehicle-type", "--version", "2").stdout


def test_what_the_appliance_refuses_is_said_in_its_words(run):
    done = run("activate", "vehicle-type", "9")
    assert done.exit_code == 1
    assert "no registered version 9" in done.stderr


@pytest.mark.parametrize(
    ("options", "kept"),
    [
        ((), None),
        (("--no-auto-rollback",), None),
        (("--auto-rollback",), 300.0),
        (("--watch-seconds", "60"), 60.0),
    ],
)
def test_an_activation_may_be_watched(run, database, options, kept):
    from appliance.actions import model_settings

    assert run("activate", "vehicle-type", "2", *options).exit_code == 0
    found = model_settings.probations(database).get("vehicle-type")
    assert (found.rule.seconds if found else None) == kept


def test_traffic_is_set_shown_and_ended(run):
    shown = run("traffic", "vehicle-type", "--split", "1=90", "--split", "2=10%", "--shadow", "2")
    assert shown.stdout == "1: 90 %, 2: 10 %\nVersion 2 gets a copy of each request.\n"
    assert json.loads(run("traffic", "vehicle-type", "--json").stdout)["traffic"]["1"] == 90
    assert "active version answers" in run("traffic", "vehicle-type", "--off").stdout
    for wrong in ("2", "2=ten"):
        refused = run("traffic", "vehicle-type", "--split", wrong)
        assert refused.exit_code == 2
        assert "not VERSION=PERCENT" in refused.stderr


def test_a_policy_is_set_and_shown(run):
    assert json.loads(run("policy", "vehicle-type").stdout) == {"auto_rollback": None}
    set_to = json.loads(run("policy", "vehicle-type", "--max-error-rate", "0.2").stdout)
    assert set_to["auto_rollback"]["max_error_rate"] == 0.2
    assert json.loads(run("policy", "vehicle-type").stdout) == set_to
    ended = json.loads(run("policy", "vehicle-type", "--no-auto-rollback").stdout)
    assert ended == {"auto_rollback": None}


def test_the_comparison_is_a_table_and_a_sentence(run):
    shown = run("comparison", "vehicle-type").stdout
    assert "p95 ms" in shown
    assert "agreed with 3 of 4 answers; 0 copies failed, 1 were dropped" in shown
    assert "truck → van: 1" in shown
    assert json.loads(run("comparison", "vehicle-type", "--json").stdout)["shadow"] == "2"


def test_every_command_is_part_of_the_group():
    names = {"activate", "rollback", "load", "unload", "traffic", "policy", "comparison"}
    assert names <= set(model.commands)
    assert model_life.COMMANDS == ()
