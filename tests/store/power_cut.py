"""A file layer for SQLite that knows what has not reached the disk, so that a test can lose it."""

import random
import shutil
import threading
from pathlib import Path
from typing import Any

import apsw


class PowerCutLayer(apsw.VFS):  # type: ignore[misc]
    """Passes everything on to the real layer, and keeps the undo of each write since its sync.

    Threads: any; the journal is guarded by `lock`, which `cut` holds while it copies.
    """

    def __init__(self, name: str) -> None:
        self.layer_name = name
        self.lock = threading.RLock()
        self.journal: dict[str, list[tuple[int, bytes, int, int]]] = {}
        self.operations = 0
        super().__init__(name, "", maxpathname=0)

    def xOpen(self, name: Any, flags: list[int]) -> "_File":
        return _File(self, name, flags)

    def cut(self, directory: Path, target: Path, chance: random.Random) -> None:
        """Copy the files of `directory` as a power cut would leave them: some writes missing."""
        with self.lock:
            target.mkdir()
            for path in directory.iterdir():
                if path.is_file() and not path.name.endswith("-shm"):
                    shutil.copy(path, target / path.name)
                    self._lose(target / path.name, self.journal.get(str(path), []), chance)

    def _lose(
        self, path: Path, journal: list[tuple[int, bytes, int, int]], chance: random.Random
    ) -> None:
        share = chance.choice((0.0, 0.5, 0.9, 1.0))
        with open(path, "r+b") as file:
            for offset, old, old_size, length in reversed(journal):
                if chance.random() >= share:
                    continue
                file.seek(offset)
                garbage = chance.random() < 0.2
                file.write(chance.randbytes(length) if garbage else old.ljust(length, b"\0"))
                if not garbage and old_size <= offset:
                    file.truncate(max(old_size, 0))


class _File(apsw.VFSFile):  # type: ignore[misc]
    def __init__(self, layer: PowerCutLayer, name: Any, flags: list[int]) -> None:
        self._layer = layer
        self._path = name.filename() if isinstance(name, apsw.URIFilename) else str(name)
        super().__init__("", name, flags)

    def xWrite(self, data: bytes, offset: int) -> None:
        with self._layer.lock:
            size = self.xFileSize()
            old = self.xRead(min(len(data), size - offset), offset) if offset < size else b""
            self._layer.journal.setdefault(self._path, []).append((offset, old, size, len(data)))
            self._layer.operations += 1
            super().xWrite(data, offset)

    def xSync(self, flags: int) -> None:
        with self._layer.lock:
            super().xSync(flags)
            self._layer.operations += 1
            self._layer.journal.pop(self._path, None)
