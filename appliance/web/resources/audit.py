"""`/api/v1/audit`: read the trail of administrative acts, and check that nobody changed it."""

from typing import Annotated, Any

import falcon
import msgspec
from msgspec import Meta

from appliance.actions import audit
from appliance.clock import utc_text
from appliance.errors import DatabaseUnavailable, InvalidInput
from appliance.store.audit import AuditRow
from appliance.store.database import Database
from appliance.web.operation import Access, operation


class AuditEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One administrative act; `hash` seals it together with every row before it."""

    sequence: int
    at: str
    actor: str
    action: str
    subject: str
    detail: dict[str, Any]
    address: str
    hash: str


class AuditPage(msgspec.Struct, frozen=True, kw_only=True):
    """Acts, newest first; `next_cursor` is null on the last page."""

    rows: tuple[AuditEntry, ...]
    next_cursor: int | None


class AuditQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Which page to read."""

    limit: Annotated[int, Meta(ge=1, le=1000)] = 100
    cursor: Annotated[
        Annotated[int, Meta(ge=1, le=2**53)] | None,
        Meta(description="`next_cursor` of the page before."),
    ] = None


class AuditVerdict(msgspec.Struct, frozen=True, kw_only=True):
    """Whether the trail is as it was written; if not, the first row where it is not, and why."""

    is_intact: bool
    broken_sequence: int | None = None
    reason: str = ""


class AuditResource:
    """The trail, page by page."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @operation(
        summary="List administrative acts",
        access=Access.ADMIN,
        query=AuditQuery,
        result=AuditPage,
        problems=(InvalidInput, DatabaseUnavailable),
        tag="audit",
    )
    def on_get(
        self, request: falcon.Request, response: falcon.Response, *, query: AuditQuery
    ) -> AuditPage:
        """Given a query, return one page of acts."""
        found, next_cursor = audit.page(
            self._database, before_sequence=query.cursor, limit=query.limit
        )
        return AuditPage(rows=tuple(entry_of(row) for row in found), next_cursor=next_cursor)


class AuditVerifyResource:
    """The check of the trail."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @operation(
        summary="Check the trail of administrative acts",
        description="Reads every row and names the first one that was changed, moved or removed.",
        access=Access.ADMIN,
        result=AuditVerdict,
        problems=(DatabaseUnavailable,),
        tag="audit",
    )
    def on_get(self, request: falcon.Request, response: falcon.Response) -> AuditVerdict:
        """Return whether the trail is intact."""
        broken = audit.verify(self._database)
        if broken is None:
            return AuditVerdict(is_intact=True)
        return AuditVerdict(is_intact=False, broken_sequence=broken.sequence, reason=broken.reason)


def entry_of(row: AuditRow) -> AuditEntry:
    """Given a stored row, return its wire form; a detail somebody spoilt is shown as its text."""
    try:
        detail = msgspec.json.decode(row.detail, type=dict[str, Any])
    except msgspec.MsgspecError:
        detail = {"unreadable": row.detail}
    return AuditEntry(
        sequence=row.sequence,
        at=utc_text(row.at_seconds),
        actor=row.actor,
        action=row.action,
        subject=row.subject,
        detail=detail,
        address=row.address,
        hash=row.hash.hex(),
    )
