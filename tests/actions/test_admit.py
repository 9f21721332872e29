import pytest

from appliance import config
from appliance.actions.admit import Gate, keyless
from appliance.actions.callers import Role, local_admin
from appliance.actions.key_format import new_key
from appliance.actions.key_ring import KeyRing
from appliance.actions.revoke_key import revoke_key
from appliance.clock import ManualClock
from appliance.errors import RateLimited, Unauthenticated
from tests.access_parts import issued, issued_with_id, opened


@pytest.fixture
def clock():
    return ManualClock()


@pytest.fixture
def ring(tmp_path, clock):
    with opened(tmp_path / "state", clock) as database:
        yield KeyRing(database, clock)


def gate_of(ring, **access):
    return Gate(ring, ring.clock, access=config.Access(**access), metrics=config.Metrics())


def admitted(gate, key=None, address="192.0.2.1", **given):
    return gate.admit(x_api_key=key, authorization=None, address=address, **given)


def test_a_valid_key_counts_in_its_own_bucket_wherever_it_comes_from(ring):
    gate = gate_of(ring, burst=3)
    mine, other = issued(ring), issued(ring)
    left = [admitted(gate, mine, f"192.0.2.{n}").allowance.remaining for n in range(3)]
    assert left == [2, 1, 0]
    spent = admitted(gate, mine)
    with pytest.raises(RateLimited, match="'a device' sent more requests"):
        spent.raise_if_spent()
    assert admitted(gate, other).allowance.is_allowed


def test_without_a_key_the_address_counts(ring):
    gate = gate_of(ring, anonymous_burst=2)
    for _ in range(2):
        admitted(gate).raise_if_spent()
    with pytest.raises(RateLimited, match=r"'192.0.2.1' sent more requests"):
        admitted(gate).raise_if_spent()
    admitted(gate, address="192.0.2.2").raise_if_spent()


def test_wrong_keys_are_told_401_until_there_were_too_many(ring):
    gate = gate_of(ring, failed_keys_burst=3)
    faults = [admitted(gate, new_key()[0]).fault for _ in range(4)]
    assert [type(fault) for fault in faults] == [Unauthenticated] * 3 + [RateLimited]
    assert type(admitted(gate, new_key()[0], "192.0.2.2").fault) is Unauthenticated


def test_a_key_that_was_good_once_is_no_guess(ring):
    gate = gate_of(ring, failed_keys_burst=1)
    text, key_id = issued_with_id(ring)
    revoke_key(ring, key_id, caller=local_admin())
    assert {type(admitted(gate, text).fault) for _ in range(5)} == {Unauthenticated}


def test_a_neighbours_wrong_keys_do_not_lock_a_good_key_out(ring):
    gate = gate_of(ring, failed_keys_burst=1, anonymous_burst=1)
    good = issued(ring)
    for _ in range(10):
        admitted(gate, new_key()[0])
    assert admitted(gate, good).fault is None
    assert admitted(gate, good).caller.role is Role.DEVICE


def test_a_wrong_key_never_becomes_the_keyless_operator(ring):
    gate = gate_of(ring, required=False)
    assert admitted(gate, None, "127.0.0.1").caller.role is Role.OPERATOR
    assert admitted(gate, new_key()[0], "127.0.0.1").caller.is_anonymous


@pytest.mark.parametrize("address", ["127.0.0.1", "::1", "::ffff:127.0.0.1"])
def test_only_this_machine_is_served_without_a_key(ring, address):
    gate = gate_of(ring, required=False)
    assert admitted(gate, address=address).caller.role is Role.OPERATOR
    assert admitted(gate, address="192.168.1.2").caller.is_anonymous
    assert admitted(gate, address=address, is_cross_site=True).caller.is_anonymous
    assert admitted(gate_of(ring), address=address).caller.is_anonymous


def test_keyless_callers_never_administer():
    assert keyless("127.0.0.1").role is Role.OPERATOR
    assert keyless("10.0.0.1").is_anonymous


def test_a_large_body_is_let_in_only_for_a_valid_key(ring):
    gate = gate_of(ring)
    text = issued(ring, source_networks=("192.0.2.0/24",))
    assert gate.authorised({"X_API_KEY": text}, "192.0.2.1")
    assert gate.authorised({"AUTHORIZATION": f"Bearer {text}"}, "192.0.2.1")
    assert not gate.authorised({"X_API_KEY": text}, "198.51.100.1")
    assert not gate.authorised({"X_API_KEY": new_key()[0]}, "192.0.2.1")
    assert not gate.authorised({"AUTHORIZATION": "Basic a2V5"}, "192.0.2.1")
    assert not gate.authorised({}, "192.0.2.1")
    assert not gate.authorised({}, "127.0.0.1")


def test_without_required_keys_loopback_may_send_large_bodies(ring):
    gate = gate_of(ring, required=False)
    assert gate.authorised({}, "127.0.0.1")
    assert not gate.authorised({}, "192.0.2.1")


def test_limits_hold_while_the_wall_clock_jumps(ring, clock):
    gate = gate_of(ring, burst=2, requests_per_second=1)
    key = issued(ring)
    for jump_seconds in (0, 86400):
        clock.jump(jump_seconds)
        admitted(gate, key).raise_if_spent()
    clock.jump(-2 * 86400)
    with pytest.raises(RateLimited):
        admitted(gate, key).raise_if_spent()
    clock.advance(1)
    admitted(gate, key).raise_if_spent()
