import pytest

from appliance.errors import RateLimited, Unavailable
from appliance.web.census import RESERVED_FOR_LOCAL, Census, is_loopback, plain_address


def test_one_address_cannot_take_all_places():
    census = Census(most=100, most_per_address=2)
    census.enter("10.0.0.1")
    census.enter("10.0.0.1")
    with pytest.raises(RateLimited):
        census.enter("10.0.0.1")
    census.enter("10.0.0.2")
    census.leave("10.0.0.1")
    census.enter("10.0.0.1")
    assert census.open == 3


def test_this_machine_is_exempt_and_has_places_left_when_others_have_none():
    census = Census(most=10, most_per_address=100)
    for _ in range(10 - RESERVED_FOR_LOCAL):
        census.enter("10.0.0.1")
    with pytest.raises(Unavailable):
        census.enter("10.0.0.2")
    for _ in range(RESERVED_FOR_LOCAL):
        census.enter("127.0.0.1")
    with pytest.raises(Unavailable):
        census.enter("127.0.0.1")


def test_addresses_are_forgotten_when_they_have_left():
    census = Census(most=10, most_per_address=5)
    for number in range(1000):
        census.enter(f"10.0.{number // 250}.{number % 250}")
        census.leave(f"10.0.{number // 250}.{number % 250}")
    assert not census._by_address
    assert census.open == 0


def test_mapped_and_scoped_addresses_are_plain():
    assert plain_address("::ffff:10.0.0.1") == "10.0.0.1"
    assert plain_address("fe80::1%eth0") == "fe80::1"
    assert plain_address("::ffff:1") == "::ffff:1"


def test_loopback_is_recognised():
    assert is_loopback("127.8.8.8")
    assert is_loopback("::1")
    assert not is_loopback("10.0.0.1")
    assert not is_loopback("garbage")
