"""Versions and which of them answers."""

import pytest

from appliance import errors
from appliance.store import models
from appliance.store.database import Database
from tests.store.examples import NOON, a_version


def _switch(database: Database, version: int | None) -> models.Switch:
    return models.switch(database, "vehicle-type", version, actor="admin", at_seconds=NOON)


@pytest.fixture
def three_versions(database: Database) -> Database:
    for number in (1, 2, 3):
        models.add_version(database, a_version(number))
    return database


def test_versions_come_back_by_name_and_number(database: Database) -> None:
    made = [a_version(2), a_version(10), a_version(1, name="a")]
    for one in made:
        models.add_version(database, one)
    assert models.versions(database) == (made[2], made[0], made[1])
    assert models.versions(database, "a") == (made[2],)


def test_the_same_version_twice_is_a_conflict(three_versions: Database) -> None:
    with pytest.raises(errors.Conflict):
        models.add_version(three_versions, a_version(1))


def test_a_state_is_kept_with_its_reason(three_versions: Database) -> None:
    changed = models.set_state(three_versions, "vehicle-type", 2, state="bad", reason="sha256")
    assert (changed.state, changed.reason) == ("bad", "sha256")
    assert models.get_version(three_versions, "vehicle-type", 2) == changed
    with pytest.raises(errors.NotFound):
        models.set_state(three_versions, "vehicle-type", 9, state="ready")


def test_the_last_switch_decides_what_answers(three_versions: Database) -> None:
    assert models.active_versions(three_versions) == {}
    _switch(three_versions, 1)
    made = _switch(three_versions, 3)
    assert (made.previous, made.version) == (1, 3)
    assert models.active_version(three_versions, "vehicle-type") == 3
    assert models.active_versions(three_versions) == {"vehicle-type": 3}
    assert [one.version for one in models.switches(three_versions)] == [3, 1]


def test_a_model_may_be_switched_off(three_versions: Database) -> None:
    _switch(three_versions, 2)
    _switch(three_versions, None)
    assert models.active_versions(three_versions) == {}
    assert models.previous_version(three_versions, "vehicle-type") == 2


def test_an_unknown_version_cannot_be_activated(three_versions: Database) -> None:
    _switch(three_versions, 1)
    with pytest.raises(errors.NotFound):
        _switch(three_versions, 9)
    assert models.active_version(three_versions, "vehicle-type") == 1


def test_a_rollback_leads_to_the_newest_earlier_version_that_exists(
    three_versions: Database,
) -> None:
    for version in (1, 2, 3):
        _switch(three_versions, version)
    assert models.previous_version(three_versions, "vehicle-type") == 2
    models.remove_version(three_versions, "vehicle-type", 2)
    assert models.previous_version(three_versions, "vehicle-type") == 1
    assert models.previous_version(three_versions, "other") is None


def test_the_active_version_cannot_be_removed(three_versions: Database) -> None:
    _switch(three_versions, 1)
    with pytest.raises(errors.Conflict, match="active"):
        models.remove_version(three_versions, "vehicle-type", 1)
    models.remove_version(three_versions, "vehicle-type", 2)
    with pytest.raises(errors.NotFound):
        models.remove_version(three_versions, "vehicle-type", 2)
