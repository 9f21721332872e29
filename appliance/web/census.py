"""Who is connected: a cap for everyone together and one for each address.

A few places are kept for this machine itself, so that the admin's own client and health checks get
in while others hold every connection they can.
"""

import ipaddress
from collections import Counter
from collections.abc import Callable

from appliance.errors import RateLimited, Unavailable

#: Places that only local clients may take when all others are gone.
RESERVED_FOR_LOCAL = 4


def plain_address(address: str) -> str:
    """Given a peer's address as the socket names it, return it without zone or IPv4 mapping."""
    address = address.partition("%")[0]
    return address[7:] if address.startswith("::ffff:") and "." in address else address


def is_loopback(address: str) -> bool:
    """Return whether the address is this machine's own loopback."""
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False


class Census:
    """Counts of open connections.

    Threads: only the serving loop.
    """

    def __init__(
        self, *, most: int, most_per_address: int, is_local: Callable[[str], bool] = is_loopback
    ) -> None:
        self._most = most
        self._most_for_others = max(1, most - RESERVED_FOR_LOCAL)
        self._most_per_address = most_per_address
        self._is_local = is_local
        self._by_address: Counter[str] = Counter()
        self.open = 0

    def enter(self, address: str) -> None:
        """Given a new peer, count it; raise Unavailable or RateLimited when there is no place."""
        is_local = self._is_local(address)
        if self.open >= (self._most if is_local else self._most_for_others):
            raise Unavailable("All connections are taken (http.connections); try again shortly.")
        if not is_local and self._by_address[address] >= self._most_per_address:
            raise RateLimited(
                "This address has too many connections (http.connections_per_address); reuse them."
            )
        self.open += 1
        self._by_address[address] += 1

    def leave(self, address: str) -> None:
        """Given a peer that was counted, forget one of its connections."""
        self.open -= 1
        self._by_address[address] -= 1
        if not self._by_address[address]:
            del self._by_address[address]
