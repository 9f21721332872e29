"""Networks and addresses, read the same way for keys, metrics and limits."""

import ipaddress
from collections.abc import Iterable
from functools import lru_cache

from appliance.errors import ConfigInvalid

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def networks_of(texts: Iterable[str]) -> tuple[Network, ...]:
    """Given networks as text, return them parsed; raise ConfigInvalid naming the first bad one."""
    found: list[Network] = []
    for text in texts:
        try:
            found.append(ipaddress.ip_network(text, strict=False))
        except ValueError:
            raise ConfigInvalid(
                f"{text!r} is not a network. Write an address, or one like 192.168.1.0/24."
            ) from None
    return tuple(found)


@lru_cache(maxsize=4096)
def is_inside(address: str, networks: tuple[Network, ...]) -> bool:
    """Given a peer's address, return whether one of the networks holds it."""
    parsed = _parsed(address)
    return parsed is not None and any(parsed in network for network in networks)


@lru_cache(maxsize=4096)
def is_loopback(address: str) -> bool:
    """Given a peer's address, return whether it is this machine's loopback."""
    parsed = _parsed(address)
    return parsed is not None and parsed.is_loopback


@lru_cache(maxsize=4096)
def block_of(address: str) -> str:
    """Given a peer's address, return the block of addresses that counts as one peer.

    One IPv6 host may pick any address of its /64 (RFC 4291 section 2.5.1), so the /64 is one
    peer: a limit for each single address would be no limit at all.
    """
    parsed = _parsed(address)
    if parsed is None:
        return address[:64]
    if isinstance(parsed, ipaddress.IPv4Address):
        return str(parsed)
    return parsed.exploded[:19]


def _parsed(address: str) -> Address | None:
    """Return the address; an IPv4 peer of an IPv6 socket (`::ffff:10.0.0.1`) counts as IPv4."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return None
    if isinstance(parsed, ipaddress.IPv6Address) and parsed.ipv4_mapped is not None:
        return parsed.ipv4_mapped
    return parsed
