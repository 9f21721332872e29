"""Which version a path of TensorFlow Serving means."""

from appliance.actions.callers import Caller, require_model
from appliance.engine.status import ModelStatus
from appliance.errors import NotFound
from appliance.web.dialects.open_inference_engine import Engine

#: Labels that every model has: what answers when none is asked for, and the newest installed.
STABLE, LATEST = "stable", "latest"


def asked_version(
    engine: Engine, model: str, *, version: str | None, label: str | None
) -> int | None:
    """Given the version or label of a path, return the version's number, None being the active.

    `ovmsclient` asks for version 0 when it means whichever answers. Raise NotFound for a version
    that cannot be one and for an unknown label.
    """
    if label is not None:
        return _labelled(engine, model, label)
    if version is None:
        return None
    if not (version.isascii() and version.isdecimal()) or len(version) > 10:
        raise NotFound("Model with requested version is not found")
    return int(version) or None


def found_status(
    engine: Engine,
    caller: Caller,
    model: str,
    *,
    version: str | None = None,
    label: str | None = None,
) -> ModelStatus:
    """Given the words of a path, return the state of what it means; raise Forbidden, NotFound."""
    require_model(caller, model)
    number = asked_version(engine, model, version=version, label=label)
    try:
        return engine.status(model, number)
    except NotFound:
        raise not_found(engine, model) from None


def not_found(engine: Engine, model: str) -> NotFound:
    """Given a model that did not answer, return the problem in the words its clients know."""
    thing = "version" if any(one.name == model for one in engine.models()) else "name"
    return NotFound(f"Model with requested {thing} is not found")


def _labelled(engine: Engine, model: str, label: str) -> int | None:
    if label == STABLE:
        return None
    if label == LATEST:
        installed = [one.version for one in engine.models() if one.name == model]
        return max(installed, default=None)
    raise NotFound(
        f"Model with requested label {label[:60]!r} is not found; labels are {STABLE!r}, which"
        f" answers without a version, and {LATEST!r}, the newest installed."
    )
