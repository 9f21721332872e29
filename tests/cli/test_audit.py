import json

import pytest
from click.testing import CliRunner

from appliance.cli.audit import audit
from tests.access_parts import edit, issued


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
