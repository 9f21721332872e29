import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.actions.networks import block_of, is_inside, is_loopback, networks_of
from appliance.errors import ConfigInvalid


@pytest.mark.parametrize(
    ("address", "is_in"),
    [
        ("192.168.1.9", True),
        ("192.168.2.9", False),
        ("::ffff:192.168.1.9", True),
        ("fd00::1", True),
        ("fd00::1%eth0", True),
        ("2001:db8::1", False),
        ("", False),
        ("unknown", False),
        ("192.168.1.9, 10.0.0.1", False),
    ],
)
def test_an_address_is_inside_its_networks_only(address, is_in):
    assert is_inside(address, networks_of(["192.168.1.0/24", "fd00::/8"])) is is_in


def test_what_is_no_network_is_refused_by_name():
    with pytest.raises(ConfigInvalid, match=r"'10.0.0.0/33' is not a network"):
        networks_of(["10.0.0.0/8", "10.0.0.0/33"])


@pytest.mark.parametrize("address", ["127.0.0.1", "127.8.8.8", "::1", "::ffff:127.0.0.1"])
def test_loopback_is_known_in_all_its_forms(address):
    assert is_loopback(address)


@pytest.mark.parametrize("address", ["128.0.0.1", "0.0.0.0", "localhost", "", "::", "fe80::1"])
def test_nothing_else_is_loopback(address):
    assert not is_loopback(address)


def test_all_addresses_of_one_ipv6_host_are_one_peer():
    assert block_of("2001:db8:1:2::5") == block_of("2001:db8:1:2:ffff::9")
    assert block_of("2001:db8:1:2::5") != block_of("2001:db8:1:3::5")
    assert block_of("10.0.0.1") == block_of("::ffff:10.0.0.1") != block_of("10.0.0.2")


@given(st.text(max_size=200))
def test_no_address_makes_these_fail(address):
    assert not is_inside(address, ())
    is_loopback(address)
    assert len(block_of(address)) <= 64
