"""Who is connected: limits on WebSockets in all, of one key, and of those who show no key yet.

Each connection costs memory and a descriptor, so that none may take them all.
"""

import hashlib
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeVar

from appliance.stream.close_codes import CloseCode, HungUp

#: Connections of one address that have not shown a key yet.
MOST_KEYLESS_PER_ADDRESS = 32

T = TypeVar("T")


class Seats:
    """Counts connections. Threads: only the event loop's."""

    def __init__(self, *, most: int, most_per_key: int) -> None:
        self._most = most
        self._most_per_key = most_per_key
        self._taken = 0
        self._keyless: Counter[str] = Counter()
        self._keys: Counter[bytes] = Counter()

    @property
    def taken(self) -> int:
        """The connections there are."""
        return self._taken

    @contextmanager
    def seated(self) -> Iterator[None]:
        """Hold a place while the block runs; raise HungUp when there is none."""
        if self._taken >= self._most:
            raise HungUp(
                CloseCode.TRY_AGAIN,
                f"{self._most} connections are open, which is the most (gateway_connections).",
            )
        self._taken += 1
        try:
            yield
        finally:
            self._taken -= 1

    @contextmanager
    def waiting_for_key(self, address: str) -> Iterator[None]:
        """Given an address, hold one of its places without a key; raise HungUp if none is left."""
        if self._keyless[address] >= MOST_KEYLESS_PER_ADDRESS:
            raise HungUp(
                CloseCode.TOO_MANY, "Too many connections of this address have shown no key yet."
            )
        with _counted(self._keyless, address):
            yield

    @contextmanager
    def of_key(self, credential: str) -> Iterator[None]:
        """Given a credential, hold one of its key's places; raise HungUp when none is left."""
        subject = hashlib.blake2b(credential.encode(), digest_size=16).digest()
        if self._keys[subject] >= self._most_per_key:
            raise HungUp(
                CloseCode.TOO_MANY,
                f"{self._most_per_key} connections of this key are open"
                " (gateway_connections_per_key).",
            )
        with _counted(self._keys, subject):
            yield


@contextmanager
def _counted(counts: Counter[T], subject: T) -> Iterator[None]:
    counts[subject] += 1
    try:
        yield
    finally:
        counts[subject] -= 1
        if not counts[subject]:
            del counts[subject]
