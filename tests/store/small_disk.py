"""A file system small enough to fill, for tests of a full one."""

import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

MEBIBYTE = 1024 * 1024


@contextlib.contextmanager
def small_disk(directory: Path, options: str) -> Iterator[Path]:
    """Yield `directory` as a memory file system of its own; skip where that is refused."""
    directory.mkdir(exist_ok=True)
    command = ["mount", "-t", "tmpfs", "-o", options, "none", str(directory)]
    done = subprocess.run(command, capture_output=True, check=False)
    if done.returncode:
        pytest.skip(f"a memory file system cannot be mounted here: {done.stderr.decode().strip()}")
    try:
        yield directory
    finally:
        subprocess.run(["umount", "-l", str(directory)], check=True)


def fill(directory: Path, *, leave_bytes: int = 0) -> Path:
    """Take all room but `leave_bytes`; return the file to delete to give it back."""
    path = directory / "filler"
    facts = os.statvfs(directory)
    size = facts.f_bavail * facts.f_frsize - leave_bytes
    with open(path, "wb", buffering=0) as file, contextlib.suppress(OSError):
        while size > 0:
            size -= file.write(b"\1" * min(size, MEBIBYTE))
    return path
