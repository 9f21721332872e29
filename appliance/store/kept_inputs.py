"""Inputs of predictions as they came: one private file each, never in the database or a backup.

    <state>/inputs/<model>/<id of the prediction>

Ids sort by time, so the first name is the oldest input. Nothing is synced: a power cut may leave a
file short or empty, which shows by its size, and costs a sample, never a record.
"""

import contextlib
import os
import re
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

#: Files take whole blocks on the disk (ext4's and XFS's usual size).
_BLOCK_BYTES = 4096
_PREDICTION_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_UNFINISHED = ".tmp"


class KeptInput(NamedTuple):
    """One file: whose it is, and the bytes it takes on the disk; the oldest sorts first."""

    id: str
    model: str
    bytes: int


class KeptInputs:
    """The files below one directory. Threads: any, as each names its own file."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def write(self, model: str, prediction_id: str, body: bytes) -> int:
        """Given a model, a prediction and its input, keep that; return what it takes on the disk.

        Raise OSError; then nothing is kept.
        """
        path = self.path(model, prediction_id)
        unfinished = path.with_name(path.name + _UNFINISHED)
        try:
            _fill(unfinished, body)
            os.rename(unfinished, path)
        except OSError:
            with contextlib.suppress(OSError):
                unfinished.unlink(missing_ok=True)
            raise
        return on_disk(len(body))

    def path(self, model: str, prediction_id: str) -> Path:
        """Given a model and a prediction, return where its input lies if it is kept."""
        return self._root / model / prediction_id

    def listed(self, model: str | None = None) -> list[KeptInput]:
        """Return what is kept, of one model or of all, the oldest first."""
        names = self.models() if model is None else [model]
        return sorted(kept for name in names for kept in self._of(name))

    def models(self) -> list[str]:
        """Return the models of which something is kept."""
        with contextlib.suppress(OSError), os.scandir(self._root) as entries:
            return sorted(entry.name for entry in entries if entry.is_dir(follow_symlinks=False))
        return []

    def remove(self, kept: Iterable[KeptInput]) -> int:
        """Given inputs, remove them; return how many are gone."""
        gone = 0
        for one in kept:
            with contextlib.suppress(OSError):
                self.path(one.model, one.id).unlink(missing_ok=True)
                gone += 1
        return gone

    def remove_model(self, model: str) -> None:
        """Given a model, remove every input of it, the unfinished ones too."""
        shutil.rmtree(self._root / model, ignore_errors=True)

    def remove_unfinished(self) -> None:
        """Remove what a crash left half written; only before anything is written."""
        for path in self._root.glob(f"*/*{_UNFINISHED}"):
            with contextlib.suppress(OSError):
                path.unlink()

    def _of(self, model: str) -> Iterable[KeptInput]:
        with contextlib.suppress(OSError), os.scandir(self._root / model) as entries:
            for entry in entries:
                if not _PREDICTION_ID.fullmatch(entry.name):
                    continue
                with contextlib.suppress(OSError):
                    size = entry.stat(follow_symlinks=False).st_size
                    yield KeptInput(entry.name, model, on_disk(size))


def on_disk(size: int) -> int:
    """Given a file's size in bytes, return the bytes that it takes on the disk, at least one
    block: many small files are what fills a disk unseen.
    """
    return max(1, -(-size // _BLOCK_BYTES)) * _BLOCK_BYTES


def _fill(path: Path, body: bytes) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
    try:
        descriptor = os.open(path, flags, 0o600)
    except FileNotFoundError:  # the model's first input
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(path, flags, 0o600)
    with open(descriptor, "wb", buffering=0) as file:
        rest = memoryview(body)
        while rest:
            rest = rest[file.write(rest) :]
