"""Unpack an archive somebody sent, member by member, within caps; nothing in it is believed.

Only ZIP is read: Debian 12's Python has no safe way to unpack tar. Sizes are counted while
unpacking, because those in the archive may lie.
"""

import errno
import stat
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from appliance.errors import InvalidInput, PayloadTooLarge, UnsupportedMedia

_PIECE_BYTES = 1 << 20
_MOST_DEPTH = 8
_MOST_NAME_BYTES = 200
#: A file up to this size may shrink as much as it likes.
_SMALL_BYTES = 1 << 20
_METHODS = frozenset({zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED})
_ARCHIVES = (b"PK\x03\x04", b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"7z\xbc\xaf", b"Rar!")
#: What a damaged place or two names that exclude each other look like to the operating system.
_DAMAGE = frozenset(
    {None, errno.EINVAL, errno.EEXIST, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG}
)
#: What `zipfile` raises for a damaged or hostile archive.
ZIP_FAULTS = (
    zipfile.BadZipFile,
    NotImplementedError,
    RuntimeError,
    EOFError,
    ValueError,
    zlib.error,
)


@dataclass(frozen=True, slots=True)
class Caps:
    """The most an archive may hold, and what to say where that is not about one model's .zip."""

    total_bytes: int
    entries: int = 200
    ratio: int = 100
    too_large: str = ""
    too_many: str = ""


def unpack(archive: Path, directory: Path, caps: Caps) -> list[Path]:
    """Given an archive and an empty directory, unpack into it and return the files.

    Raise InvalidInput for names, links, archives inside and damage; PayloadTooLarge beyond a cap.
    """
    try:
        with zipfile.ZipFile(archive) as opened:
            entries = opened.infolist()
            _check_entries(entries, caps)
            room = caps.total_bytes
            unpacked = []
            for entry in entries:
                if not entry.is_dir():
                    target = directory / _safe_name(entry.filename)
                    room -= _unpack_one(opened, entry, target, _cap(entry, caps, room))
                    unpacked.append(target)
            return unpacked
    except ZIP_FAULTS as fault:
        raise InvalidInput(f"The .zip is damaged: {fault}. Make it again and send that.") from None
    except OSError as fault:
        if fault.errno in _DAMAGE:
            raise InvalidInput(f"The .zip is damaged: {fault.strerror}.") from None
        raise


def _check_entries(entries: list[zipfile.ZipInfo], caps: Caps) -> None:
    if len(entries) > caps.entries:
        raise PayloadTooLarge(
            caps.too_many
            or f"The .zip has {len(entries):,} entries; at most {caps.entries} are read. Send only"
            " the model's own files."
        )
    seen: set[str] = set()
    for entry in entries:
        name = _safe_name(entry.filename).as_posix()
        if name.casefold() in seen:
            raise InvalidInput(f"The .zip holds {name!r} twice. Make it again.")
        seen.add(name.casefold())
        mode = entry.external_attr >> 16
        if stat.S_IFMT(mode) not in (0, stat.S_IFREG, stat.S_IFDIR):
            raise InvalidInput(
                f"{name!r} in the .zip is a link or special file. Put the file itself there."
            )
        if entry.flag_bits & 1:
            raise InvalidInput(f"{name!r} in the .zip is encrypted. Send it without a password.")
        if entry.compress_type not in _METHODS:
            raise UnsupportedMedia(
                f"{name!r} in the .zip is packed by an unusual method. Pack it with 'zip -r'."
            )


def _safe_name(name: str) -> PurePosixPath:
    """Given an entry's name, return it as a path that stays inside; raise InvalidInput."""
    path = PurePosixPath(name)
    is_bad = (
        not path.parts
        or path.is_absolute()
        or "\\" in name
        or ":" in name
        or len(path.parts) > _MOST_DEPTH
        or any(part in ("..", ".") or not part.isprintable() for part in path.parts)
        or len(name.encode("utf-8", "replace")) > _MOST_NAME_BYTES
    )
    if is_bad:
        raise InvalidInput(
            f"The .zip names a file {name[:80]!r}, which may lead elsewhere or is too long. Names"
            " must be plain and relative."
        )
    return path


def _cap(entry: zipfile.ZipInfo, caps: Caps, room: int) -> tuple[int, str]:
    """Return the most bytes one entry may become, and the words for when it becomes more."""
    by_ratio = max(_SMALL_BYTES, entry.compress_size * caps.ratio)
    if by_ratio < room:
        return by_ratio, (
            f"{entry.filename!r} in the .zip grows to more than {caps.ratio} times its packed"
            " size, as a bomb does. Pack it without compression (zip -0)."
        )
    return room, (
        caps.too_large
        or f"The .zip unpacks to more than {caps.total_bytes:,} bytes (models.import_bytes)."
    )


def _unpack_one(
    archive: zipfile.ZipFile, entry: zipfile.ZipInfo, target: Path, cap: tuple[int, str]
) -> int:
    """Unpack one file and return its size."""
    most, words = cap
    target.parent.mkdir(parents=True, exist_ok=True)
    written = 0
    with archive.open(entry) as source, target.open("xb") as file:
        while piece := source.read(_PIECE_BYTES):
            if written == 0:
                _refuse_archive(piece, entry.filename)
            written += len(piece)
            if written > most:
                raise PayloadTooLarge(words)
            file.write(piece)
    return written


def _refuse_archive(head: bytes, name: str) -> None:
    if head.startswith(_ARCHIVES) or head[257:262] == b"ustar":
        raise InvalidInput(
            f"{name[:80]!r} in the .zip is an archive itself, which is not opened. Put the model's"
            " files into the .zip directly."
        )
