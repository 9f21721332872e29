"""Every API key in memory, so that a request is authenticated without touching the database."""

import threading
from collections.abc import Callable

import msgspec

from appliance.actions.callers import Role
from appliance.actions.networks import networks_of
from appliance.clock import Clock
from appliance.errors import Conflict, NotFound
from appliance.store import keys
from appliance.store.connection import Connection
from appliance.store.database import Database
from appliance.store.keys import StoredKey

#: Last-used times reach the store at most this often for one key; a crash loses no more.
USE_INTERVAL_SECONDS = 60.0
#: At about 1 KiB each, 10 MiB.
MOST_LIVE_KEYS = 10_000

#: Appends the audit row of a change, in the transaction of that change.
Record = Callable[[Connection], None]


class Entry:
    """One key of the ring, ready to be compared.

    Threads: `key` is replaced whole and never changed. The uses are written by any request's
    thread without a lock; two at once may lose one of two equally recent uses, which is no harm.
    """

    __slots__ = ("key", "networks", "next_touch", "role", "used_address", "used_seconds")

    def __init__(self, key: StoredKey) -> None:
        self.key = key
        self.role = Role(key.role)
        self.networks = networks_of(key.source_networks)
        self.used_seconds = key.last_used_seconds
        self.used_address = key.last_used_address
        self.next_touch = 0.0

    def shown(self) -> StoredKey:
        """Return the key with its last use as known here, up to a minute ahead of the store."""
        return msgspec.structs.replace(
            self.key, last_used_seconds=self.used_seconds, last_used_address=self.used_address
        )


class KeyRing:
    """All keys by id, written through to the store.

    Threads: any. Reading takes no lock, as a dictionary's look-up is atomic; every change holds
    `_change` from its check to its COMMIT, so that two admins cannot revoke each other at once.
    """

    def __init__(self, database: Database, clock: Clock) -> None:
        self.clock = clock
        self._database = database
        self._change = threading.Lock()
        self._entries = {key.id: Entry(key) for key in keys.all_keys(database)}
        #: Dead here, but the store could not yet be told; guarded by `_change`.
        self._unstored_revocations: set[str] = set()

    def find(self, key_id: str) -> Entry | None:
        """Given an id, return the entry of that key, revoked and expired ones too, or None."""
        return self._entries.get(key_id)

    def all(self) -> list[StoredKey]:
        """Return every key, oldest first, with its last use."""
        shown = [entry.shown() for entry in list(self._entries.values())]
        return sorted(shown, key=lambda key: (key.created_seconds, key.id))

    def is_live(self, key: StoredKey) -> bool:
        """Given a key, return whether it opens anything at this moment."""
        return key.revoked_seconds is None and not self.is_expired(key)

    def is_expired(self, key: StoredKey) -> bool:
        """Given a key, return whether its time is over by the wall clock.

        Nothing is remembered of it: when a wrong clock is set right, the key is good again.
        """
        return key.expires_seconds is not None and self.clock.wall_seconds() >= key.expires_seconds

    def live_admins(self) -> list[str]:
        """Return the ids of the keys that can administer at this moment."""
        return [
            entry.key.id
            for entry in list(self._entries.values())
            if entry.role is Role.ADMIN and self.is_live(entry.key)
        ]

    def add(self, key: StoredKey, record: Record) -> None:
        """Given a new key, store it and its audit row in one transaction, then let it in.

        Raise Conflict when there are too many keys; a problem of the database leaves no key.
        """
        with self._change:
            if sum(self.is_live(entry.key) for entry in self._entries.values()) >= MOST_LIVE_KEYS:
                raise Conflict(
                    f"There are {MOST_LIVE_KEYS} live keys, which is the most there can be."
                    " Revoke those that are no longer used."
                )

            def work(connection: Connection) -> None:
                keys.add(connection, key)
                record(connection)

            self._database.write(work)
            self._entries[key.id] = Entry(key)

    def revoke(self, key_id: str, record: Record, *, may_be_last_admin: bool) -> None:
        """Given an id, make that key dead from this moment on and store so with its audit row.

        Raise NotFound for no such live key, Conflict for the last admin key unless that is
        allowed. When the store fails, the key is dead here all the same and the store's problem is
        raised, so that the admin repeats the call before a restart would revive the key.
        """
        with self._change:
            entry = self._entries.get(key_id)
            if entry is None or not self._is_revocable(entry.key):
                raise NotFound(f"There is no live key with the id {key_id[:16]!r}.")
            if not may_be_last_admin and self.live_admins() == [key_id]:
                raise Conflict(
                    "This is the last admin key, and without one nobody could issue keys. Create"
                    " another admin key first, or revoke it with the command 'keys revoke' on"
                    " the appliance itself."
                )
            at_seconds = entry.key.revoked_seconds or self.clock.wall_seconds()
            entry.key = msgspec.structs.replace(entry.key, revoked_seconds=at_seconds)
            self._unstored_revocations.add(key_id)

            def work(connection: Connection) -> None:
                keys.revoke(connection, key_id, at_seconds=at_seconds)
                record(connection)

            self._database.write(work)
            self._unstored_revocations.discard(key_id)

    def note_use(self, entry: Entry, address: str) -> None:
        """Given the entry of a key that was accepted just now, remember when and from where."""
        entry.used_seconds = self.clock.wall_seconds()
        entry.used_address = address
        now = self.clock.monotonic()
        if now >= entry.next_touch:
            entry.next_touch = now + USE_INTERVAL_SECONDS
            self._touch(entry)

    def save_uses(self) -> None:
        """Hand the store every last use it has not seen; for a stop, before it is closed."""
        for entry in list(self._entries.values()):
            if entry.used_seconds != entry.key.last_used_seconds:
                self._touch(entry)

    def _touch(self, entry: Entry) -> None:
        if entry.used_seconds is not None:
            keys.touch(
                self._database,
                entry.key.id,
                at_seconds=entry.used_seconds,
                address=entry.used_address,
            )

    def _is_revocable(self, key: StoredKey) -> bool:
        return key.revoked_seconds is None or key.id in self._unstored_revocations
