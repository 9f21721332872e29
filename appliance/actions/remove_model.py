"""Remove versions: on demand, and old ones after a switch; never one that is needed.

The row says `removing` before a file goes, so a crash leaves nothing half there: the next start
goes on with it.
"""

import contextlib
import logging
from pathlib import Path

from appliance.actions import audit
from appliance.actions.callers import Caller, require_model
from appliance.actions.import_work import UNDER_WAY
from appliance.actions.text_models import text_models
from appliance.clock import Clock
from appliance.engine.engine import Engine
from appliance.errors import Conflict, NotFound, Problem
from appliance.library.incoming import withdraw
from appliance.library.versions import starter_versions, versions_of
from appliance.store import jobs, models, settings
from appliance.store.connection import Connection
from appliance.store.database import Database

_log = logging.getLogger(__name__)
REMOVING = "removing"
_REMOVED_STARTERS = "models.removed_starters"
_KEPT_PREVIOUS = 2


class ModelRemoval:
    """Removes versions. Threads: any; the engine does one change of a model at a time."""

    def __init__(
        self,
        engine: Engine,
        clock: Clock,
        *,
        database: Database,
        models_directory: Path,
    ) -> None:
        self._engine = engine
        self._clock = clock
        self._database = database
        self._directory = models_directory

    def remove(self, caller: Caller, model: str, version: int) -> None:
        """Given an installed or failed version, forget it and delete its files.

        Raise NotFound, or Conflict while it is active, imported or needed by waiting jobs.
        """
        require_model(caller, model)
        row = models.get_version(self._database, model, version)
        is_on_disk = any(place.version == version for place in versions_of(self._directory, model))
        if row is None and not is_on_disk:
            raise NotFound(f"There is no version {version} of {model[:64]!r}.")
        if row is not None and row.state in UNDER_WAY:
            raise Conflict(f"{model}@{version} is being imported. Try again when that is done.")

        def work(connection: Connection) -> None:
            self._mark(connection, caller, model, version)

        def commit(_before: int | None) -> None:
            self._database.write(work)

        if is_on_disk:
            self._engine.remove(model, version, commit=commit)
        else:
            commit(None)
        finish_removal(self._database, self._directory, model, version)

    def prune_versions(self, caller: Caller, model: str) -> tuple[int, ...]:
        """Given a model after a switch, remove old versions and return which.

        The active one, the two that answered last before it, and all newer ones stay. What cannot
        go now, because jobs wait for it, goes another time.
        """
        removed = []
        for version in self._dispensable(model):
            try:
                self.remove(caller, model, version)
            except (Problem, OSError) as fault:
                _log.info(
                    "old version kept",
                    extra={"model": f"{model}@{version}", "reason": str(fault)},
                )
            else:
                removed.append(version)
        return tuple(removed)

    def _dispensable(self, model: str) -> list[int]:
        active = models.active_version(self._database, model)
        if active is None:
            return []
        ready = [
            one.version
            for one in models.versions(self._database, model)
            if one.state == "ready" and one.version != active
        ]
        answered: list[int] = []
        for switch in models.switches(self._database, model, limit=1000):
            for version in (switch.version, switch.previous):
                if version in ready and version not in answered:
                    answered.append(version)
        older = sorted(
            (one for one in ready if one < active and one not in answered), reverse=True
        )
        kept = {*[*answered, *older][:_KEPT_PREVIOUS]}
        never_answered = {one for one in ready if one > active and one not in answered}
        return sorted(set(ready) - kept - never_answered - set(self._starters(model)))

    def _starters(self, model: str) -> list[int]:
        shipped = {*starter_versions(), *text_models()}
        return [version for name, version in shipped if name == model]

    def _mark(self, connection: Connection, caller: Caller, model: str, version: int) -> None:
        if jobs.is_pinned(connection, model, version):
            raise Conflict(
                f"Jobs wait for {model}@{version}. Let them end or cancel them first; then it can"
                " be removed."
            )
        if models.active_version(connection, model) == version:
            raise Conflict(f"{model}@{version} is active. Activate another version first.")
        if models.get_version(connection, model, version) is not None:
            models.set_state(connection, model, version, state=REMOVING)
        if (model, version) in {*starter_versions(), *text_models()}:
            removed = [*removed_starters(connection), (model, version)]
            settings.put(connection, _REMOVED_STARTERS, sorted(set(removed)))
        audit.record(
            connection,
            caller,
            action="model.remove",
            subject=f"{model}@{version}",
            detail={},
            clock=self._clock,
        )


def removed_starters(store: Database | Connection) -> frozenset[tuple[str, int]]:
    """Return the shipped versions an admin removed, which must not come back by themselves."""
    kept = settings.get(store, _REMOVED_STARTERS) or []
    return frozenset((str(model), int(version)) for model, version in kept)


def finish_removals(database: Database, models_directory: Path) -> None:
    """Complete the removals that the last stop interrupted; before the library is read."""
    for row in models.versions(database):
        if row.state == REMOVING:
            finish_removal(database, models_directory, row.name, row.version)


def finish_removal(database: Database, models_directory: Path, model: str, version: int) -> None:
    """Given a version marked as removing, delete its files and then its row."""
    withdraw(models_directory, model, version)
    with contextlib.suppress(NotFound):
        models.remove_version(database, model, version)
