"""A model's files as one request: found beside the one that was named, sent piece by piece."""

import secrets
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import click

from appliance.errors import Problem
from appliance.library.onnx_file import external_files
from appliance.library.source_files import may_hold_labels

_PIECE_BYTES = 1 << 18
_MOST_BESIDE = 8
_OTHER_HALVES = {".xml": ".bin", ".pdmodel": ".pdiparams"}


class Part(NamedTuple):
    """One file of the form: the name of its part, what it is called, and where it lies."""

    field: str
    name: str
    path: Path


class Package:
    """A form of several files. Use it as a context: a folder is packed into a file that goes."""

    def __init__(self, model: Path, labels: tuple[tuple[str, Path], ...]) -> None:
        """Given a file or folder and the labels that were named (head, file), gather the parts."""
        self._temporary = tempfile.TemporaryDirectory(prefix="ia-model-")
        self._boundary = secrets.token_hex(16)
        try:
            parts = self._model_parts(model)
        except BaseException:
            self._temporary.cleanup()
            raise
        parts += [Part(f"labels:{head}" if head else "labels", "", path) for head, path in labels]
        if not labels and model.is_file():
            parts += [Part("file", path.name, path) for path in _labels_beside(model)]
        self.parts = tuple(parts)

    def __enter__(self) -> "Package":
        return self

    def __exit__(self, *_: object) -> None:
        self._temporary.cleanup()

    @property
    def content_type(self) -> str:
        """The request's media type."""
        return f"multipart/form-data; boundary={self._boundary}"

    @property
    def content_bytes(self) -> int:
        """The length of the request's body."""
        heads = sum(len(self._head(part)) + 2 for part in self.parts)
        return heads + sum(part.path.stat().st_size for part in self.parts) + len(self._tail())

    def pieces(self, on_sent: Callable[[int], None]) -> Iterator[bytes]:
        """Yield the body, telling the length of each piece as it goes."""
        for part in self.parts:
            yield self._head(part)
            with part.path.open("rb") as file:
                while piece := file.read(_PIECE_BYTES):
                    yield piece
                    on_sent(len(piece))
            yield b"\r\n"
        yield self._tail()

    def _model_parts(self, model: Path) -> list[Part]:
        if model.is_dir():
            packed = Path(self._temporary.name) / "model.zip"
            _pack(model, packed)
            return [Part("file", "model.zip", packed)]
        found = [model, *_weights_beside(model)]
        return [Part("file", path.name, path) for path in found]

    def _head(self, part: Part) -> bytes:
        name = part.name.encode("ascii", "replace").decode().replace('"', "_").replace("\\", "_")
        return (
            f"--{self._boundary}\r\nContent-Disposition: form-data;"
            f' name="{part.field}"; filename="{name or "labels.txt"}"\r\n'
            "Content-Type: application/octet-stream\r\n\r\n"
        ).encode()

    def _tail(self) -> bytes:
        return f"--{self._boundary}--\r\n".encode()


def _weights_beside(model: Path) -> list[Path]:
    """Return the files beside a model without which it is not whole."""
    half = _OTHER_HALVES.get(model.suffix.lower())
    if half is not None:
        other = model.with_suffix(half)
        return [other] if other.is_file() else []
    if model.suffix.lower() != ".onnx":
        return []
    try:
        names = external_files(model)
    except Problem:
        return []  # the appliance says what is wrong with it
    return [model.parent / name for name in sorted(names) if _is_plain(model.parent, name)]


def _is_plain(directory: Path, name: str) -> bool:
    path = directory / name
    return path.parent == directory and path.is_file() and not path.is_symlink()


def _labels_beside(model: Path) -> list[Path]:
    if model.suffix.lower() == ".zip":
        return []
    found = [path for path in sorted(model.parent.iterdir()) if path.is_file()]
    return [path for path in found if may_hold_labels(path)][:_MOST_BESIDE]


def _pack(folder: Path, target: Path) -> None:
    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as archive:
        for path in sorted(folder.rglob("*")):
            if path.is_symlink():
                raise click.ClickException(f"{path} is a link. Put the file itself there.")
            if path.is_file():
                archive.write(path, path.relative_to(folder).as_posix())
