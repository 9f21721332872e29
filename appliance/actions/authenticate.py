"""Authenticate: from the text a client sent as its key to the caller behind it, or a plain no."""

import hmac

from appliance.actions.callers import Caller
from appliance.actions.key_format import parse_key
from appliance.actions.key_ring import Entry, KeyRing
from appliance.actions.networks import is_inside
from appliance.clock import utc_text
from appliance.errors import Unauthenticated

_NOT_VALID = "This API key is not valid. Check that it was copied whole, or ask an admin for one."
#: Compared against when there is no such id, so that the answer takes the same time.
_NO_DIGEST = bytes(32)


def credential(*, x_api_key: str | None, authorization: str | None) -> str | None:
    """Given the two headers a key may come in, return the key's text, or None if there is none.

    Raise Unauthenticated when both are there and differ, or for a scheme other than Bearer.
    """
    if authorization is None:
        return x_api_key
    scheme, _, token = authorization.strip().partition(" ")
    token = token.strip()
    if scheme.lower() != "bearer" or not token:
        raise Unauthenticated(
            "The Authorization header must be 'Bearer' and an API key; no other scheme is known."
        )
    if x_api_key is not None and x_api_key != token:
        raise Unauthenticated(
            "X-API-Key and Authorization hold different keys, so it is not clear who calls."
            " Send only one of them."
        )
    return token


def authenticate(ring: KeyRing, text: str, *, address: str) -> Caller:
    """Given a key's text and the socket peer, return the caller and note the use.

    Raise Unauthenticated for a key that is mistyped (nothing is looked up then), unknown, revoked,
    expired or used from elsewhere. Why is told only to who has the whole secret.
    """
    entry = entry_of(ring, text)
    if entry is None:
        raise Unauthenticated(_NOT_VALID)
    if entry.key.revoked_seconds is not None:
        raise Unauthenticated(
            f"This API key was revoked at {utc_text(entry.key.revoked_seconds)}."
            " Ask an admin for a new one."
        )
    expires_seconds = entry.key.expires_seconds
    if expires_seconds is not None and ring.clock.wall_seconds() >= expires_seconds:
        raise Unauthenticated(
            f"This API key expired at {utc_text(expires_seconds)}. Ask an admin for a new one."
        )
    if entry.networks and not is_inside(address, entry.networks):
        raise Unauthenticated(
            f"This API key may not be used from {address}. Ask an admin to issue one for it."
        )
    ring.note_use(entry, address)
    return Caller(
        key_id=entry.key.id,
        key_name=entry.key.name,
        role=entry.role,
        models=entry.key.models,
        address=address,
    )


def entry_of(ring: KeyRing, text: str) -> Entry | None:
    """Given a key's text, return the entry it is the whole secret of, dead or alive, or None."""
    parsed = parse_key(text)
    if parsed is None:
        return None
    entry = ring.find(parsed.id)
    known_sha256 = _NO_DIGEST if entry is None else entry.key.secret_sha256
    return entry if hmac.compare_digest(parsed.secret_sha256, known_sha256) else None
