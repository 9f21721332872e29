"""Small facts the appliance keeps about itself, each a name and a JSON value."""

from typing import Any

import msgspec

from appliance.store.connection import Connection, Store
from appliance.store.tables import Setting

_PUT = (
    "INSERT INTO settings (name, value) VALUES (?, ?)"
    " ON CONFLICT (name) DO UPDATE SET value = excluded.value"
)


def get(store: Store, name: str) -> Any:
    """Given a name, return the value kept under it, or None."""
    with store.read() as connection:
        rows = connection.rows(Setting.select(Setting.value).where(Setting.name == name))
    return msgspec.json.decode(rows[0][0]) if rows else None


def put(store: Store, name: str, value: Any) -> None:
    """Given a name and a JSON-able value, keep it durably in place of the one before."""
    text = msgspec.json.encode(value).decode()

    def work(connection: Connection) -> None:
        connection.sql(_PUT, (name, text))

    store.write(work)


def remove(store: Store, name: str) -> None:
    """Given a name, forget its value."""
    store.write(lambda connection: connection.run(Setting.delete().where(Setting.name == name)))
