"""Choose the model that answers a client which cannot name one, as clients of other servers do."""

from collections.abc import Iterator
from typing import Protocol

from appliance.actions.callers import Caller, require_model
from appliance.engine.status import ModelStatus
from appliance.errors import Conflict, NotFound, Problem

PICTURES = "image-classification"
#: As many classes as no model for one purpose has: ImageNet's 1,000, Places' 365.
_GENERAL_CLASSES = 100
_MOST_NAMED = 8


class ServedModels(Protocol):
    """The part of the engine that is asked."""

    def active_versions(self) -> dict[str, int]:
        """Return the active version of each model that is not unloaded."""

    def task_of(self, model: str, version: int | None) -> str:
        """Return the task of a version, None being the active one."""

    def status(self, model: str, version: int | None) -> ModelStatus:
        """Return the state of a version, None being the active one."""


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
    raise _nothing_for(task)


def scene_model_for(engine: ServedModels, caller: Caller, *, configured: str) -> str:
    """Given a caller, return the model that says what a picture shows as a whole.

    That is the `configured` one, or the only classifier of pictures, or the only one of them with
    so many classes that it is meant for any picture. Raise Forbidden, NotFound, or Conflict when
    there are several: a type of vehicle would be a wrong answer to what a room is.
    """
    if configured:
        require_model(caller, configured)
        return configured
    known = list(models_for(engine, caller, PICTURES))
    if not known:
        raise _nothing_for(PICTURES)
    general = [model for model in known if len(known) > 1 and _is_general(engine, model)]
    if len(known) == 1 or len(general) == 1:
        return (general or known)[0]
    more = ", …" if len(known) > _MOST_NAMED else ""
    raise Conflict(
        f"Several models classify pictures here ({', '.join(known[:_MOST_NAMED])}{more}), and none"
        " is said to answer this. Set dialects.scene_model to one of them, or limit this client's"
        " key to one."
    )


def _is_general(engine: ServedModels, model: str) -> bool:
    try:
        status = engine.status(model, None)
    except Problem:
        return False
    counts = [len(labels) for labels in status.labels.values()]
    counts += [int(output["shape"][-1]) for output in status.outputs if output["shape"]]
    return max(counts, default=0) >= _GENERAL_CLASSES


def _nothing_for(task: str) -> NotFound:
    return NotFound(
        f"No model for {task} is active here that this key may use. Install one with"
        " 'appliance model install', or activate one that is installed."
    )


def _does(engine: ServedModels, model: str, task: str) -> bool:
    try:
        return engine.task_of(model, None) == task
    except Problem:
        return False  # gone or failed since it was listed
