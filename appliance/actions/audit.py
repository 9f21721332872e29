"""The audit: who changed what, from where; rows chained by hashes so that a changed one shows."""

from typing import Any

from appliance.actions.callers import Caller
from appliance.clock import Clock
from appliance.store import audit
from appliance.store.connection import Store
from appliance.store.database import Database


def record(
    store: Store,
    caller: Caller,
    *,
    action: str,
    subject: str,
    detail: dict[str, Any],
    clock: Clock,
) -> None:
    """Given a connection inside a transaction, append who did what, as part of that transaction.

    The act and its row are then both there or neither is. `action` is a verb with a dot, such as
    `key.create`; `detail` holds facts, never a secret.
    """
    audit.append(
        store,
        actor=actor_of(caller),
        action=action,
        subject=subject,
        detail=detail,
        address=caller.address,
        at_seconds=clock.wall_seconds(),
    )


def actor_of(caller: Caller) -> str:
    """Given a caller, return the text by which the audit knows it: the key's name and id."""
    return f"{caller.key_name} ({caller.key_id})" if caller.key_id else caller.key_name


def page(
    database: Database, *, before_sequence: int | None, limit: int
) -> tuple[tuple[audit.AuditRow, ...], int | None]:
    """Return one page of rows, newest first, and where the next begins, or None at the end."""
    found = audit.rows(database, before_sequence=before_sequence, limit=limit)
    is_last = len(found) < limit or found[-1].sequence <= 1
    return found, None if is_last else found[-1].sequence


def verify(database: Database) -> audit.BrokenRow | None:
    """Check every row against its hash, and the end against the notes kept outside the table."""
    return audit.verify(database, head_file=database.path.with_name(audit.HEAD_FILE))
