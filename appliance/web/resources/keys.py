"""`/api/v1/keys`: issue, list and revoke API keys."""

from typing import Annotated, Literal

import falcon
import msgspec
from msgspec import Meta

from appliance.actions.callers import Role
from appliance.actions.issue_key import NewKey, issue_key
from appliance.actions.key_ring import KeyRing
from appliance.actions.revoke_key import known_key, revoke_key
from appliance.clock import utc_text
from appliance.errors import Conflict, InvalidInput, NotFound
from appliance.store.keys import StoredKey
from appliance.web.operation import Access, operation

KeyState = Literal["live", "expired", "revoked"]


class KeyView(msgspec.Struct, frozen=True, kw_only=True):
    """A key as admins see it; its secret is not among what the appliance knows."""

    id: str
    name: str
    role: Role
    state: KeyState
    models: tuple[str, ...]
    source_networks: tuple[str, ...]
    created: str
    expires: str | None
    revoked: str | None
    last_used: str | None
    last_used_address: str


class IssuedKey(KeyView, frozen=True, kw_only=True):
    """A new key with its text, which is shown this once."""

    key: str


class KeyPage(msgspec.Struct, frozen=True, kw_only=True):
    """Keys, oldest first; `next_cursor` is null on the last page."""

    keys: tuple[KeyView, ...]
    next_cursor: int | None


class KeysQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Which keys to list."""

    state: Annotated[KeyState | None, Meta(description="Only keys in this state.")] = None
    limit: Annotated[int, Meta(ge=1, le=1000)] = 100
    cursor: Annotated[
        int, Meta(ge=0, le=2**53, description="`next_cursor` of the page before.")
    ] = 0


class KeysResource:
    """All keys."""

    def __init__(self, ring: KeyRing) -> None:
        self._ring = ring

    @operation(
        summary="List API keys",
        access=Access.ADMIN,
        query=KeysQuery,
        result=KeyPage,
        problems=(InvalidInput,),
        tag="keys",
    )
    def on_get(
        self, request: falcon.Request, response: falcon.Response, *, query: KeysQuery
    ) -> KeyPage:
        """Given a query, return one page of keys."""
        known = self._ring.all()
        found: list[KeyView] = []
        place = query.cursor
        while place < len(known) and len(found) < query.limit:
            view = view_of(self._ring, known[place])
            if query.state in (None, view.state):
                found.append(view)
            place += 1
        return KeyPage(keys=tuple(found), next_cursor=place if place < len(known) else None)

    @operation(
        summary="Issue an API key",
        description="The key's text is in the answer and nowhere else: it cannot be shown again.",
        access=Access.ADMIN,
        body=NewKey,
        result=IssuedKey,
        status=201,
        problems=(InvalidInput, Conflict),
        answer_headers={"Location": "Where the new key is described."},
        tag="keys",
    )
    def on_post(
        self, request: falcon.Request, response: falcon.Response, *, body: NewKey
    ) -> IssuedKey:
        """Given what is wanted, issue a key and return it with its text."""
        text, key = issue_key(self._ring, body, caller=request.context.caller)
        response.set_header("Location", f"/api/v1/keys/{key.id}")
        response.set_header("Cache-Control", "no-store")
        view = msgspec.structs.asdict(view_of(self._ring, key))
        return IssuedKey(**view, key=text)


class KeyResource:
    """One key."""

    def __init__(self, ring: KeyRing) -> None:
        self._ring = ring

    @operation(
        summary="Describe an API key",
        description="A revoked key is gone here; the list still names it with `state=revoked`.",
        access=Access.ADMIN,
        result=KeyView,
        problems=(NotFound,),
        tag="keys",
    )
    def on_get(
        self, request: falcon.Request, response: falcon.Response, *, key_id: str
    ) -> KeyView:
        """Given an id, return that key; raise NotFound when there is none or it was revoked."""
        view = view_of(self._ring, known_key(self._ring, key_id))
        if view.state == "revoked":
            raise NotFound(f"The key {view.name!r} was revoked at {view.revoked}.")
        return view

    @operation(
        summary="Revoke an API key",
        description="Dead from the next request on. The last admin key cannot revoke itself.",
        access=Access.ADMIN,
        status=204,
        problems=(NotFound, Conflict),
        tag="keys",
    )
    def on_delete(
        self, request: falcon.Request, response: falcon.Response, *, key_id: str
    ) -> None:
        """Given an id, revoke that key."""
        revoke_key(self._ring, key_id, caller=request.context.caller)


def view_of(ring: KeyRing, key: StoredKey) -> KeyView:
    """Given a stored key, return what admins see of it."""
    state: KeyState = "live"
    if key.revoked_seconds is not None:
        state = "revoked"
    elif ring.is_expired(key):
        state = "expired"
    return KeyView(
        id=key.id,
        name=key.name,
        role=Role(key.role),
        state=state,
        models=key.models,
        source_networks=key.source_networks,
        created=utc_text(key.created_seconds),
        expires=_text(key.expires_seconds),
        revoked=_text(key.revoked_seconds),
        last_used=_text(key.last_used_seconds),
        last_used_address=key.last_used_address,
    )


def _text(seconds: float | None) -> str | None:
    return None if seconds is None else utc_text(seconds)
