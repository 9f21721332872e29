import threading

import pytest

from appliance.actions.authenticate import authenticate
from appliance.actions.callers import Caller, Role, local_admin
from appliance.actions.key_ring import KeyRing
from appliance.actions.revoke_key import known_key, revoke_key
from appliance.clock import ManualClock
from appliance.errors import Conflict, NotFound, Unauthenticated
from tests.access_parts import issued, issued_with_id, opened


@pytest.fixture
def ring(tmp_path):
    clock = ManualClock()
    with opened(tmp_path / "state", clock) as database:
        yield KeyRing(database, clock)


def test_a_revoked_key_is_dead_at_once(ring):
    text, key_id = issued_with_id(ring)
    authenticate(ring, text, address="192.0.2.1")
    revoke_key(ring, key_id, caller=local_admin())
    with pytest.raises(Unauthenticated, match="revoked at"):
        authenticate(ring, text, address="192.0.2.1")
    with pytest.raises(NotFound, match="no live key"):
        revoke_key(ring, key_id, caller=local_admin())


def test_the_last_admin_key_cannot_revoke_itself(ring):
    _, key_id = issued_with_id(ring, Role.ADMIN)
    itself = Caller(key_name="ann", key_id=key_id, role=Role.ADMIN, address="192.0.2.5")
    with pytest.raises(Conflict, match="last admin key"):
        revoke_key(ring, key_id, caller=itself)
    issued(ring, Role.ADMIN)
    revoke_key(ring, key_id, caller=itself)


def test_two_admins_revoking_each_other_leave_one(ring):
    ids = [issued_with_id(ring, Role.ADMIN)[1] for _ in range(2)]
    faults = []
    start = threading.Barrier(2)

    def revoke(key_id, by):
        caller = Caller(key_name="ann", key_id=by, role=Role.ADMIN, address="192.0.2.5")
        start.wait()
        try:
            revoke_key(ring, key_id, caller=caller)
        except Conflict as fault:
            faults.append(fault)

    threads = [threading.Thread(target=revoke, args=(ids[i], ids[1 - i])) for i in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(faults) == 1
    assert len(ring.live_admins()) == 1


def test_the_machines_own_admin_may_revoke_the_last_key(ring):
    _, key_id = issued_with_id(ring, Role.ADMIN)
    revoke_key(ring, key_id, caller=local_admin())
    assert ring.live_admins() == []


def test_a_revoked_key_is_still_known_with_its_time(ring):
    _, key_id = issued_with_id(ring)
    revoke_key(ring, key_id, caller=local_admin())
    assert known_key(ring, key_id).revoked_seconds == ring.clock.wall_seconds()


def test_an_id_nobody_has_is_not_found(ring):
    for key_id in ("nobody", "", "x" * 5000):
        with pytest.raises(NotFound) as caught:
            revoke_key(ring, key_id, caller=local_admin())
        assert len(caught.value.detail) < 100
