"""Which model versions exist, in which state, and which one of each model answers."""

from typing import Any

import msgspec
from peewee import fn

from appliance import errors
from appliance.store.connection import Connection, Store
from appliance.store.tables import ModelSwitch, ModelVersion


class Version(msgspec.Struct, frozen=True, kw_only=True):
    """One version of a model; `state` and `reason` are the library's words, sizes are bytes."""

    name: str
    version: int
    state: str
    reason: str = ""
    sha256: str
    size_bytes: int
    created_seconds: float


class Switch(msgspec.Struct, frozen=True, kw_only=True):
    """One change of what answers; None is no version."""

    sequence: int
    model: str
    version: int | None
    previous: int | None
    at_seconds: float
    actor: str


_VERSION_FIELDS: tuple[str, ...] = Version.__struct_fields__
_VERSION_COLUMNS = tuple(getattr(ModelVersion, name) for name in _VERSION_FIELDS)
_SWITCH_FIELDS: tuple[str, ...] = Switch.__struct_fields__
_SWITCH_COLUMNS = tuple(getattr(ModelSwitch, name) for name in _SWITCH_FIELDS)


def add_version(store: Store, version: Version) -> None:
    """Given a new version, keep it durably; raise Conflict when it exists."""

    def work(connection: Connection) -> None:
        if get_version(connection, version.name, version.version) is not None:
            raise errors.Conflict(f"{version.name} version {version.version} exists.")
        connection.run(ModelVersion.insert(**msgspec.structs.asdict(version)))

    store.write(work)


def set_state(store: Store, name: str, version: int, *, state: str, reason: str = "") -> Version:
    """Given a version, keep its new state durably and return it; raise NotFound if unknown."""

    def work(connection: Connection) -> Version:
        connection.run(
            ModelVersion.update(state=state, reason=reason).where(_is_version(name, version))
        )
        return _required(connection, name, version)

    return store.write(work)


def begin_version(
    store: Store, name: str, wanted: int | None, *, state: str, at_seconds: float, least: int = 1
) -> Version:
    """Given a model, keep a new version of it durably, to be filled later, and return it.

    Its number is `wanted`, or else the next one from `least`. A failed version gives its number
    back; raise Conflict when any other has it.
    """

    def work(connection: Connection) -> Version:
        known = {version.version: version for version in versions(connection, name)}
        number = wanted if wanted is not None else max([least - 1, *known]) + 1
        before = known.get(number)
        if before is not None and before.state != "failed":
            raise errors.Conflict(
                f"{name} version {number} exists ({before.state}). Leave the version out and the"
                " next free one is taken."
            )
        if before is not None:
            connection.run(ModelVersion.delete().where(_is_version(name, number)))
        begun = Version(
            name=name,
            version=number,
            state=state,
            sha256="",
            size_bytes=0,
            created_seconds=at_seconds,
        )
        connection.run(ModelVersion.insert(**msgspec.structs.asdict(begun)))
        return begun

    return store.write(work)


def finish_version(
    store: Store, name: str, version: int, *, sha256: str, size_bytes: int, reason: str = ""
) -> Version:
    """Given a version that is whole now, keep durably that it is ready; raise NotFound."""

    def work(connection: Connection) -> Version:
        connection.run(
            ModelVersion.update(
                state="ready", reason=reason, sha256=sha256, size_bytes=size_bytes
            ).where(_is_version(name, version))
        )
        return _required(connection, name, version)

    return store.write(work)


def get_version(store: Store, name: str, version: int) -> Version | None:
    """Given a name and number, return that version, or None."""
    with store.read() as connection:
        rows = connection.rows(
            ModelVersion.select(*_VERSION_COLUMNS).where(_is_version(name, version))
        )
    return _version(rows[0]) if rows else None


def versions(store: Store, name: str | None = None) -> tuple[Version, ...]:
    """Return the versions of one model, or of all, by name and number."""
    query = ModelVersion.select(*_VERSION_COLUMNS)
    if name is not None:
        query = query.where(ModelVersion.name == name)
    with store.read() as connection:
        rows = connection.rows(query.order_by(ModelVersion.name, ModelVersion.version))
    return tuple(_version(row) for row in rows)


def remove_version(store: Store, name: str, version: int) -> None:
    """Given a version, forget it durably; raise Conflict if it is active, NotFound if unknown."""

    def work(connection: Connection) -> None:
        _required(connection, name, version)
        if active_version(connection, name) == version:
            raise errors.Conflict(
                f"{name} version {version} is active; activate another version first."
            )
        connection.run(ModelVersion.delete().where(_is_version(name, version)))

    store.write(work)


def switch(
    store: Store, model: str, version: int | None, *, actor: str, at_seconds: float
) -> Switch:
    """Given a model and a version, or None for none, make it the active one durably.

    Raise NotFound when the version is unknown.
    """

    def work(connection: Connection) -> Switch:
        if version is not None:
            _required(connection, model, version)
        previous = active_version(connection, model)
        connection.run(
            ModelSwitch.insert(
                model=model, version=version, previous=previous, at_seconds=at_seconds, actor=actor
            )
        )
        return Switch(
            sequence=connection.last_row_id(),
            model=model,
            version=version,
            previous=previous,
            at_seconds=at_seconds,
            actor=actor,
        )

    return store.write(work)


def active_version(store: Store, model: str) -> int | None:
    """Given a model, return the version that answers, or None."""
    with store.read() as connection:
        rows = connection.rows(
            ModelSwitch.select(ModelSwitch.version)
            .where(ModelSwitch.model == model)
            .order_by(ModelSwitch.sequence.desc())
            .limit(1)
        )
    return rows[0][0] if rows else None


def active_versions(store: Store) -> dict[str, int]:
    """Return the version that answers of every model that has one."""
    newest = ModelSwitch.select(fn.MAX(ModelSwitch.sequence)).group_by(ModelSwitch.model)
    query = (
        ModelSwitch.select(ModelSwitch.model, ModelSwitch.version)
        .where(ModelSwitch.sequence.in_(newest), ModelSwitch.version.is_null(False))
        .order_by(ModelSwitch.model)
    )
    with store.read() as connection:
        return dict(connection.rows(query))


def previous_version(store: Store, model: str) -> int | None:
    """Given a model, return the version a rollback leads to, or None.

    It is the newest earlier one that is not the active one and still exists.
    """
    active = active_version(store, model)
    known = {version.version for version in versions(store, model)}
    for past in switches(store, model, limit=1000):
        if past.previous is not None and past.previous != active and past.previous in known:
            return past.previous
    return None


def switches(store: Store, model: str | None = None, *, limit: int = 100) -> tuple[Switch, ...]:
    """Return the latest switches of one model, or of all, newest first."""
    query = ModelSwitch.select(*_SWITCH_COLUMNS)
    if model is not None:
        query = query.where(ModelSwitch.model == model)
    query = query.order_by(ModelSwitch.sequence.desc()).limit(max(1, min(limit, 1000)))
    with store.read() as connection:
        rows = connection.rows(query)
    return tuple(Switch(**dict(zip(_SWITCH_FIELDS, row, strict=True))) for row in rows)


def _is_version(name: str, version: int) -> Any:
    return (ModelVersion.name == name) & (ModelVersion.version == version)


def _required(connection: Connection, name: str, version: int) -> Version:
    found = get_version(connection, name, version)
    if found is None:
        raise errors.NotFound(f"There is no version {version} of {name}.")
    return found


def _version(row: tuple[Any, ...]) -> Version:
    return Version(**dict(zip(_VERSION_FIELDS, row, strict=True)))
