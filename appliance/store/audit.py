"""The audit trail: every administrative act, each row sealed by a hash over the row before too.

The newest hash is also kept in `settings` and in the file `audit-head` beside the database. Rows
cut off the end leave a shorter chain that is sound in itself; only these two notes give it away:
the first when somebody deletes rows, the second when the write-ahead log is lost with the rows.
"""

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from appliance.store import settings
from appliance.store.connection import Connection, Store
from appliance.store.tables import Audit

HEAD_SETTING = "audit_head"
HEAD_FILE = "audit-head"
_START = bytes(32)
_PAGE_ROWS = 1000


class AuditRow(msgspec.Struct, frozen=True, kw_only=True):
    """One act: who did what to what; `detail` is JSON text, times are seconds since 1970 UTC."""

    sequence: int
    at_seconds: float
    actor: str
    action: str
    subject: str
    detail: str
    address: str
    previous_hash: bytes
    hash: bytes


class BrokenRow(msgspec.Struct, frozen=True):
    """The first place where the trail is not what was written, and how that shows."""

    sequence: int
    reason: str


class Head(msgspec.Struct, frozen=True):
    """The newest row as noted outside the table; `hash` is hexadecimal."""

    sequence: int
    hash: str


_FIELDS: tuple[str, ...] = AuditRow.__struct_fields__
_COLUMNS = tuple(getattr(Audit, name) for name in _FIELDS)


def append(
    store: Store,
    *,
    at_seconds: float,
    actor: str,
    action: str,
    subject: str,
    detail: dict[str, Any] | None = None,
    address: str = "",
) -> AuditRow:
    """Given an act, seal and keep it durably, and return its row.

    With a `Connection` it becomes part of that transaction: the act and its trace are kept
    together or not at all.
    """
    text = msgspec.json.encode(detail or {}, order="sorted").decode()

    def work(connection: Connection) -> AuditRow:
        sequence, previous = _last(connection)
        row = AuditRow(
            sequence=sequence + 1,
            at_seconds=at_seconds,
            actor=actor,
            action=action,
            subject=subject,
            detail=text,
            address=address,
            previous_hash=previous,
            hash=b"",
        )
        row = msgspec.structs.replace(row, hash=seal(row))
        connection.run(Audit.insert(**msgspec.structs.asdict(row)))
        _note(connection, Head(row.sequence, row.hash.hex()))
        return row

    return store.write(work)


def rows(
    store: Store, *, before_sequence: int | None = None, limit: int = 100
) -> tuple[AuditRow, ...]:
    """Return one page of the trail, newest first, of rows older than `before_sequence`."""
    query = Audit.select(*_COLUMNS).order_by(Audit.sequence.desc())
    if before_sequence is not None:
        query = query.where(Audit.sequence < before_sequence)
    with store.read() as connection:
        found = connection.rows(query.limit(max(1, min(limit, _PAGE_ROWS))))
    return tuple(_row(values) for values in found)


def verify(store: Store, *, head_file: Path | None = None) -> BrokenRow | None:
    """Check the whole trail; return the first broken row, or None when it is as written.

    `head_file` is the note beside the database, when there is one to check against.
    """
    notes = [head for head in (_head_setting(store), _head_in(head_file)) if head is not None]
    expected = {head.sequence: head for head in notes}
    previous, number = _START, 0
    for row in _in_order(store):
        number += 1
        reason = _fault_of(row, number, previous)
        noted = expected.get(row.sequence)
        if not reason and noted is not None and row.hash.hex() != noted.hash:
            reason = "its hash is not the one noted when it was written"
        if reason:
            return BrokenRow(number, reason)
        previous = row.hash
    newest = max((head.sequence for head in notes), default=0)
    if newest > number:
        return BrokenRow(number + 1, f"rows {number + 1} to {newest} are missing")
    return None


def seal(row: AuditRow) -> bytes:
    """Given a row, return SHA-256 over its canonical JSON, the hash of the row before included."""
    fields = (
        row.sequence,
        row.at_seconds,
        row.actor,
        row.action,
        row.subject,
        row.detail,
        row.address,
        row.previous_hash.hex(),
    )
    return hashlib.sha256(msgspec.json.encode(fields)).digest()


def _fault_of(row: AuditRow, number: int, previous: bytes) -> str:
    if row.sequence != number:
        return f"row {number} is missing"
    if row.previous_hash != previous:
        return "it does not continue the row before it"
    if row.hash != seal(row):
        return "its content does not match its hash"
    return ""


def _in_order(store: Store) -> Iterator[AuditRow]:
    after = 0
    while True:
        query = Audit.select(*_COLUMNS).where(Audit.sequence > after)
        with store.read() as connection:
            page = connection.rows(query.order_by(Audit.sequence).limit(_PAGE_ROWS))
        for values in page:
            yield _row(values)
        if len(page) < _PAGE_ROWS:
            return
        after = page[-1][0]


def _last(connection: Connection) -> tuple[int, bytes]:
    """Return number and hash of the newest row."""
    query = Audit.select(Audit.sequence, Audit.hash).order_by(Audit.sequence.desc()).limit(1)
    found = connection.rows(query)
    return found[0] if found else (0, _START)


def _note(connection: Connection, head: Head) -> None:
    settings.put(connection, HEAD_SETTING, head)
    connection.after_commit.append(lambda: _note_head(connection.path, head))


def _row(values: tuple[Any, ...]) -> AuditRow:
    return AuditRow(**dict(zip(_FIELDS, values, strict=True)))


def _head_setting(store: Store) -> Head | None:
    found = settings.get(store, HEAD_SETTING)
    return msgspec.convert(found, Head) if found is not None else None


def _head_in(path: Path | None) -> Head | None:
    try:
        return msgspec.json.decode(path.read_bytes(), type=Head) if path is not None else None
    except (OSError, msgspec.MsgspecError):
        return None  # a missing note proves nothing either way


def _note_head(database_path: Path, head: Head) -> None:
    """Not synced: it guards against a lost log after a crash of the program, not of the power."""
    path = database_path.parent / HEAD_FILE
    unfinished = path.with_name(HEAD_FILE + ".tmp")
    with open(unfinished, "wb", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
        file.write(msgspec.json.encode(head))
    os.rename(unfinished, path)
