"""Keys as they are kept."""

import pytest

from appliance import errors
from appliance.store import keys
from appliance.store.database import Database
from tests.store.examples import NOON, a_key


def test_a_key_comes_back_whole(database: Database) -> None:
    key = a_key(
        role="operator",
        secret_sha256=bytes(range(32)),
        models=("vehicle-type", "steps"),
        source_networks=("10.0.0.0/8",),
        expires_seconds=NOON + 60,
    )
    keys.add(database, key)
    assert keys.get(database, key.id) == key
    assert keys.all_keys(database) == (key,)


def test_a_second_key_with_the_same_id_is_refused(database: Database) -> None:
    keys.add(database, a_key())
    with pytest.raises(errors.Conflict):
        keys.add(database, a_key(name="other"))
    assert keys.all_keys(database)[0].name == "gate"


def test_revoking_keeps_the_first_time(database: Database) -> None:
    keys.add(database, a_key())
    assert keys.revoke(database, "k1", at_seconds=NOON + 1).revoked_seconds == NOON + 1
    assert keys.revoke(database, "k1", at_seconds=NOON + 2).revoked_seconds == NOON + 1


def test_revoking_an_unknown_key_is_not_found(database: Database) -> None:
    with pytest.raises(errors.NotFound):
        keys.revoke(database, "missing", at_seconds=NOON)


def test_a_role_nobody_knows_is_refused(database: Database) -> None:
    with pytest.raises(errors.Conflict):
        keys.add(database, a_key(role="root"))


def test_of_many_uses_the_latest_is_kept(database: Database) -> None:
    keys.add(database, a_key())
    for number in range(1000):
        keys.touch(database, "k1", at_seconds=NOON + number, address="10.0.0.7")
    assert database.flush()
    kept = keys.get(database, "k1")
    assert kept is not None
    assert (kept.last_used_seconds, kept.last_used_address) == (NOON + 999, "10.0.0.7")


def test_an_older_use_does_not_replace_a_newer_one(database: Database) -> None:
    keys.add(database, a_key())
    keys.touch(database, "k1", at_seconds=NOON + 10, address="10.0.0.7")
    assert database.flush()
    keys.touch(database, "k1", at_seconds=NOON + 5, address="10.0.0.8")
    assert database.flush()
    kept = keys.get(database, "k1")
    assert kept is not None
    assert kept.last_used_address == "10.0.0.7"
