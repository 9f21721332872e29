"""What the running appliance says of itself at /health, as findings of the doctor."""

from collections.abc import Iterator
from typing import Any

from appliance.actions.findings import FAULT, OK, WARNING, Finding, Scene

_ANSWERING = ("ready", "idle")
_MEGABYTE = 1e6


def models(scene: Scene) -> Iterator[Finding]:
    """Given the scene, tell which models answer and which do not."""
    if scene.health is None:
        return
    found = [each for each in _rows(scene.health.get("models")) if each.get("is_active")]
    if not found:
        yield Finding(
            subject="models",
            level=WARNING,
            text="No model is active.",
            advice="appliance model install FILE --name NAME --activate",
        )
        return
    ill = [each for each in found if each.get("state") not in _ANSWERING]
    for each in ill:
        name = f"{each.get('model')}@{each.get('version')}"
        is_starting = each.get("state") == "starting"
        reason = str(each.get("reason") or "no reason is known").rstrip(".")
        yield Finding(
            subject="models",
            level=WARNING if is_starting else FAULT,
            text=f"The model {name} is still starting."
            if is_starting
            else f"The model {name} does not answer; it is {each.get('state')}: {reason}.",
            advice="Wait a little; compiling takes a while the first time."
            if is_starting
            else f"appliance model load {each.get('model')}; or go back to the version before:"
            f" appliance model rollback {each.get('model')}",
        )
    if not ill:
        names = ", ".join(f"{each.get('model')}@{each.get('version')}" for each in found)
        yield Finding(subject="models", level=OK, text=f"Every active model answers: {names}.")


def database(scene: Scene) -> Iterator[Finding]:
    """Given the scene, tell whether the database takes writes and whether it is the one it was."""
    told = scene.health.get("database") if scene.health is not None else None
    if scene.health is None or not isinstance(told, dict):
        return
    recovery = str(scene.health.get("recovery") or "")
    if recovery:
        yield Finding(
            subject="database",
            level=WARNING,
            text=recovery,
            advice="Copy the damaged file away; then restart the service to end this message.",
        )
    if told.get("state") == "ok" and told.get("is_writable"):
        size = float(told.get("bytes") or 0) / _MEGABYTE
        yield Finding(
            subject="database",
            level=OK,
            text=f"The database takes writes; it has {size:.1f} MB.",
        )
        return
    reason = str(told.get("last_error") or "no reason is known").rstrip(".")
    yield Finding(
        subject="database",
        level=FAULT,
        text=f"The database takes no writes; it is {told.get('state')}: {reason}.",
        advice="Make room on its disk if that is full; else restart the service, which mends it or"
        " puts the newest sound backup in its place.",
    )


def clock(scene: Scene) -> Iterator[Finding]:
    """Given the scene, tell when the appliance does not believe the clock."""
    told = scene.health.get("clock") if scene.health is not None else None
    if isinstance(told, dict) and told.get("state") == "suspect":
        yield Finding(
            subject="clock",
            level=WARNING,
            text="The appliance does not believe the clock, because it jumped or runs behind:"
            " nothing is deleted for its age.",
            advice="timedatectl set-ntp true, or set it by hand.",
        )


def _rows(value: object) -> list[dict[str, Any]]:
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []
