import pytest

from appliance.web.host_names import HostNames, machine_names

NAMES = HostNames(("box.example", "*.lan.example"), machine_names("Station.home"))


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1", "10.1.2.3:8080", "[::1]", "[fe80::1]:8080", "localhost", "LOCALHOST:80",
        "station", "station.home", "station.local:8080", "box.example.", "Box.Example",
        "a.lan.example", "a.b.lan.example:1", "box.example:",
    ],
)  # fmt: skip
def test_its_own_names_and_addresses_are_accepted(host):
    assert NAMES.accepts(host)
    assert NAMES.accepts(host), "also when remembered"


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "lan.example",
        "xlan.example",
        "box.example.evil",
        "localhost.evil",
        "0x7f.1",
    ],
)
def test_other_names_are_not(host):
    assert NAMES.accepts(host) is False


@pytest.mark.parametrize("host", ["", "a b", "a/b", "u@box.example", "a:b", "[::1", "a:99999"])
def test_what_is_no_host_is_malformed(host):
    assert NAMES.accepts(host) is None


def test_a_star_switches_the_check_off():
    assert HostNames(("*",)).accepts("anything.example")


def test_the_memory_of_accepted_hosts_is_bounded():
    names = HostNames(("*",))
    for number in range(2000):
        assert names.accepts(f"h{number}.example")
    assert len(names._remembered) <= 256
