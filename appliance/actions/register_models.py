"""Register models: the database knows what lies in the library, and each has an active version."""

from pathlib import Path

from appliance.clock import Clock
from appliance.library.checksums import SUMS_NAME, sha256_of
from appliance.library.versions import VersionDirectory, installed_versions
from appliance.store import models
from appliance.store.database import Database
from appliance.store.models import Version

_ACTOR = "first-start"


def register_models(database: Database, models_directory: Path, clock: Clock) -> dict[str, int]:
    """Given the database and the library, add unknown versions and return each model's active one.

    So a database that had to be begun anew learns the models on disk again. A model without an
    active version gets its newest; one whose active version is gone from disk falls back to its
    newest too.
    """
    known = {(version.name, version.version) for version in models.versions(database)}
    newest: dict[str, int] = {}
    for place in installed_versions(models_directory):
        if (place.model, place.version) not in known:
            models.add_version(database, _version(place, clock))
        newest[place.model] = place.version
    active = models.active_versions(database)
    on_disk = {(place.model, place.version) for place in installed_versions(models_directory)}
    for model, version in newest.items():
        if (model, active.get(model, 0)) not in on_disk:
            models.switch(database, model, version, actor=_ACTOR, at_seconds=clock.wall_seconds())
            active[model] = version
    return {model: version for model, version in active.items() if (model, version) in on_disk}


def _version(place: VersionDirectory, clock: Clock) -> Version:
    sums = place.directory / SUMS_NAME
    files = [path for path in place.directory.rglob("*") if path.is_file()]
    return Version(
        name=place.model,
        version=place.version,
        state="ready",
        sha256=sha256_of(sums) if sums.is_file() else "",
        size_bytes=sum(path.stat().st_size for path in files),
        created_seconds=clock.wall_seconds(),
    )
