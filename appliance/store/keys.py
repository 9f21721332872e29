"""API keys as they are kept: a hash of the secret, never the secret."""

from collections.abc import Sequence
from typing import Any

import msgspec

from appliance import errors
from appliance.store.connection import Connection, Store
from appliance.store.database import Database
from appliance.store.tables import Key


class StoredKey(msgspec.Struct, frozen=True, kw_only=True):
    """One key; empty `models` or `source_networks` mean all, times are seconds since 1970 UTC."""

    id: str
    name: str
    role: str
    secret_sha256: bytes
    models: tuple[str, ...] = ()
    source_networks: tuple[str, ...] = ()
    created_seconds: float
    expires_seconds: float | None = None
    revoked_seconds: float | None = None
    last_used_seconds: float | None = None
    last_used_address: str = ""


_FIELDS: tuple[str, ...] = StoredKey.__struct_fields__
_COLUMNS = tuple(getattr(Key, name) for name in _FIELDS)
_JSON_FIELDS = ("models", "source_networks")

_TOUCH = (
    "UPDATE keys SET last_used_seconds = ?1, last_used_address = ?2"
    " WHERE id = ?3 AND coalesce(last_used_seconds, 0) < ?1"
)


def add(store: Store, key: StoredKey) -> None:
    """Given a key, keep it durably; raise Conflict when its id exists."""
    values: dict[str, Any] = msgspec.structs.asdict(key)
    for name in _JSON_FIELDS:
        values[name] = msgspec.json.encode(values[name]).decode()

    def work(connection: Connection) -> None:
        if connection.rows(Key.select(Key.id).where(Key.id == key.id)):
            raise errors.Conflict(f"A key with the id {key.id!r} exists.")
        connection.run(Key.insert(**values))

    store.write(work)


def revoke(store: Store, key_id: str, *, at_seconds: float) -> StoredKey:
    """Given an id, end the key durably and return it; raise NotFound when there is none.

    A key revoked before keeps its first time.
    """

    def work(connection: Connection) -> StoredKey:
        connection.run(
            Key.update(revoked_seconds=at_seconds).where(
                Key.id == key_id, Key.revoked_seconds.is_null()
            )
        )
        found = get(connection, key_id)
        if found is None:
            raise errors.NotFound(f"There is no key with the id {key_id!r}.")
        return found

    return store.write(work)


def get(store: Store, key_id: str) -> StoredKey | None:
    """Given an id, return the key, or None."""
    with store.read() as connection:
        rows = connection.rows(Key.select(*_COLUMNS).where(Key.id == key_id))
    return _key(rows[0]) if rows else None


def all_keys(store: Store) -> tuple[StoredKey, ...]:
    """Return every key, revoked ones too, in the order of creation."""
    query = Key.select(*_COLUMNS).order_by(Key.created_seconds, Key.id)
    with store.read() as connection:
        return tuple(_key(row) for row in connection.rows(query))


def touch(database: Database, key_id: str, *, at_seconds: float, address: str) -> None:
    """Given a key that was just used, note when and from where, within seconds.

    Cheap enough for every request: only the latest use of each key is written.
    """
    database.submit_latest(("key used", key_id), _TOUCH, (at_seconds, address, key_id))


def _key(row: Sequence[Any]) -> StoredKey:
    values = dict(zip(_FIELDS, row, strict=True))
    for name in _JSON_FIELDS:
        values[name] = msgspec.json.decode(values[name], type=tuple[str, ...])
    return StoredKey(**values)
