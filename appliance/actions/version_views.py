"""Versions as callers see them: those that are whole, under way, and failed with the reason."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from appliance.actions.import_work import FAILED, READY, UNDER_WAY
from appliance.clock import utc_text
from appliance.errors import ModelInvalid
from appliance.library.manifest import read_manifest
from appliance.library.versions import versions_of
from appliance.store import models
from appliance.store.database import Database
from appliance.store.models import Version


class VersionView(msgspec.Struct, frozen=True, kw_only=True):
    """One version; `reason` says why it has failed, `manifest` is there once it is whole.

    `state` is importing, validating, activating, ready, failed or removing.
    """

    name: str
    version: int
    state: str
    reason: str
    is_active: bool
    sha256: str
    size_bytes: int
    created: str
    manifest: dict[str, Any] | None


class VersionViews:
    """Reads of the library's state. Threads: any; it holds none."""

    def __init__(
        self,
        database: Database,
        models_directory: Path,
        *,
        is_activating: Callable[[str, int], bool] = lambda name, version: False,
    ) -> None:
        self._database = database
        self._is_activating = is_activating
        self._directory = models_directory

    def of(self, model: str, version: int) -> VersionView | None:
        """Given a model and a version, return it, or None when there is none."""
        row = models.get_version(self._database, model, version)
        if row is None:
            return None
        return VersionView(
            name=row.name,
            version=row.version,
            state=self._state(row),
            reason=row.reason,
            is_active=models.active_version(self._database, model) == version,
            sha256=row.sha256,
            size_bytes=row.size_bytes,
            created=utc_text(row.created_seconds),
            manifest=self._manifest(row),
        )

    def not_served(self) -> tuple[Version, ...]:
        """Return every version that is under way or has failed, by name and number."""
        return tuple(
            row
            for row in models.versions(self._database)
            if row.state in UNDER_WAY or row.state == FAILED
        )

    def _state(self, row: Version) -> str:
        is_activating = row.state == READY and self._is_activating(row.name, row.version)
        return "activating" if is_activating else row.state

    def _manifest(self, row: Version) -> dict[str, Any] | None:
        if row.state != READY:
            return None
        for place in versions_of(self._directory, row.name):
            if place.version == row.version:
                try:
                    found: dict[str, Any] = msgspec.to_builtins(read_manifest(place.directory))
                except ModelInvalid:
                    return None
                return found
        return None
