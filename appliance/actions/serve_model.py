"""Change what is served: load, unload, activate; each leaves its trace in the audit."""

from appliance.actions import audit
from appliance.actions.callers import Caller, require_model
from appliance.clock import Clock
from appliance.engine.engine import Engine
from appliance.errors import NotFound
from appliance.store import models
from appliance.store.connection import Connection
from appliance.store.database import Database


class ModelChanges:
    """Changes of what is served. Threads: any; the engine does one change at a time."""

    def __init__(self, engine: Engine, database: Database, clock: Clock) -> None:
        self._engine = engine
        self._database = database
        self._clock = clock

    def load(self, caller: Caller, model: str) -> None:
        """Given a model, start it or start it anew; the old host answers until the new one does.

        Raise NotFound or ModelInvalid with the reason; then nothing has changed.
        """
        require_model(caller, model)
        self._engine.load(model)
        self._note(caller, "model.load", model)

    def unload(self, caller: Caller, model: str) -> None:
        """Given a model, end its hosts and give their memory back; it stays installed."""
        require_model(caller, model)
        self._engine.unload(model)
        self._note(caller, "model.unload", model)

    def activate(self, caller: Caller, model: str, version: int) -> None:
        """Given an installed version, let it answer instead of the active one once it is proved.

        Raise NotFound, Conflict or ModelInvalid; then the active version has not changed.
        """
        require_model(caller, model)
        # Asked first: the engine's switch could not be written down, and a restart would undo it.
        if models.get_version(self._database, model, version) is None:
            raise NotFound(f"There is no registered version {version} of {model[:64]!r}.")
        before = self._engine.activate(model, version)

        def work(connection: Connection) -> None:
            models.switch(
                connection,
                model,
                version,
                actor=audit.actor_of(caller),
                at_seconds=self._clock.wall_seconds(),
            )
            audit.record(
                connection,
                caller,
                action="model.activate",
                subject=f"{model}@{version}",
                detail={"before": before},
                clock=self._clock,
            )

        self._database.write(work)

    def _note(self, caller: Caller, action: str, model: str) -> None:
        audit.record(
            self._database, caller, action=action, subject=model, detail={}, clock=self._clock
        )
