"""Revoke a key: dead on the next request, and the audit says by whom."""

from appliance.actions import audit
from appliance.actions.callers import Caller
from appliance.actions.key_ring import KeyRing
from appliance.errors import NotFound
from appliance.store.connection import Connection
from appliance.store.keys import StoredKey


def revoke_key(ring: KeyRing, key_id: str, *, caller: Caller) -> None:
    """Given a key's id, revoke it and append the audit row in the same transaction.

    Raise NotFound for no such live key, Conflict when a key tries to revoke the last admin key;
    from the admin socket that is allowed, as the socket stays open and the next start makes a
    new one.
    """
    key = known_key(ring, key_id)

    def record(connection: Connection) -> None:
        audit.record(
            connection,
            caller,
            action="key.revoke",
            subject=key_id,
            detail={"name": key.name, "role": key.role},
            clock=ring.clock,
        )

    ring.revoke(key_id, record, may_be_last_admin=caller.key_id is None)


def known_key(ring: KeyRing, key_id: str) -> StoredKey:
    """Given an id, return that key, revoked or not, with its last use; raise NotFound if none."""
    entry = ring.find(key_id)
    if entry is None:
        raise NotFound(f"There is no key with the id {key_id[:16]!r}.")
    return entry.shown()
