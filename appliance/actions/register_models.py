"""Register models: the database knows what lies in the library and which versions answer."""

from pathlib import Path

from appliance.clock import Clock
from appliance.library.checksums import SUMS_NAME, sha256_of
from appliance.library.versions import VersionDirectory, installed_versions
from appliance.store import models
from appliance.store.connection import Connection
from appliance.store.database import Database
from appliance.store.models import Version

_ACTOR = "first-start"
_READY = "ready"


def register_models(
    database: Database, models_directory: Path, clock: Clock
) -> dict[str, int | None]:
    """Given the database and the library, add unknown versions and return each model's active one.

    So a database that had to be begun anew learns the models on disk again. A model that the
    database never knew gets its newest version; one whose active version is gone from disk falls
    back to its newest that is ready. None stays None: a model that was unloaded, or imported and
    never activated, waits for an admin.
    """
    places: dict[str, list[VersionDirectory]] = {}
    for place in installed_versions(models_directory):
        places.setdefault(place.model, []).append(place)
    return {model: _register(database, found, clock) for model, found in places.items()}


def version_of(place: VersionDirectory, clock: Clock) -> Version:
    """Given an installed version, return what the database keeps of it."""
    sums = place.directory / SUMS_NAME
    files = [path for path in place.directory.rglob("*") if path.is_file()]
    return Version(
        name=place.model,
        version=place.version,
        state=_READY,
        sha256=sha256_of(sums) if sums.is_file() else "",
        size_bytes=sum(path.stat().st_size for path in files),
        created_seconds=clock.wall_seconds(),
    )


def _register(database: Database, places: list[VersionDirectory], clock: Clock) -> int | None:
    """Register one model's versions and settle its active one, all in one transaction."""
    model = places[0].model
    known = {version.version for version in models.versions(database, model)}
    rows = [version_of(place, clock) for place in places if place.version not in known]
    on_disk = [place.version for place in places]

    def work(connection: Connection) -> int | None:
        for row in rows:
            models.add_version(connection, row)
        active = models.active_version(connection, model)
        if active in on_disk or (active is None and known):
            return active
        fallback = _newest_ready(connection, model, on_disk)
        at_seconds = clock.wall_seconds()
        models.switch(connection, model, fallback, actor=_ACTOR, at_seconds=at_seconds)
        return fallback

    needs_nothing = not rows and models.active_version(database, model) in (*on_disk, None)
    if needs_nothing:
        return models.active_version(database, model)
    settled: int | None = database.write(work)
    return settled


def _newest_ready(connection: Connection, model: str, on_disk: list[int]) -> int | None:
    ready = [
        version.version
        for version in models.versions(connection, model)
        if version.state == _READY and version.version in on_disk
    ]
    return max(ready, default=None)
