"""What lies in the model library, remembered between looks at the directories.

Health, readiness and every scrape ask for all versions; reading all directories and manifests each
time costs more than the rest of the answer.
"""

import os
import threading
import time
from pathlib import Path
from typing import NamedTuple

from appliance.errors import ModelInvalid, NotFound
from appliance.library import text_package
from appliance.library.manifest import Manifest, read_manifest
from appliance.library.versions import VersionDirectory, installed_versions, versions_of

#: A directory that changed so shortly before it was read may change again without another time
#: stamp: the kernel's clock for files moves on every few milliseconds only.
_SETTLED_NANOSECONDS = 1_000_000_000
#: Something that is being copied into place by hand changes no time stamp above it.
_LONGEST_SECONDS = 10.0
_MOST_MANIFESTS = 4096


class _Look(NamedTuple):
    stamps: tuple[tuple[str, int], ...]
    until: float
    versions: tuple[VersionDirectory, ...]


class Described(NamedTuple):
    """A version's manifest, or an empty one and the reason why it cannot be read."""

    manifest: Manifest
    reason: str


class Catalogue:
    """The installed versions and their manifests.

    Threads: any. Each look is replaced whole; two threads at worst look twice. `_lock` guards the
    manifests.
    """

    def __init__(self, models_directory: Path) -> None:
        self._directory = models_directory
        self._look: _Look | None = None
        self._lock = threading.Lock()
        self._manifests: dict[VersionDirectory, tuple[int, Described]] = {}

    def versions(self) -> tuple[VersionDirectory, ...]:
        """Return every installed version, by name and then version."""
        stamps = self._stamps()
        look = self._look
        if look is not None and look.stamps == stamps and time.monotonic() < look.until:
            return look.versions
        found = tuple(installed_versions(self._directory))
        newest = max((stamp for _, stamp in stamps), default=0)
        is_settled = time.time_ns() - newest > _SETTLED_NANOSECONDS
        until = time.monotonic() + _LONGEST_SECONDS
        self._look = _Look(stamps, until, found) if is_settled else None
        return found

    def place(self, model: str, version: int | None) -> VersionDirectory:
        """Given a model and a version (None: the newest), return where it lies.

        Always looks at the disk. Raise NotFound, naming the versions there are.
        """
        versions = {place.version: place for place in versions_of(self._directory, model)}
        if not versions:
            words = f"Request for unknown model: {model[:100]!r} is not found."
            raise NotFound(words + text_package.hint(model))
        number = max(versions) if version is None else version
        if number not in versions:
            known = ", ".join(str(each) for each in sorted(versions))
            raise NotFound(f"Model {model!r} has no version {number}. It has: {known}.")
        return versions[number]

    def described(self, place: VersionDirectory) -> Described:
        """Given a version, return its manifest, read anew when the file has changed."""
        stamp = _stamp(place.directory / "manifest.toml")
        known = self._manifests.get(place)
        if known is not None and known[0] == stamp:
            return known[1]
        found = _read(place)
        if time.time_ns() - stamp > _SETTLED_NANOSECONDS:
            with self._lock:
                if len(self._manifests) >= _MOST_MANIFESTS:
                    self._manifests.clear()
                self._manifests[place] = (stamp, found)
        return found

    def _stamps(self) -> tuple[tuple[str, int], ...]:
        """Return name and time of change of the library and each model in it."""
        try:
            with os.scandir(self._directory) as entries:
                models = [(entry.name, _stamp(Path(entry.path))) for entry in entries]
        except OSError:
            models = []
        return (("", _stamp(self._directory)), *sorted(models))


def _read(place: VersionDirectory) -> Described:
    try:
        return Described(read_manifest(place.directory), "")
    except ModelInvalid as problem:
        empty = Manifest(manifest_version=1, name=place.model, version=place.version, task="")
        return Described(empty, problem.detail)


def _stamp(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0
