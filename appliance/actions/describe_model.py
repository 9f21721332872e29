"""Describe models as callers need it: what goes in, what comes out, how to call."""

from collections.abc import Sequence
from typing import Any

import msgspec

from appliance.engine.status import ModelStatus
from appliance.errors import NotFound
from appliance.store.models import Version
from appliance.tasks import pictures, texts
from appliance.tasks.contract import Task
from appliance.tasks.registry import task_named

_PIXEL_DIMENSIONS = 4


class Parameter(msgspec.Struct, frozen=True, omit_defaults=True):
    """One query parameter of a model's task."""

    name: str
    schema: dict[str, Any]
    default: Any = None


class VersionSummary(msgspec.Struct, frozen=True):
    """One installed version."""

    version: int
    state: str
    reason: str
    is_active: bool


class ModelSummary(msgspec.Struct, frozen=True):
    """One line of the list of models."""

    name: str
    task: str
    active_version: int | None
    state: str
    versions: tuple[int, ...]


class ModelList(msgspec.Struct, frozen=True):
    """Every installed model."""

    models: tuple[ModelSummary, ...]


class ModelDescription(msgspec.Struct, frozen=True):
    """Everything a caller may want to know of one model."""

    name: str
    task: str
    active_version: int | None
    state: str
    reason: str
    media_types: tuple[str, ...]
    params: tuple[Parameter, ...]
    inputs: tuple[dict[str, Any], ...]
    outputs: tuple[dict[str, Any], ...]
    labels: dict[str, tuple[str, ...]]
    versions: tuple[VersionSummary, ...]
    statistics: dict[str, int]
    example: str


def summaries(statuses: list[ModelStatus], rows: Sequence[Version] = ()) -> ModelList:
    """Given the state of every version that is whole, and the rows of those that are not (under
    way or failed), return one line for each model, by name.
    """
    names = {status.name for status in statuses}
    lines = [_summary([status for status in statuses if status.name == name]) for name in names]
    for name in {row.name for row in rows} - names:
        newest = max((row for row in rows if row.name == name), key=lambda row: row.version)
        lines.append(ModelSummary(name, "", None, newest.state, ()))
    return ModelList(tuple(sorted(lines, key=lambda line: line.name)))


def description(
    statuses: list[ModelStatus], base: str, rows: Sequence[Version] = ()
) -> ModelDescription:
    """Given the state of every version of a model, the rows of those that are not whole, and the
    URL callers use, describe the model.
    """
    if not statuses:
        return _unserved(rows)
    shown = _shown(statuses)
    task = _task_of(shown)
    media_types = _taken(task.media_types, shown) if task else ()
    return ModelDescription(
        name=shown.name,
        task=shown.task,
        active_version=shown.version if shown.is_active else None,
        state=shown.state,
        reason=shown.reason,
        media_types=media_types,
        params=parameters(task) if task else (),
        inputs=shown.inputs,
        outputs=shown.outputs,
        labels=shown.labels,
        versions=_versions(statuses, rows),
        statistics=msgspec.structs.asdict(shown.statistics),
        example=_example(shown.name, media_types[0], base) if media_types else "",
    )


def _unserved(rows: Sequence[Version]) -> ModelDescription:
    """Describe a model of which no version is whole."""
    newest = rows[-1]
    return ModelDescription(
        name=newest.name,
        task="",
        active_version=None,
        state=newest.state,
        reason=newest.reason,
        media_types=(),
        params=(),
        inputs=(),
        outputs=(),
        labels={},
        versions=_versions([], rows),
        statistics={},
        example="",
    )


def _versions(statuses: list[ModelStatus], rows: Sequence[Version]) -> tuple[VersionSummary, ...]:
    found = [
        VersionSummary(status.version, status.state, status.reason, status.is_active)
        for status in statuses
    ]
    whole = {one.version for one in found}
    found += [
        VersionSummary(row.version, row.state, row.reason, False)
        for row in rows
        if row.version not in whole
    ]
    return tuple(sorted(found, key=lambda one: one.version))


def parameters(task: Task) -> tuple[Parameter, ...]:
    """Given a task, return its query parameters with their JSON Schema and default."""
    schema = msgspec.json.schema(task.Params)
    properties = next(iter(schema["$defs"].values()))["properties"]
    return tuple(
        Parameter(name=name, schema=body, default=body.get("default"))
        for name, body in properties.items()
    )


def _task_of(status: ModelStatus) -> Task | None:
    """Return a version's task; None where its manifest is broken, so that the reason is told."""
    try:
        return task_named(status.task)
    except NotFound:
        return None


def _taken(media_types: Sequence[str], status: ModelStatus) -> tuple[str, ...]:
    """Given what a task takes, return what this model takes of it: an embedding is one of texts or
    one of pictures, and only pixels have four dimensions. A model that never started may be both.
    """
    is_either = {*texts.MEDIA_TYPES, *pictures.MEDIA_TYPES} == {*media_types}
    if not is_either or not status.inputs:
        return tuple(media_types)
    is_of_pictures = any(len(one["shape"]) == _PIXEL_DIMENSIONS for one in status.inputs)
    return tuple(pictures.MEDIA_TYPES if is_of_pictures else texts.MEDIA_TYPES)


def _example(model: str, media_type: str, base: str) -> str:
    return (
        f"curl -H 'X-API-Key: YOUR-KEY' -H 'Content-Type: {media_type}'"
        f" --data-binary @FILE {base}/api/v1/models/{model}/predict"
    )


def _shown(statuses: list[ModelStatus]) -> ModelStatus:
    return next((status for status in statuses if status.is_active), statuses[-1])


def _summary(statuses: list[ModelStatus]) -> ModelSummary:
    shown = _shown(statuses)
    return ModelSummary(
        name=shown.name,
        task=shown.task,
        active_version=shown.version if shown.is_active else None,
        state=shown.state,
        versions=tuple(status.version for status in statuses),
    )
