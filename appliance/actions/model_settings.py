"""What an admin set for single models, kept durably: traffic, policies, versions on probation."""

from typing import Annotated, TypeVar

import msgspec
from msgspec import Meta

from appliance.engine.status import Conduct
from appliance.engine.traffic import Traffic
from appliance.store import settings
from appliance.store.connection import Store

_TRAFFIC, _POLICIES, _PROBATIONS = "models.traffic", "models.policies", "models.probations"
T = TypeVar("T", bound=msgspec.Struct)


class AutoRollback(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """When a version that was just activated has to give way to the one before."""

    seconds: Annotated[
        float, Meta(gt=0, le=86400, description="How long the new version is watched.")
    ] = 300.0
    max_error_rate: Annotated[
        float,
        Meta(ge=0, le=1, description="Most failed calls, as a share, above those of before."),
    ] = 0.05
    max_latency_ratio: Annotated[
        float, Meta(ge=1, le=1000, description="Most time at work, as a multiple of before.")
    ] = 2.0
    min_requests: Annotated[
        int, Meta(ge=1, le=1_000_000, description="Calls before a rate or a mean means anything.")
    ] = 20


class Policy(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What holds for every activation of a model; null is nothing."""

    auto_rollback: AutoRollback | None = None


class Probation(msgspec.Struct, frozen=True, kw_only=True):
    """A version that is watched, until when (wall clock), and what it is measured against."""

    version: int
    before: int
    until_seconds: float
    rule: AutoRollback
    baseline: Conduct = Conduct()


def traffic(store: Store) -> dict[str, Traffic]:
    """Return how requests are spread, by model."""
    return _all(store, _TRAFFIC, Traffic)


def put_traffic(store: Store, model: str, value: Traffic) -> None:
    """Given a model, keep how its requests are spread; an empty one is forgotten."""
    _put(store, _TRAFFIC, Traffic, model, None if value == Traffic() else value)


def policy(store: Store, model: str) -> Policy:
    """Given a model, return its policy."""
    return _all(store, _POLICIES, Policy).get(model, Policy())


def put_policy(store: Store, model: str, value: Policy) -> None:
    """Given a model, keep its policy; an empty one is forgotten."""
    _put(store, _POLICIES, Policy, model, None if value == Policy() else value)


def probations(store: Store) -> dict[str, Probation]:
    """Return the version on probation of each model that has one."""
    return _all(store, _PROBATIONS, Probation)


def put_probation(store: Store, model: str, value: Probation | None) -> None:
    """Given a model, keep its probation, or forget it."""
    _put(store, _PROBATIONS, Probation, model, value)


def forget(store: Store, model: str) -> None:
    """Given a model that is gone for good, forget all that was set for it."""
    put_traffic(store, model, Traffic())
    put_policy(store, model, Policy())
    put_probation(store, model, None)


def _all(store: Store, name: str, kind: type[T]) -> dict[str, T]:
    found = settings.get(store, name)
    if found is None:
        return {}
    try:
        return msgspec.convert(found, dict[str, kind])  # type: ignore[valid-type]
    except msgspec.ValidationError:  # a newer release wrote it, before a downgrade
        return {}


def _put(store: Store, name: str, kind: type[T], model: str, value: T | None) -> None:
    """Read and write as one step, so that two models set at once do not lose one."""

    def work(connection: Store) -> None:
        known = _all(connection, name, kind)
        if known.get(model) == value:
            return
        if value is None:
            known.pop(model, None)
        else:
            known[model] = value
        settings.put(connection, name, msgspec.to_builtins(known))

    store.write(work)
