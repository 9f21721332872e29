"""Look at a zip's directory before anything is done with it: cheap, believing little.

Who sends a zip that cannot be read should hear so at once. Only the list at its end is read
here, one entry at a time, so that no zip is too large to be refused; what lies inside is looked at
later, by a process that may die of it. Layout: PKWARE's APPNOTE 6.3.10, sections 4.3.12 to 4.3.16.
"""

import struct
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import IO, NamedTuple

from appliance.errors import InvalidInput, PayloadTooLarge

_END = struct.Struct("<4s4H2LH")
_END64 = struct.Struct("<4sQ2H2L4Q")
_LOCATOR64 = struct.Struct("<4sLQL")
_ENTRY = struct.Struct("<4s4B4HL2L5H2L")
_MOST_COMMENT_BYTES = 65_535
#: Bits of an entry's flags: encrypted, strongly encrypted, names masked (section 4.4.4).
_ENCRYPTED = 0x0001 | 0x0040 | 0x2000
_ARCHIVES = frozenset({".zip", ".tar", ".tgz", ".gz", ".bz2", ".xz", ".zst", ".7z", ".rar"})


class _Listed(NamedTuple):
    """One entry of the directory."""

    name: str
    flags: int


class _Damaged(Exception):
    """The directory is not what a zip's is."""


def check_zip(path: Path, *, name: str, most_files: int) -> int:
    """Given a zip and how its sender calls it, return how many files it lists.

    Raise InvalidInput when its directory is damaged or empty, or lists files that are encrypted or
    archives themselves; PayloadTooLarge beyond `most_files`.
    """
    files = 0
    try:
        with path.open("rb") as file:
            for listed in _entries(file):
                if listed.name.endswith("/"):
                    continue
                files += 1
                if files > most_files:
                    raise PayloadTooLarge(
                        f"The zip {name!r} holds more than {most_files:,} files, which is the most"
                        " (jobs.members). Send several."
                    )
                _check(listed, name)
    except (_Damaged, struct.error):
        raise InvalidInput(
            f"{name!r} is damaged or no zip: the list of its files cannot be read. Make it again"
            " and send that."
        ) from None
    if not files:
        raise InvalidInput(f"The zip {name!r} holds no files.")
    return files


def _check(listed: _Listed, name: str) -> None:
    shown = listed.name[:80]
    if listed.flags & _ENCRYPTED:
        raise InvalidInput(
            f"{shown!r} in the zip {name!r} is encrypted. Make the zip without a password."
        )
    if PurePosixPath(listed.name).suffix.lower() in _ARCHIVES:
        raise InvalidInput(
            f"{shown!r} in the zip {name!r} is an archive itself, which is not opened. Put its"
            " files into the zip directly."
        )


def _entries(file: IO[bytes]) -> Iterator[_Listed]:
    position, left = _directory(file)
    file.seek(position)
    while left > 0:
        fields = _ENTRY.unpack(file.read(_ENTRY.size))
        if fields[0] != b"PK\x01\x02":
            raise _Damaged
        name = file.read(fields[12])
        rest = fields[13] + fields[14]
        file.seek(rest, 1)
        left -= _ENTRY.size + fields[12] + rest
        yield _Listed(name.decode("utf-8", "replace"), fields[5])
    if left:
        raise _Damaged


def _directory(file: IO[bytes]) -> tuple[int, int]:
    """Return where the directory begins and how many bytes it has; it ends where its end record
    begins, whatever was put in front of the zip.
    """
    size = file.seek(0, 2)
    tail_at = max(0, size - _END.size - _MOST_COMMENT_BYTES)
    file.seek(tail_at)
    tail = file.read()
    found = tail.rfind(b"PK\x05\x06")
    if found < 0:
        raise _Damaged
    fields = _END.unpack(tail[found : found + _END.size])
    end, directory_bytes = tail_at + found, fields[5]
    end64 = end - _LOCATOR64.size - _END64.size
    if end64 >= 0:
        file.seek(end64)
        record = file.read(_END64.size + 4)
        if record[:4] == b"PK\x06\x06" and record[-4:] == b"PK\x06\x07":
            end, directory_bytes = end64, _END64.unpack(record[: _END64.size])[8]
    if directory_bytes > end:
        raise _Damaged
    return end - directory_bytes, directory_bytes
