import string
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.actions.authenticate import authenticate, credential
from appliance.actions.callers import Role
from appliance.actions.key_format import new_key
from appliance.actions.key_ring import KeyRing
from appliance.clock import ManualClock
from appliance.errors import Unauthenticated
from tests.access_parts import issued, opened


@pytest.fixture
def clock():
    return ManualClock()


@pytest.fixture
def ring(tmp_path, clock):
    with opened(tmp_path / "state", clock) as database:
        yield KeyRing(database, clock)


def test_a_key_leads_to_its_caller(ring):
    text = issued(ring, Role.OPERATOR, name="Würfel 7", models=("step",))
    caller = authenticate(ring, text, address="192.0.2.1")
    assert (caller.key_name, caller.role, caller.models) == ("Würfel 7", Role.OPERATOR, ("step",))
    assert caller.address == "192.0.2.1"
    assert caller.key_id == text[4:10]


def test_a_mistyped_key_is_looked_up_nowhere():
    with pytest.raises(Unauthenticated, match="not valid"):
        authenticate(None, new_key()[0][:-1] + "!", address="192.0.2.1")


def test_unknown_and_wrong_secrets_get_the_same_answer(ring):
    known = issued(ring)
    unknown, _ = new_key()
    answers = set()
    for text in (unknown, _with_id_of(known)):
        with pytest.raises(Unauthenticated) as caught:
            authenticate(ring, text, address="192.0.2.1")
        answers.add(caught.value.detail)
    assert len(answers) == 1


def test_an_expired_key_is_refused_from_that_moment(ring, clock):
    text = issued(ring, expires_in_days=60 / 86400)
    clock.advance(59.9)
    authenticate(ring, text, address="192.0.2.1")
    clock.advance(0.1)
    with pytest.raises(Unauthenticated, match="expired at 2026-"):
        authenticate(ring, text, address="192.0.2.1")


def test_a_clock_that_was_wrong_for_a_while_expires_no_key_for_good(ring, clock):
    text = issued(ring, expires_in_days=1)
    clock.jump(366 * 86400)
    with pytest.raises(Unauthenticated, match="expired"):
        authenticate(ring, text, address="192.0.2.1")
    clock.jump(-366 * 86400)
    authenticate(ring, text, address="192.0.2.1")


def test_a_key_opens_only_from_its_networks(ring):
    text = issued(ring, source_networks=("192.168.1.77/24", "fd00::/8"))
    authenticate(ring, text, address="192.168.1.9")
    authenticate(ring, text, address="::ffff:192.168.1.9")
    authenticate(ring, text, address="fd12::1")
    for elsewhere in ("192.168.2.9", "127.0.0.1", "unknown", ""):
        with pytest.raises(Unauthenticated, match="may not be used from"):
            authenticate(ring, text, address=elsewhere)


def test_bearer_and_x_api_key_carry_the_same_thing():
    assert credential(x_api_key="k", authorization=None) == "k"
    assert credential(x_api_key=None, authorization="Bearer k") == "k"
    assert credential(x_api_key=None, authorization="bEARER   k ") == "k"
    assert credential(x_api_key="k", authorization="Bearer k") == "k"
    assert credential(x_api_key=None, authorization=None) is None


def test_two_different_keys_are_refused():
    with pytest.raises(Unauthenticated, match="different keys"):
        credential(x_api_key="k", authorization="Bearer other")


@pytest.mark.parametrize("value", ["", "Bearer", "Bearer ", "Basic a2V5", "k", "Token k"])
def test_other_schemes_are_refused(value):
    with pytest.raises(Unauthenticated, match="'Bearer'"):
        credential(x_api_key=None, authorization=value)


@given(st.none() | st.text(max_size=300), st.none() | st.text(max_size=300))
def test_no_header_makes_it_fail_otherwise(x_api_key, authorization):
    try:
        text = credential(x_api_key=x_api_key, authorization=authorization)
    except Unauthenticated:
        return
    if text is not None:
        with pytest.raises(Unauthenticated):
            authenticate(None, text, address="192.0.2.1")


def _with_id_of(known: str) -> str:
    """Return a well-formed key with a known id and another secret."""
    body = known[:11] + new_key()[0][11:41]
    number, digits = zlib.crc32(body.encode()), ""
    for _ in range(6):
        number, digit = divmod(number, 62)
        digits = (string.digits + string.ascii_uppercase + string.ascii_lowercase)[digit] + digits
    return body + digits
