"""Writing files so that a power cut leaves the old one or the new one, never half of one."""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

CHUNK_BYTES = 1024 * 1024


def sync_directory(directory: Path) -> None:
    """Given a directory, make the names in it durable: a power cut may undo a bare rename."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_file(path: Path) -> None:
    """Given a file, make its content durable."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def create_private(path: Path) -> None:
    """Given a path that does not exist, create an empty file only its owner may read."""
    os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))


def write_durably(path: Path, content: bytes, *, mode: int = 0o600) -> None:
    """Given a path and its whole content, replace the file there by it, durably."""
    with replacing(path, mode=mode) as file:
        file.write(content)


@contextmanager
def replacing(path: Path, *, mode: int = 0o600) -> Iterator[BinaryIO]:
    """Given a path, yield a file to fill that takes its place, durably, when the block succeeds.

    The unfinished file is named `<path>.tmp`, which readers ignore and the next attempt replaces.
    """
    unfinished = path.with_name(path.name + ".tmp")
    try:
        with open(unfinished, "wb", opener=lambda name, flags: os.open(name, flags, mode)) as file:
            os.fchmod(file.fileno(), mode)
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.rename(unfinished, path)
        sync_directory(path.parent)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise


def utc_stamp(wall_seconds: float) -> str:
    """Given seconds since 1970 UTC, return them as `20261016T080000Z`, which sorts by time."""
    return time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(wall_seconds))


def unused(path: Path) -> Path:
    """Given a path, return it, or the first of `<path>-2`, `<path>-3`, … that does not exist."""
    candidate, number = path, 1
    while candidate.exists() or candidate.is_symlink():
        number += 1
        candidate = path.with_name(f"{path.name}-{number}")
    return candidate


def size_of(path: Path) -> int:
    """Given a path, return the size of the file in bytes, or 0 when there is none."""
    try:
        return path.stat().st_size
    except OSError:
        return 0
