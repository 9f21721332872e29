"""Change what is served: load, unload, activate, roll back.

Every change is written down, with its trace in the audit, in one transaction before it takes
effect. A version is proved before that, so that what is written down can be served.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import msgspec
from msgspec import UNSET, UnsetType

from appliance.actions import audit, model_settings
from appliance.actions.callers import Caller, require_model
from appliance.actions.model_settings import AutoRollback, Policy, Probation
from appliance.actions.register_models import version_of
from appliance.clock import Clock
from appliance.engine.engine import Engine
from appliance.engine.status import Conduct
from appliance.engine.traffic import Traffic
from appliance.errors import Conflict, DatabaseUnavailable, NotFound
from appliance.store import models
from appliance.store.connection import Connection
from appliance.store.database import Database

_SERVABLE = "ready"


class Switched(msgspec.Struct, frozen=True, kw_only=True):
    """A change of what answers; None is no version."""

    model: str
    active_version: int | None
    previous_version: int | None


class _Change(NamedTuple):
    """Who changes what; `rule` puts the new version on probation."""

    caller: Caller
    action: str
    model: str
    version: int | None
    rule: AutoRollback | None = None
    detail: dict[str, Any] | None = None


class ModelChanges:
    """Changes of what is served. Threads: any; the engine does one change of a model at a time."""

    def __init__(
        self,
        engine: Engine,
        database: Database,
        clock: Clock,
        *,
        after_activation: Callable[[Caller, str], object] = lambda caller, model: None,
    ) -> None:
        """Given the parts, change what is served; `after_activation` may let old versions go."""
        self._after_activation = after_activation
        self._engine = engine
        self._database = database
        self._clock = clock

    def load(self, caller: Caller, model: str, version: int | None = None) -> Switched:
        """Given a model, start it or start it anew; the old host answers until the new one does.

        Without a version it is the active one, else the one that was active last, else the
        newest. Raise NotFound, Conflict, or ModelInvalid with the reason; then nothing has
        changed.
        """
        require_model(caller, model)
        wanted = self._to_load(model) if version is None else version
        if version is not None:
            self._require_servable(model, version)
        number = self._engine.status(model, wanted).version
        before: list[int | None] = []
        commit = self._commit(_Change(caller, "model.load", model, number), before.append)
        self._engine.load(model, number, commit=commit)
        return Switched(model=model, active_version=number, previous_version=before[0])

    def unload(self, caller: Caller, model: str) -> Switched:
        """Given a model, end its hosts and give their memory back; it stays installed.

        It stays unloaded over restarts, until it is loaded or activated again.
        """
        require_model(caller, model)
        before: list[int | None] = []
        commit = self._commit(_Change(caller, "model.unload", model, None), before.append)
        self._engine.unload(model, commit=commit)
        return Switched(model=model, active_version=None, previous_version=before[0])

    def activate(
        self,
        caller: Caller,
        model: str,
        version: int,
        *,
        auto_rollback: AutoRollback | UnsetType | None = UNSET,
    ) -> Switched:
        """Given an installed version, let it answer instead of the active one once it is proved.

        `auto_rollback` is for this time only; unset, the model's policy holds. Raise NotFound,
        Conflict or ModelInvalid; then the active version has not changed.
        """
        require_model(caller, model)
        self._require_servable(model, version)
        rule = auto_rollback
        if rule is UNSET:
            rule = model_settings.policy(self._database, model).auto_rollback
        commit = self._commit(_Change(caller, "model.activate", model, version, rule=rule))
        before = self._engine.activate(model, version, commit=commit)
        self._after_activation(caller, model)
        return Switched(model=model, active_version=version, previous_version=before)

    def roll_back(self, caller: Caller, model: str) -> Switched:
        """Given a model, let the version before the active one answer again.

        Raise NotFound, Conflict when there is none, or ModelInvalid when that one fails; then the
        active version has not changed.
        """
        require_model(caller, model)
        version = models.previous_version(self._database, model)
        if version is None:
            self._engine.status(model, None)  # raises NotFound for an unknown model
            raise Conflict(f"{model} has no earlier version to go back to.")
        commit = self._commit(_Change(caller, "model.rollback", model, version))
        before = self._engine.activate(model, version, commit=commit)
        return Switched(model=model, active_version=version, previous_version=before)

    def give_way(self, caller: Caller, model: str, probation: Probation, reason: str) -> None:
        """Given a version on probation that is worse than allowed, go back to the one before."""
        detail = {"reason": reason, "from": probation.version}
        change = _Change(caller, "model.auto_rollback", model, probation.before, detail=detail)
        self._engine.activate(model, probation.before, commit=self._commit(change))

    def set_traffic(self, caller: Caller, model: str, traffic: Traffic) -> Traffic:
        """Given how a model's requests are to be spread, do so once all its versions are ready.

        Raise NotFound, Conflict, InvalidInput or ModelInvalid; then nothing has changed.
        """
        require_model(caller, model)
        for version in sorted(traffic.versions()):
            self._require_servable(model, version)
        if traffic.shadow == str(self._engine.active_versions().get(model)):
            # It would be asked everything twice, and always agree with itself.
            raise Conflict(
                f"{model}@{traffic.shadow} is the active version: name another one as its shadow."
            )

        def work(connection: Connection) -> None:
            model_settings.put_traffic(connection, model, traffic)
            self._trace(connection, caller, "model.traffic", model, msgspec.to_builtins(traffic))

        self._engine.set_traffic(model, traffic, commit=lambda _: self._database.write(work))
        return traffic

    def set_policy(self, caller: Caller, model: str, policy: Policy) -> Policy:
        """Given a model's policy, keep it for the activations to come; raise NotFound."""
        require_model(caller, model)
        self._engine.status(model, None)

        def work(connection: Connection) -> None:
            model_settings.put_policy(connection, model, policy)
            self._trace(connection, caller, "model.policy", model, msgspec.to_builtins(policy))

        self._database.write(work)
        return policy

    def policy(self, caller: Caller, model: str) -> Policy:
        """Given a model, return its policy; raise NotFound."""
        require_model(caller, model)
        self._engine.status(model, None)
        return model_settings.policy(self._database, model)

    def _to_load(self, model: str) -> int | None:
        """Return the version that was active before the model was unloaded; None: let it be."""
        if model in self._engine.active_versions():
            return None
        latest = models.switches(self._database, model, limit=1)
        last = latest[0].previous if latest and latest[0].version is None else None
        known = None if last is None else models.get_version(self._database, model, last)
        return None if known is None else last

    def _require_servable(self, model: str, version: int) -> None:
        # Asked first: the engine's switch could not be written down, and a restart would undo it.
        found = models.get_version(self._database, model, version)
        if found is None:
            raise NotFound(f"There is no registered version {version} of {model[:64]!r}.")
        if found.state != _SERVABLE:
            because = f": {found.reason}" if found.reason else ""
            raise Conflict(f"{model}@{version} is {found.state}{because}. It cannot be served.")

    def _commit(
        self, change: _Change, note: Callable[[int | None], None] = lambda before: None
    ) -> Callable[[int | None], None]:
        """Return what writes a switch down, with its trace, all or nothing."""
        unknown = self._unregistered(change.model, change.version)

        def commit(before: int | None) -> None:
            probation = self._probation(change, before)

            def work(connection: Connection) -> None:
                if unknown is not None:
                    models.add_version(connection, unknown)
                self._switch(connection, change, before)
                model_settings.put_probation(connection, change.model, probation)

            try:
                self._database.write(work)
            except DatabaseUnavailable:
                # It may have been committed all the same, and what is written down counts.
                is_certain = before != change.version
                if not is_certain or self._written_version(change.model) != change.version:
                    raise
            note(before)

        return commit

    def _switch(self, connection: Connection, change: _Change, before: int | None) -> None:
        """Write down what answers from now on; a split of requests ends with that."""
        model, version = change.model, change.version
        if models.active_version(connection, model) != version:
            models.switch(
                connection,
                model,
                version,
                actor=audit.actor_of(change.caller),
                at_seconds=self._clock.wall_seconds(),
            )
        model_settings.put_traffic(connection, model, Traffic())
        subject = model if version is None else f"{model}@{version}"
        told = {"before": before, **(change.detail or {})}
        self._trace(connection, change.caller, change.action, subject, told)

    def _unregistered(self, model: str, version: int | None) -> models.Version | None:
        """Return what to register of a version that was put into the library by hand."""
        if version is None or models.get_version(self._database, model, version) is not None:
            return None
        return version_of(self._engine.place(model, version), self._clock)

    def _written_version(self, model: str) -> int | UnsetType | None:
        try:
            return models.active_version(self._database, model)
        except DatabaseUnavailable:
            return UNSET

    def _probation(self, change: _Change, before: int | None) -> Probation | None:
        rule, version = change.rule, change.version
        if rule is None or version is None or before is None or before == version:
            return None
        old = self._engine.active(change.model)
        return Probation(
            version=version,
            before=before,
            until_seconds=self._clock.wall_seconds() + rule.seconds,
            rule=rule,
            baseline=Conduct() if old is None else old.counters.conduct(),
        )

    def _trace(
        self, connection: Connection, caller: Caller, action: str, subject: str, detail: Any
    ) -> None:
        audit.record(
            connection, caller, action=action, subject=subject, detail=detail, clock=self._clock
        )
