import apsw
import msgspec
import pytest

from appliance.actions.authenticate import authenticate
from appliance.actions.callers import Caller, Role, local_admin
from appliance.actions.issue_key import NewKey, issue_key
from appliance.actions.key_ring import KeyRing
from appliance.actions.revoke_key import revoke_key
from appliance.clock import ManualClock
from appliance.errors import Conflict, DatabaseUnavailable, Problem, Unauthenticated
from appliance.store import audit
from tests.access_parts import issued, issued_with_id, opened


@pytest.fixture
def clock():
    return ManualClock()


@pytest.fixture
def database(tmp_path, clock):
    with opened(tmp_path / "state", clock) as database:
        yield database


@pytest.fixture
def ring(database, clock):
    return KeyRing(database, clock)


def test_keys_and_revocations_survive_a_restart(ring, database, clock):
    kept, (gone, gone_id) = issued(ring), issued_with_id(ring)
    revoke_key(ring, gone_id, caller=local_admin())
    after = KeyRing(database, clock)
    authenticate(after, kept, address="192.0.2.1")
    with pytest.raises(Unauthenticated, match="revoked at"):
        authenticate(after, gone, address="192.0.2.1")


def test_every_change_has_its_row_in_the_audit(ring, database):
    _, key_id = issued_with_id(ring, name="camera 1")
    by = Caller(key_name="ann", key_id="a1b2c3", role=Role.ADMIN, address="192.0.2.5")
    revoke_key(ring, key_id, caller=by)
    revoked, created = audit.rows(database)
    assert (created.action, created.actor, created.subject) == (
        "key.create",
        "local-admin",
        key_id,
    )
    assert '"name":"camera 1"' in created.detail
    assert (revoked.action, revoked.actor, revoked.subject, revoked.address) == (
        "key.revoke",
        "ann (a1b2c3)",
        key_id,
        "192.0.2.5",
    )
    assert audit.verify(database) is None


def test_a_key_whose_audit_row_fails_does_not_exist(ring, database):
    _, key = issue_key(ring, NewKey(name="a", role=Role.DEVICE), caller=local_admin())

    def refuse(connection):
        raise Conflict("the audit refuses")

    other = msgspec.structs.replace(key, id="zzzzzz")
    with pytest.raises(Conflict, match="the audit refuses"):
        ring.add(other, refuse)
    assert ring.find("zzzzzz") is None
    assert "zzzzzz" not in [key.id for key in KeyRing(database, ring.clock).all()]


def test_a_revocation_the_store_cannot_take_still_holds_and_can_be_repeated(ring, database):
    text, key_id = issued_with_id(ring)

    def refuse(connection):
        raise apsw.BusyError("the disk is away")

    with pytest.raises(Problem):
        ring.revoke(key_id, refuse, may_be_last_admin=True)
    with pytest.raises(Unauthenticated, match="revoked"):
        authenticate(ring, text, address="192.0.2.1")
    revoke_key(ring, key_id, caller=local_admin())
    assert KeyRing(database, ring.clock).find(key_id).key.revoked_seconds is not None


def test_a_key_stays_unissued_when_the_database_is_closed(ring, database):
    database.close()
    with pytest.raises((DatabaseUnavailable, Problem)):
        issued(ring)
    assert ring.all() == []


def test_the_last_use_is_seen_at_once_and_stored_once_a_minute(ring, database, clock):
    text = issued(ring)
    authenticate(ring, text, address="192.0.2.1")
    first_seconds = clock.wall_seconds()
    database.flush()
    clock.advance(30)
    authenticate(ring, text, address="192.0.2.2")
    database.flush()
    assert ring.all()[0].last_used_address == "192.0.2.2"
    assert ring.all()[0].last_used_seconds == clock.wall_seconds()
    assert KeyRing(database, clock).all()[0].last_used_seconds == first_seconds
    clock.advance(30)
    authenticate(ring, text, address="192.0.2.3")
    database.flush()
    assert KeyRing(database, clock).all()[0].last_used_address == "192.0.2.3"


def test_a_stop_stores_the_last_uses(ring, database, clock):
    text = issued(ring)
    authenticate(ring, text, address="192.0.2.1")
    clock.advance(5)
    authenticate(ring, text, address="192.0.2.2")
    ring.save_uses()
    database.flush()
    assert KeyRing(database, clock).all()[0].last_used_address == "192.0.2.2"


def test_keys_are_listed_oldest_first(ring, clock):
    ids = []
    for _ in range(3):
        ids.append(issued_with_id(ring)[1])
        clock.advance(1)
    assert [key.id for key in ring.all()] == ids
