"""Issue keys: on an admin's request, and the very first one when the appliance is new."""

import ipaddress
import os
import re
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
from appliance.plain_text import hidden_in, pattern
from appliance.store.connection import Connection
from appliance.store.keys import StoredKey

ADMIN_KEY_FILE = "admin-key"

_DAY_SECONDS = 86_400.0

# The patterns below are only told in the schema: checked by msgspec, a mistake would be answered
# with the pattern instead of a sentence.

#: Names come back in logs and terminals.
_NAME = pattern(least=1, most=80)
_HEX = "[0-9A-Fa-f]{1,4}"
_BYTE = "(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])"
#: IPv4, or IPv6 as eight groups, or with `::` at the end, the start or between (at most 7 colons).
_NETWORK = (
    rf"^(?:(?:{_BYTE}\.){{3}}{_BYTE}(?:/(?:3[0-2]|[12]?[0-9]))?"
    rf"|(?:(?:{_HEX}:){{7}}{_HEX}|(?:{_HEX}:){{1,7}}:|::(?:{_HEX}(?::{_HEX}){{0,6}})?"
    rf"|(?!(?:[^:]*:){{8}}){_HEX}(?::{_HEX}){{0,5}}::{_HEX}(?::{_HEX}){{0,5}})"
    r"(?:/(?:12[0-8]|1[01][0-9]|[1-9]?[0-9]))?)$"
)

KeyName = Annotated[str, Meta(min_length=1, max_length=80, extra_json_schema={"pattern": _NAME})]
NetworkText = Annotated[
    str, Meta(min_length=2, max_length=49, extra_json_schema={"pattern": _NETWORK})
]


class NewKey(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What an admin asks for; empty `models` and `source_networks` mean no such bound.

    The end is given as days from now, by the appliance's own clock: the clocks of those who ask
    need not be right.
    """

    name: Annotated[KeyName, Meta(description="What or who the key is for.")]
    role: Role
    models: Annotated[
        tuple[Name, ...], Meta(max_length=64, description="The only models it may use.")
    ] = ()
    source_networks: Annotated[
        tuple[NetworkText, ...],
        Meta(max_length=32, description="Networks it may be used from, such as 192.168.1.0/24."),
    ] = ()
    expires_in_days: (
        Annotated[float, Meta(gt=0, le=36_500, description="Days until it ends by itself.")] | None
    ) = None


def issue_key(ring: KeyRing, wanted: NewKey, *, caller: Caller) -> tuple[str, StoredKey]:
    """Given what is wanted, issue a key and return its text, for once, and what was stored.

    Raise InvalidInput for a name or network that is none, Conflict for too many keys, and the
    store's problems.
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
    now_seconds, days = ring.clock.wall_seconds(), wanted.expires_in_days
    text, parsed = new_key()
    while ring.find(parsed.id) is not None:
        text, parsed = new_key()
    key = StoredKey(
        id=parsed.id,
        name=_checked_name(wanted.name),
        role=wanted.role.value,
        secret_sha256=parsed.secret_sha256,
        models=wanted.models,
        source_networks=_checked_networks(wanted.source_networks),
        created_seconds=now_seconds,
        expires_seconds=None if days is None else now_seconds + days * _DAY_SECONDS,
    )
    return text, key


def _checked_name(name: str) -> str:
    found = hidden_in(name)
    if found:
        raise InvalidInput(
            f"The name holds the invisible character {found}, with which it can look like another"
            " or repaint a terminal; leave it out.",
            pointer="/name",
        )
    return name


def _checked_networks(texts: tuple[str, ...]) -> tuple[str, ...]:
    faults = tuple(
        FieldError(
            detail=f"{text!r} is not a network; write one like 192.168.1.0/24 or fd00::/8.",
            pointer=f"/source_networks/{place}",
        )
        for place, text in enumerate(texts)
        if re.fullmatch(_NETWORK, text) is None
    )
    if faults:
        raise InvalidInput(faults[0].detail, errors=faults)
    return tuple(str(ipaddress.ip_network(text, strict=False)) for text in texts)


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
