"""Models on disk: `<state>/models/<name>/<version>/`, immutable once there."""

import os
import shutil
from pathlib import Path
from typing import NamedTuple

from appliance.errors import ModelInvalid
from appliance.library.checksums import check_sums
from appliance.library.manifest import read_manifest

STARTER_DIRECTORY = Path(__file__).resolve().parent.parent / "starter"


class VersionDirectory(NamedTuple):
    """Where one version of one model lies."""

    model: str
    version: int
    directory: Path


def installed_versions(models_directory: Path) -> list[VersionDirectory]:
    """Given the models directory, return every version in it, by name and then version.

    Anything that is not `<name>/<number>/manifest.toml` is passed over, so a half-copied version (which has another
    name until it is whole) is never seen.
    """
    found = []
    for manifest in models_directory.glob("*/*/manifest.toml"):
        directory = manifest.parent
        if directory.name.isdecimal() and str(int(directory.name)) == directory.name:
            found.append(VersionDirectory(directory.parent.name, int(directory.name), directory))
    return sorted(found)


def install_directory(source: Path, models_directory: Path) -> VersionDirectory:
    """Given a complete version directory, copy it under its manifest's name and version.

    The copy gets its final name only when it is whole and on disk, so a power cut leaves all or nothing. Raise
    ModelInvalid when the source fails its checks; do nothing when that version is installed already.
    """
    manifest = read_manifest(source)
    check_sums(source)
    target = models_directory / manifest.name / str(manifest.version)
    version = VersionDirectory(manifest.name, manifest.version, target)
    if target.exists():
        return version
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.parent / f".partial-{target.name}"
    shutil.rmtree(partial, ignore_errors=True)
    shutil.copytree(source, partial, ignore=shutil.ignore_patterns("__pycache__"))
    check_sums(partial)
    for path in sorted(partial.rglob("*")):
        path.chmod(0o750 if path.is_dir() else 0o440)
        _synchronise(path)
    _synchronise(partial)
    partial.rename(target)
    _synchronise(target.parent)
    return version


def install_starters(models_directory: Path) -> list[VersionDirectory]:
    """Given the models directory, install each model that ships with the package and is not there yet."""
    sources = sorted(path.parent for path in STARTER_DIRECTORY.glob("*/*/manifest.toml"))
    return [install_directory(source, models_directory) for source in sources]


def remove_partial_versions(models_directory: Path) -> None:
    """Given the models directory, delete what an interrupted import left behind."""
    for leftover in models_directory.glob("*/.partial-*"):
        shutil.rmtree(leftover, ignore_errors=True)


def model_file(directory: Path) -> Path:
    """Given a version's directory, return its model.xml; raise ModelInvalid when a part is missing."""
    path = directory / "model.xml"
    for part in (path, directory / "model.bin"):
        if not part.is_file():
            raise ModelInvalid(f"{part.name} is missing from {directory}.")
    return path


def _synchronise(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
