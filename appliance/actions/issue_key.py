"""Issue keys: on an admin's request, and the very first one when the appliance is new."""

import ipaddress
import os
from datetime import datetime
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta

from appliance.actions import audit
from appliance.actions.callers import Caller, Role
from appliance.actions.key_format import new_key
from appliance.actions.key_ring import KeyRing, Record
from appliance.errors import FieldError, InvalidInput, StateUnusable
from appliance.library.manifest import Name
from appliance.store.connection import Connection
from appliance.store.keys import StoredKey

ADMIN_KEY_FILE = "admin-key"

#: Year 9500: beyond 9999 a time cannot be written as RFC 3339 text.
_LATEST_EXPIRY_SECONDS = 237_600_000_000.0

#: Letters, digits and plain signs of any script, but no control or formatting characters: names
#: come back in logs and terminals.
KeyName = Annotated[str, Meta(min_length=1, max_length=80, pattern=r"^[^\x00-\x1f\x7f-\x9f]+$")]
NetworkText = Annotated[str, Meta(min_length=2, max_length=49)]


class NewKey(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What an admin asks for; empty `models` and `source_networks` mean no such bound."""

    name: Annotated[KeyName, Meta(description="What or who the key is for.")]
    role: Role
    models: Annotated[tuple[Name, ...], Meta(max_length=64)] = ()
    source_networks: Annotated[
        tuple[NetworkText, ...],
        Meta(max_length=32, description="Networks it may be used from, such as 192.168.1.0/24."),
    ] = ()
    expires: Annotated[datetime, Meta(tz=True)] | None = None


def issue_key(ring: KeyRing, wanted: NewKey, *, caller: Caller) -> tuple[str, StoredKey]:
    """Given what is wanted, issue a key and return its text, for once, and what was stored.

    Raise InvalidInput for a network that is none or an expiry that is over, Conflict for too many
    keys, and the store's problems.
    """
    text, key = _fresh(ring, wanted)
    ring.add(key, _record(ring, caller, key))
    return text, key


def ensure_admin_key(ring: KeyRing, state_dir: Path) -> Path | None:
    """Given the state directory, make sure somebody can administer; return the file if written.

    Where no live admin key exists, a new one is written to `admin-key` (mode 0400) and stored. The
    file comes first: a crash in between leaves a file with a dead key, which the next start
    replaces; the other order would leave a key whose text nobody has. Raise StateUnusable when
    the file cannot be written.
    """
    if ring.live_admins():
        return None
    text, key = _fresh(ring, NewKey(name="admin", role=Role.ADMIN))
    path = state_dir / ADMIN_KEY_FILE
    try:
        _write_secret(path, text + "\n")
    except OSError as fault:
        raise StateUnusable(
            f"The admin key cannot be written to {path}: {fault.strerror}. Make the state"
            " directory writable for the user the appliance runs as."
        ) from fault
    starter = Caller(key_name="first-start", address="local", role=Role.ADMIN)
    ring.add(key, _record(ring, starter, key))
    return path


def _fresh(ring: KeyRing, wanted: NewKey) -> tuple[str, StoredKey]:
    now_seconds = ring.clock.wall_seconds()
    text, parsed = new_key()
    while ring.find(parsed.id) is not None:
        text, parsed = new_key()
    key = StoredKey(
        id=parsed.id,
        name=wanted.name,
        role=wanted.role.value,
        secret_sha256=parsed.secret_sha256,
        models=wanted.models,
        source_networks=_checked_networks(wanted.source_networks),
        created_seconds=now_seconds,
        expires_seconds=_checked_expiry(wanted.expires, now_seconds),
    )
    return text, key


def _checked_networks(texts: tuple[str, ...]) -> tuple[str, ...]:
    found, faults = [], []
    for place, text in enumerate(texts):
        try:
            found.append(str(ipaddress.ip_network(text, strict=False)))
        except ValueError:
            detail = f"{text!r} is not a network; write one like 192.168.1.0/24 or fd00::/8."
            faults.append(FieldError(detail=detail, pointer=f"/source_networks/{place}"))
    if faults:
        raise InvalidInput(faults[0].detail, errors=tuple(faults))
    return tuple(found)


def _checked_expiry(expires: datetime | None, now_seconds: float) -> float | None:
    if expires is None:
        return None
    expires_seconds = expires.timestamp()
    if expires_seconds > _LATEST_EXPIRY_SECONDS:
        raise InvalidInput(
            "'expires' is too far away; leave it out for a key without an end.", pointer="/expires"
        )
    if expires_seconds <= now_seconds:
        raise InvalidInput(
            "The key would be expired at once; 'expires' must be in the future.",
            pointer="/expires",
        )
    return expires_seconds


def _record(ring: KeyRing, caller: Caller, key: StoredKey) -> Record:
    detail = {
        "name": key.name,
        "role": key.role,
        "models": key.models,
        "source_networks": key.source_networks,
        "expires_seconds": key.expires_seconds,
    }

    def record(connection: Connection) -> None:
        audit.record(
            connection,
            caller,
            action="key.create",
            subject=key.id,
            detail=detail,
            clock=ring.clock,
        )

    return record


def _write_secret(path: Path, text: str) -> None:
    """Write a file that is there whole or not at all after a power cut, readable by its owner."""
    partial = path.with_name(path.name + ".tmp")
    partial.unlink(missing_ok=True)
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o400)
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
