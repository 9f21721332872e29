"""A real file system in a file, so that a copy of the file is what a power cut leaves."""

import contextlib
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

MEBIBYTE = 1024 * 1024
_BUSY_SECONDS = 30.0
_TOOLS = ("mkfs.ext4", "losetup", "mount", "umount")


def why_not() -> str:
    """Return why no image can be mounted here; nothing if one can."""
    if os.geteuid() != 0:
        return "only root may mount a disk image"
    missing = [tool for tool in _TOOLS if shutil.which(tool) is None]
    if missing:
        return f"{', '.join(missing)} is not installed"
    found = subprocess.run(["losetup", "--find"], capture_output=True, check=False, text=True)
    return "" if found.returncode == 0 else f"there is no loop device: {found.stderr.strip()}"


def make_image(path: Path, *, size_bytes: int) -> None:
    """Make an empty ext4 in a file, with its usual journal."""
    with path.open("wb") as file:
        file.truncate(size_bytes)
    _run("mkfs.ext4", "-q", "-F", str(path))


@contextlib.contextmanager
def mounted(image: Path, place: Path) -> Iterator[Path]:
    """Mount the image at a directory while the block runs; ext4 first replays its journal."""
    place.mkdir(exist_ok=True)
    device = _run("losetup", "--find", "--show", str(image)).strip()
    try:
        _run("mount", "-t", "ext4", device, str(place))
        try:
            yield place
        finally:
            _unmount(place)
    finally:
        _run("losetup", "--detach", device)


def _unmount(place: Path) -> None:
    """Unmount, once the children of a killed appliance have let go of their files."""
    deadline = time.monotonic() + _BUSY_SECONDS
    while subprocess.run(["umount", str(place)], capture_output=True, check=False).returncode:
        assert time.monotonic() < deadline, f"{place} stays busy"
        time.sleep(0.05)


def _run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(command)}: {done.stderr.strip()}"
    return done.stdout
