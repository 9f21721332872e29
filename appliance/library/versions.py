"""Models on disk: `<state>/models/<name>/<version>/`, immutable once there."""

import logging
import os
import re
import shutil
from collections.abc import Collection
from pathlib import Path
from typing import NamedTuple

import msgspec

from appliance.errors import ModelInvalid
from appliance.library.checksums import check_sums, read_sums, version_words
from appliance.library.manifest import Name, read_manifest

_log = logging.getLogger(__name__)
STARTER_DIRECTORY = Path(__file__).resolve().parent.parent / "starter"
_VERSION = re.compile(r"[1-9][0-9]{0,9}")
_NET_TAG = re.compile(
    rb"(?:\xef\xbb\xbf)?\s*(?:<\?xml[^>]{0,200}\?>)?\s*(?:<!--.{0,1000}?-->\s*)?"
    rb"<net\b[^>]{0,1000}?\bversion=\"([0-9]{1,6})\"",
    re.DOTALL,
)
_HEAD_BYTES = 4096
_OLDEST_IR, _NEWEST_IR = 10, 11


class VersionDirectory(NamedTuple):
    """Where one version of one model lies."""

    model: str
    version: int
    directory: Path


def installed_versions(models_directory: Path) -> list[VersionDirectory]:
    """Given the models directory, return every version in it, by name and then version.

    Anything that is not `<name>/<number>/manifest.toml` is passed over, so a half-copied version
    (which has another name until it is whole) is never seen.
    """
    try:
        names = sorted(path.name for path in models_directory.iterdir())
    except OSError:
        return []
    return [place for name in names for place in versions_of(models_directory, name)]


def versions_of(models_directory: Path, model: str) -> list[VersionDirectory]:
    """Given the models directory and a model's name, return its versions, oldest first.

    There are none for a name that no model may have, so a name from a URL leads nowhere else.
    """
    if not _is_name(model):
        return []
    try:
        directories = list((models_directory / model).iterdir())
    except OSError:
        return []
    return sorted(
        VersionDirectory(model, int(directory.name), directory)
        for directory in directories
        if _VERSION.fullmatch(directory.name) and (directory / "manifest.toml").is_file()
    )


def _is_name(text: str) -> bool:
    try:
        msgspec.convert(text, Name)
    except msgspec.ValidationError:
        return False
    return True


def install_directory(source: Path, models_directory: Path) -> VersionDirectory:
    """Given a complete version directory, copy it under its manifest's name and version.

    The copy gets its final name only when it is whole and on disk, so a power cut leaves all or
    nothing. Raise ModelInvalid when the source fails its checks; do nothing when that version is
    installed already.
    """
    manifest = read_manifest(source)
    target = models_directory / manifest.name / str(manifest.version)
    version = VersionDirectory(manifest.name, manifest.version, target)
    if target.exists():
        return version
    check_sums(source, hard_links_allowed=True)
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.parent / f".partial-{target.name}"
    shutil.rmtree(partial, ignore_errors=True)
    try:
        _copy(source, partial)
        partial.rename(target)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)  # on a full disk every byte counts
        raise
    synchronise(target.parent)
    synchronise(models_directory)
    return version


def _copy(source: Path, partial: Path) -> None:
    """Copy and check a version, make it read-only and bring all of it to the disk."""
    shutil.copytree(source, partial)
    for path in (*sorted(partial.rglob("*")), partial):
        path.chmod(0o750 if path.is_dir() else 0o440)
        synchronise(path)
    check_sums(partial)


def starter_versions(starters: Path = STARTER_DIRECTORY) -> frozenset[tuple[str, int]]:
    """Return name and version of each model that ships with the package."""
    return frozenset(
        (path.parts[-3], int(path.parts[-2]))
        for path in starters.glob("*/*/manifest.toml")
        if _VERSION.fullmatch(path.parts[-2])
    )


def install_starters(
    models_directory: Path,
    *,
    starters: Path = STARTER_DIRECTORY,
    removed: Collection[tuple[str, int]] = (),
) -> list[VersionDirectory]:
    """Given the models directory, install each model of the package that is not there yet.

    Those in `removed` (name and version) stay away.

    What is there under the same name and version is never replaced, as it may be an admin's own;
    where it is another one, that is logged. One that cannot be installed is logged and left out:
    what is there must still be served.
    """
    installed = []
    for source in sorted(path.parent for path in starters.glob("*/*/manifest.toml")):
        if (source.parent.name, int(source.name)) in removed:
            continue
        try:
            version = install_directory(source, models_directory)
            installed.append(version)
            _compare_sums(source, version)
        except ModelInvalid as problem:
            _log.error("starter model not installed", extra={"reason": problem.detail})
        except OSError as fault:
            _log.error("starter model not installed", extra={"reason": str(fault)})
    return installed


def answering_sums(directory: Path) -> dict[str, str]:
    """Given a version's directory, return the SHA-256 of each file its answers depend on.

    Those are all but the card and the samples. Raise ModelInvalid without readable SHA256SUMS.
    """
    return {
        name: digest
        for name, digest in read_sums(directory).items()
        if name != "card.md" and not name.startswith("golden/")
    }


def _compare_sums(source: Path, version: VersionDirectory) -> None:
    """Say so when another model has the place of one of the package's."""
    if answering_sums(source) == answering_sums(version.directory):
        return
    name = version_words(version.directory)
    _log.error(
        "starter model not installed",
        extra={
            "model": name,
            "reason": f"{name} in the library is not the one that ships with this release, and is"
            " left as it is. If you did not put it there, delete that version and restart the"
            " appliance, which then installs the shipped one.",
        },
    )


def remove_partial_versions(models_directory: Path) -> None:
    """Given the models directory, delete what an interrupted import left behind."""
    for leftover in models_directory.glob("*/.partial-*"):
        shutil.rmtree(leftover, ignore_errors=True)


def model_file(directory: Path) -> Path:
    """Given a version's directory, return its model.xml.

    Raise ModelInvalid when a part is missing or it is not an OpenVINO IR that is read here.
    """
    path = directory / "model.xml"
    for part in (path, directory / "model.bin"):
        if not part.is_file():
            raise ModelInvalid(f"{part.name} is missing from {version_words(directory)}.")
    check_head(path)
    return path


def check_head(path: Path) -> None:
    """Given a model.xml, read its first tag before OpenVINO does, which would try all its formats
    on the file; raise ModelInvalid when it is no OpenVINO IR that is read here.

    IR versions: OpenVINO documentation, "OpenVINO IR format"; 10 since 2020.1, 11 since 2022.1.
    """
    with path.open("rb") as file:
        head = file.read(_HEAD_BYTES)
    if b"<!DOCTYPE" in head or b"<!ENTITY" in head:
        raise ModelInvalid("model.xml declares entities, which a model may not.")
    found = _NET_TAG.match(head)
    if found is None:
        raise ModelInvalid("model.xml is not an OpenVINO IR: it does not begin with <net … >.")
    version = int(found[1])
    if version > _NEWEST_IR:
        raise ModelInvalid(
            f"model.xml was made for a newer OpenVINO: it is IR version {version}, and versions"
            f" {_OLDEST_IR} to {_NEWEST_IR} are read here. Convert the model with this release."
        )
    if version < _OLDEST_IR:
        raise ModelInvalid(
            f"model.xml is IR version {version}, which is too old; {_OLDEST_IR} to {_NEWEST_IR}"
            " are read here. Convert the model again."
        )


def synchronise(path: Path) -> None:
    """Given a file or directory, wait until what it holds is on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
