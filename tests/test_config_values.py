"""The types of settings: what they take and what they refuse."""

import ipaddress
from typing import Any

import msgspec
import pytest

from appliance.config_values import PRIVATE_NETWORKS, Bytes, Count, Port, Seconds, Section, Weight


class Example(Section, frozen=True):
    """A section with one key."""

    key: int = 1


@pytest.mark.parametrize(
    ("kind", "good", "bad"),
    [
        (Port, 0, 65_536),
        (Seconds, 0.5, 0.0),
        (Count, 1, 0),
        (Bytes, 1, 0),
        (Weight, "vehicle-type=3", "vehicle-type=0"),
    ],
)
def test_a_value_is_taken_inside_of_its_bounds_only(kind: Any, good: Any, bad: Any) -> None:
    assert msgspec.convert(good, kind) == good
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(bad, kind)


def test_a_section_refuses_a_key_that_it_does_not_know() -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"kye": 2}, Example)


def test_the_private_networks_are_private() -> None:
    assert all(ipaddress.ip_network(one).is_private for one in PRIVATE_NETWORKS)
