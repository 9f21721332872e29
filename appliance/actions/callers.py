"""Who is calling and what they may touch, so that every action asks the same few questions."""

from enum import StrEnum

import msgspec

from appliance.errors import Forbidden, NotFound, Unauthenticated

#: Name of whoever comes through the admin Unix socket; the socket's file mode is the proof.
LOCAL_ADMIN = "local-admin"


class Role(StrEnum):
    """What a key is for; each role includes the ones before it."""

    DEVICE = "device"
    OPERATOR = "operator"
    ADMIN = "admin"

    def includes(self, other: "Role") -> bool:
        """Given another role, return whether this one may do all that the other may."""
        return self is other or _RANKS[self] >= _RANKS[other]


_RANKS = {Role.DEVICE: 1, Role.OPERATOR: 2, Role.ADMIN: 3}


class Caller(msgspec.Struct, frozen=True, kw_only=True):
    """One caller, proved or anonymous (`role` None); an empty `models` means every model."""

    key_name: str
    address: str
    key_id: str | None = None
    role: Role | None = None
    models: tuple[str, ...] = ()

    @property
    def is_anonymous(self) -> bool:
        """Return whether nothing is known about this caller but the address."""
        return self.role is None

    @property
    def sender(self) -> str:
        """Return what stands for this caller where requests are split: its key, or its address."""
        return self.key_id or self.address

    def may_use(self, model: str) -> bool:
        """Given a model's name, return whether this caller's scope covers it."""
        return not self.models or model in self.models

    def may_see_row_of(self, owner_key_id: str | None) -> bool:
        """Given the key a row was made with, return whether this caller may see that row.

        A device sees its own rows only; operators and admins see all.
        """
        if self.role is None:
            return False
        if self.role is not Role.DEVICE:
            return True
        return self.key_id is not None and self.key_id == owner_key_id


def anonymous(address: str) -> Caller:
    """Given the peer's address, return the caller of whom nothing else is known."""
    return Caller(key_name="anonymous", address=address)


def local_admin() -> Caller:
    """Return the caller behind the admin Unix socket."""
    return Caller(key_name=LOCAL_ADMIN, address="local", role=Role.ADMIN)


def require_role(caller: Caller, needed: Role) -> None:
    """Given a caller, return when it has the role; raise Unauthenticated or Forbidden if not."""
    if caller.role is None:
        raise Unauthenticated(
            "This needs an API key. Send it as X-API-Key, or as Authorization: Bearer."
        )
    if not caller.role.includes(needed):
        raise Forbidden(
            f"The key {caller.key_name!r} has the role {caller.role.value};"
            f" this needs {needed.value}. Ask an admin for a key with that role."
        )


def require_model(caller: Caller, model: str) -> None:
    """Given a caller and a model's name, return when in scope; raise Forbidden if it is not."""
    if not caller.may_use(model):
        raise Forbidden(
            f"The key {caller.key_name!r} may use only these models: {', '.join(caller.models)}."
            f" Ask an admin for a key whose scope names {model[:64]!r}."
        )


def require_row_of(caller: Caller, owner_key_id: str | None, *, thing: str) -> None:
    """Given a row's owner, return when the caller may see the row; raise NotFound if not.

    It is 404, not 403, so that a device cannot find out which ids exist (OWASP API1:2023).
    """
    if not caller.may_see_row_of(owner_key_id):
        raise NotFound(f"There is no such {thing}.")
