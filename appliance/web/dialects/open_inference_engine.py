"""What the dialect needs of the engine, and how it asks: scope first, then by the path's words."""

from typing import Any, Protocol

from appliance.actions.callers import Caller, require_model
from appliance.engine.status import ModelStatus
from appliance.errors import NotFound
from appliance.host.tensor_spec import TensorSpec, is_batchable, tensor_specs

READY, STARTING, STOPPED = "ready", "starting", "stopped"


class Engine(Protocol):
    """The part of `engine.engine.Engine` that this dialect uses."""

    def models(self) -> list[ModelStatus]:
        """Return the state of every installed version."""

    def status(self, model: str, version: int | None) -> ModelStatus:
        """Return the state of one version, None being the active one; raise NotFound."""

    def call(
        self,
        model: str,
        version: int | None,
        header: dict[str, Any],
        body: bytes | memoryview,
        *,
        waiting_since: float | None = None,
        sender: str = "",
    ) -> tuple[dict[str, Any], bytearray]:
        """Send one call to a model's host and return its reply."""

    def load(self, model: str) -> object:
        """Start, or start anew, a model."""

    def unload(self, model: str) -> object:
        """Stop serving a model."""


def unknown_model(model: str, version: str | None) -> NotFound:
    """Given the model and version of a path, return the problem in the words clients look for."""
    shown = f"'{model[:100]}'" + (f" version {version[:20]}" if version is not None else "")
    return NotFound(f"Request for unknown model: {shown} is not found.")


def version_number(model: str, version: str | None) -> int | None:
    """Given a version of a path, return its number; raise NotFound when it cannot be one."""
    if version is None:
        return None
    is_number = version.isascii() and version.isdecimal() and len(version) <= 10
    if not is_number or int(version) < 1:
        raise unknown_model(model, version)
    return int(version)


def status_for(engine: Engine, caller: Caller, model: str, version: str | None) -> ModelStatus:
    """Given a caller and the model and version of a path, return that version's state.

    Raise Forbidden outside the caller's models, NotFound when there is no such version.
    """
    require_model(caller, model)
    number = version_number(model, version)
    try:
        return engine.status(model, number)
    except NotFound:
        raise unknown_model(model, version) from None


def visible(engine: Engine, caller: Caller) -> list[ModelStatus]:
    """Given a caller, return the state of every version of the models in its scope."""
    return [status for status in engine.models() if caller.may_use(status.name)]


def tensors_of(
    status: ModelStatus,
) -> tuple[tuple[TensorSpec, ...], tuple[TensorSpec, ...], bool]:
    """Given a version's state, return its inputs, its outputs and whether requests have a batch.

    Where they can, the first size is the caller's choice and shown as -1.
    """
    inputs, outputs = tensor_specs(status.inputs), tensor_specs(status.outputs)
    has_batch = is_batchable(inputs, outputs)
    if has_batch:
        inputs, outputs = _with_free_batch(inputs), _with_free_batch(outputs)
    return inputs, outputs, has_batch


def _with_free_batch(specs: tuple[TensorSpec, ...]) -> tuple[TensorSpec, ...]:
    return tuple(TensorSpec(spec.name, spec.datatype, (-1, *spec.shape[1:])) for spec in specs)
