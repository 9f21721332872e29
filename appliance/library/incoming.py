"""Models on their way into the library: durable from the moment they are accepted.

Each lies in `<models>/.incoming/<id>/`: `files/` as they were sent, `work/` while it is unpacked,
and `made/` with the version under its final name. `order.json` is written last, so whatever is
without it was never accepted. Moving the version into the library is one rename: there is never
half of one.
"""

import hashlib
import os
import re
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

import msgspec

from appliance import identifiers
from appliance.errors import InvalidInput, PayloadTooLarge
from appliance.library.import_request import ImportRequest
from appliance.library.versions import VersionDirectory, synchronise

_DIRECTORY = ".incoming"
_ORDER = "order.json"
_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")
_MOST_NAME = 100
_MOST_FILES = 32


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """An accepted import: under which version, for whom, and how often it was begun.

    `url` is where the model is still to be fetched from. `kind` says whether the files are to be
    converted, or a whole version that only has to prove itself.
    """

    request: ImportRequest
    version: int
    key_name: str
    address: str
    key_id: str | None = None
    kind: Literal["convert", "prove"] = "convert"
    url: str = ""
    begun: int = 0


class Incoming:
    """One model on its way. Threads: one at a time."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.files = directory / "files"
        self.work = directory / "work"
        #: A folder of its own, because a model may be called as any of the others.
        self.made = directory / "made"

    @classmethod
    def create(cls, models_directory: Path) -> "Incoming":
        """Given the library, make room for one more model."""
        incoming = cls(models_directory / _DIRECTORY / identifiers.new_id())
        incoming.files.mkdir(mode=0o700, parents=True)
        return incoming

    def write(self, name: str, pieces: Iterable[bytes], *, most_bytes: int) -> str:
        """Given a client's name for a file and its bytes, keep it and return its SHA-256.

        Only the last part of the name is used, and only its harmless characters. Raise
        PayloadTooLarge beyond `most_bytes` for all files together, InvalidInput for a name twice.
        """
        path = self.files / safe_name(name)
        present = list(self.files.iterdir())
        if path in present:
            raise InvalidInput(f"Two files are called {path.name!r}. Give them different names.")
        if len(present) >= _MOST_FILES:
            raise InvalidInput(f"A model has at most {_MOST_FILES} files here. Send a .zip.")
        room = most_bytes - sum(each.stat().st_size for each in present)
        digest = hashlib.sha256()
        with path.open("xb") as file:
            for piece in pieces:
                room -= len(piece)
                if room < 0:
                    raise PayloadTooLarge(
                        f"The model is larger than {most_bytes:,} bytes (limits.body_bytes)."
                    )
                digest.update(piece)
                file.write(piece)
            file.flush()
            os.fsync(file.fileno())
        return digest.hexdigest()

    def accept(self, order: Order) -> None:
        """Given the order, write it durably: from now on a restart goes on with this import."""
        partial = self.directory / f"{_ORDER}.part"
        with partial.open("wb") as file:
            file.write(msgspec.json.encode(order))
            file.flush()
            os.fsync(file.fileno())
        partial.rename(self.directory / _ORDER)
        for directory in (self.files, self.directory, self.directory.parent):
            synchronise(directory)

    def order(self) -> Order | None:
        """Return the order; None when this model was never accepted."""
        try:
            return msgspec.json.decode((self.directory / _ORDER).read_bytes(), type=Order)
        except (OSError, msgspec.DecodeError):
            return None

    def target(self, order: Order) -> Path:
        """Return where the version is written: under its final name, as its checks demand."""
        return self.made / order.request.name / str(order.version)

    def start_over(self, order: Order) -> None:
        """Forget what an earlier attempt wrote, but for the files that were sent."""
        shutil.rmtree(self.work, ignore_errors=True)
        if order.kind == "convert":
            shutil.rmtree(self.made, ignore_errors=True)
        self.work.mkdir(mode=0o700)

    def discard(self) -> None:
        """Delete it and all that belongs to it; the order first, so that it cannot half return."""
        (self.directory / _ORDER).unlink(missing_ok=True)
        shutil.rmtree(self.directory, ignore_errors=True)


def safe_name(name: str) -> str:
    """Given what a client calls a file, return a name that leads nowhere else."""
    last = name.replace("\\", "/").rsplit("/", 1)[-1]
    clean = _UNSAFE.sub("_", last).lstrip(".")[-_MOST_NAME:]
    return clean or "model"


def waiting(models_directory: Path) -> list[Incoming]:
    """Given the library, return the accepted imports, oldest first, and delete the rest."""
    try:
        directories = sorted((models_directory / _DIRECTORY).iterdir())
    except OSError:
        return []
    accepted = []
    for directory in directories:
        incoming = Incoming(directory)
        if incoming.order() is None:
            incoming.discard()
        else:
            accepted.append(incoming)
    return accepted


def publish(staged: Path, models_directory: Path) -> VersionDirectory:
    """Given a proved version under `<name>/<version>` on the same disk, move it into the library.

    It is made read-only and brought to the disk first. Raise FileExistsError when that version is
    there already.
    """
    name, version = staged.parent.name, staged.name
    target = models_directory / name / version
    for path in (*sorted(staged.rglob("*")), staged):
        path.chmod(0o750 if path.is_dir() else 0o440)
        synchronise(path)
    target.parent.mkdir(mode=0o750, exist_ok=True)
    if target.exists():
        raise FileExistsError(target)
    staged.rename(target)
    synchronise(target.parent)
    synchronise(models_directory)
    return VersionDirectory(name, int(version), target)


def withdraw(models_directory: Path, model: str, version: int) -> None:
    """Given a version in the library, take it away in one step, then delete its files."""
    source = models_directory / model / str(version)
    if not source.is_dir():
        return
    doomed = Incoming(models_directory / _DIRECTORY / identifiers.new_id())
    doomed.directory.mkdir(mode=0o700, parents=True)
    source.rename(doomed.directory / str(version))
    synchronise(source.parent)
    doomed.discard()
    if not any(source.parent.iterdir()):
        source.parent.rmdir()
