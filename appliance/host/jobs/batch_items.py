"""The single inputs of a batch: files, members of zips, lines of JSON; one in memory at a time.

What is wrong with one of them is its own problem; what makes the whole unreadable is raised.
"""

import stat
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import PurePosixPath
from typing import IO, NamedTuple

import msgspec

from appliance.errors import InvalidInput, PayloadTooLarge, Problem, UnsupportedMedia
from appliance.host.jobs.contract import InputLimits, JobInput
from appliance.library.zip_source import ZIP_FAULTS

ZIP_TYPES = frozenset({"application/zip", "application/x-zip-compressed"})
LINE_TYPES = frozenset({"application/jsonl", "application/x-ndjson", "application/x-jsonlines"})
_MOST_RATIO = 100
#: A member up to this size may have been packed as small as it likes.
_SMALL_BYTES = 1 << 20
_MOST_LINE_BYTES = 1 << 20
_METHODS = frozenset({zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED})
#: Media types of single inputs by the end of their name.
INPUT_TYPES = {
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".png": "image/png",
    ".webp": "image/webp",
    ".bmp": "image/bmp",
    ".gif": "image/gif",
    ".avif": "image/avif",
    ".tif": "image/tiff",
    ".tiff": "image/tiff",
    ".txt": "text/plain",
}
#: Anything else is judged by its content.
_TYPES = {**INPUT_TYPES, ".csv": "text/csv", ".json": "application/json"}


def is_zip(name: str, content_type: str) -> bool:
    """Given a file's name and media type as they were sent, return whether it is taken for a zip.

    By its name too: many clients send every file as application/octet-stream.
    """
    return content_type in ZIP_TYPES or name.lower().endswith(".zip")


class Item(NamedTuple):
    """One input, or why it is none."""

    name: str
    content_type: str
    body: bytes
    problem: Problem | None = None


def count_items(inputs: Sequence[JobInput], limits: InputLimits) -> int:
    """Given what was sent, return how many items there will be, for the progress.

    Raise InvalidInput for a zip that cannot be opened, PayloadTooLarge beyond the limits.
    """
    total = 0
    for one in inputs:
        if is_zip(one.name, one.content_type):
            total += len(_members(one, limits))
        elif one.content_type in LINE_TYPES:
            with open(one.path, "rb") as file:
                total += sum(1 for line in _lines(file) if line.strip())
        else:
            total += 1
    if total > limits.members:
        raise PayloadTooLarge(
            f"The batch holds {total:,} inputs; {limits.members:,} is the most (jobs.members)."
        )
    return total


def items(inputs: Sequence[JobInput], limits: InputLimits) -> Iterator[Item]:
    """Given what was sent, yield each input of the batch in order."""
    for one in inputs:
        if is_zip(one.name, one.content_type):
            yield from _zipped(one, limits)
        elif one.content_type in LINE_TYPES:
            yield from _texts(one)
        else:
            with open(one.path, "rb") as file:
                yield Item(one.name, one.content_type, file.read())


def _members(one: JobInput, limits: InputLimits) -> list[zipfile.ZipInfo]:
    try:
        with zipfile.ZipFile(one.path) as archive:
            found = archive.infolist()
    except ZIP_FAULTS as fault:
        raise InvalidInput(
            f"The zip {one.name!r} is damaged: {fault}. Make it again and send that."
        ) from None
    # Not is_dir(), which fails on a name without a character.
    members = [member for member in found if not member.filename.endswith("/")]
    if len(members) > limits.members:
        raise PayloadTooLarge(
            f"The zip {one.name!r} holds {len(members):,} files; {limits.members:,} is the most"
            " (jobs.members)."
        )
    return members


def _zipped(one: JobInput, limits: InputLimits) -> Iterator[Item]:
    seen: set[str] = set()
    members = _members(one, limits)
    with zipfile.ZipFile(one.path) as archive:
        for member in members:
            name = _shown(member.filename)
            try:
                _check(member, seen)
                body = _read(archive, member, limits)
            except Problem as problem:
                yield Item(name, "", b"", problem)
            except (*ZIP_FAULTS, OSError) as fault:
                damaged = InvalidInput(f"This file is damaged inside the zip: {fault}.")
                yield Item(name, "", b"", damaged)
            else:
                yield Item(name, type_of(name), body)


def _check(member: zipfile.ZipInfo, seen: set[str]) -> None:
    path = PurePosixPath(member.filename)
    if path.is_absolute() or ".." in path.parts or "\\" in member.filename:
        raise InvalidInput("The zip names a file that may lead elsewhere; names must be relative.")
    if member.filename in seen:
        raise InvalidInput("The zip holds this name twice.")
    seen.add(member.filename)
    if stat.S_IFMT(member.external_attr >> 16) not in (0, stat.S_IFREG):
        raise InvalidInput("This is a link or special file inside the zip; send the file itself.")
    if member.flag_bits & 1:
        raise InvalidInput("This file is encrypted. Make the zip without a password.")
    if member.compress_type not in _METHODS:
        raise UnsupportedMedia("This file is packed by an unusual method; use 'zip -r'.")


def _read(archive: zipfile.ZipFile, member: zipfile.ZipInfo, limits: InputLimits) -> bytes:
    """Return a member's bytes; its size is counted, because the one in the zip may lie."""
    most = min(limits.file_bytes, max(_SMALL_BYTES, member.compress_size * _MOST_RATIO))
    with archive.open(member) as source:
        body = source.read(most + 1)
    if len(body) > most:
        raise PayloadTooLarge(
            f"This file has more than {most:,} bytes: the most is {limits.file_bytes:,}"
            f" (jobs.file_bytes), and {_MOST_RATIO} times its size inside the zip."
        )
    return body


def _texts(one: JobInput) -> Iterator[Item]:
    """Yield one item for each line that is not empty: a JSON text, or any JSON a task takes."""
    with open(one.path, "rb") as file:
        for number, line in enumerate(_lines(file), 1):
            if line.strip():
                yield _line_item(f"line {number}", line)


def _lines(file: IO[bytes]) -> Iterator[bytes]:
    """Yield lines of bounded length; what is longer comes in pieces, the first too long to use."""
    while line := file.readline(_MOST_LINE_BYTES + 1):
        yield line
        while len(line) > _MOST_LINE_BYTES and not line.endswith(b"\n"):
            line = file.readline(_MOST_LINE_BYTES + 1)


def _line_item(name: str, line: bytes) -> Item:
    if len(line) > _MOST_LINE_BYTES:
        too_large = PayloadTooLarge(f"A line may have {_MOST_LINE_BYTES:,} bytes.")
        return Item(name, "", b"", too_large)
    try:
        found = msgspec.json.decode(line)
    except (msgspec.DecodeError, RecursionError) as fault:
        return Item(name, "", b"", InvalidInput(f"This line is not JSON: {fault}."))
    if isinstance(found, str):
        return Item(name, "text/plain", found.encode())
    return Item(name, "application/json", line.strip())


def type_of(name: str) -> str:
    """Given a file's name, return its media type, or that of any bytes."""
    return _TYPES.get(PurePosixPath(name).suffix.lower(), "application/octet-stream")


def _shown(name: str) -> str:
    return "".join(each if each.isprintable() else "\ufffd" for each in name[:255]) or "unnamed"
