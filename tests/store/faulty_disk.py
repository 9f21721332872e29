"""A file layer for SQLite whose disk fails on command."""

from typing import Any

import apsw

#: SQLITE_IOERR_FSYNC and SQLITE_IOERR_WRITE.
FSYNC_FAILED, WRITE_FAILED = 1034, 778


class FaultyLayer(apsw.VFS):  # type: ignore[misc]
    """Passes everything on; `failing_syncs` and `failing_writes` count down with each fault."""

    def __init__(self, name: str) -> None:
        self.layer_name = name
        self.failing_syncs = 0
        self.failing_writes = 0
        self.write_fault: type[apsw.Error] = apsw.IOError
        super().__init__(name, "", maxpathname=0)

    def xOpen(self, name: Any, flags: list[int]) -> "_File":
        return _File(self, name, flags)


class _File(apsw.VFSFile):  # type: ignore[misc]
    def __init__(self, layer: FaultyLayer, name: Any, flags: list[int]) -> None:
        self._layer = layer
        super().__init__("", name, flags)

    def xSync(self, flags: int) -> None:
        if self._layer.failing_syncs:
            self._layer.failing_syncs -= 1
            raise _fault(apsw.IOError, FSYNC_FAILED)
        super().xSync(flags)

    def xWrite(self, data: bytes, offset: int) -> None:
        if self._layer.failing_writes:
            self._layer.failing_writes -= 1
            raise _fault(self._layer.write_fault, WRITE_FAILED)
        super().xWrite(data, offset)


def _fault(kind: type[apsw.Error], extended: int) -> apsw.Error:
    fault = kind("injected")
    fault.extendedresult = extended if kind is apsw.IOError else 13
    return fault
