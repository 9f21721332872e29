"""Choose the model that answers a client which cannot name one, as clients of other servers do."""

from collections.abc import Iterator
from typing import Protocol

from appliance.actions.callers import Caller, require_model
from appliance.errors import NotFound, Problem


class ServedModels(Protocol):
    """The part of the engine that is asked."""

    def active_versions(self) -> dict[str, int]:
        """Return the active version of each model that is not unloaded."""

    def task_of(self, model: str, version: int | None) -> str:
        """Return the task of a version, None being the active one."""


def models_for(engine: ServedModels, caller: Caller, task: str) -> Iterator[str]:
    """Given a caller and a task's name, yield the caller's models that do it, by name."""
    for model in sorted(engine.active_versions()):
        if caller.may_use(model) and _does(engine, model, task):
            yield model


def model_for(engine: ServedModels, caller: Caller, task: str, *, configured: str) -> str:
    """Given a caller and a task's name, return the model that answers.

    That is the `configured` one, or else the first by name. Raise Forbidden when that is outside
    the caller's scope, NotFound when no model does this.
    """
    if configured:
        require_model(caller, configured)
        return configured
    for model in models_for(engine, caller, task):
        return model
    raise NotFound(
        f"No model for {task} is active here that this key may use. Install one with"
        " 'appliance model install', or activate one that is installed."
    )


def _does(engine: ServedModels, model: str, task: str) -> bool:
    try:
        return engine.task_of(model, None) == task
    except Problem:
        return False  # gone or failed since it was listed
