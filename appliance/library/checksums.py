"""SHA256SUMS of a model version: a file that changed on disk is found before it is loaded."""

import hashlib
import os
from pathlib import Path

from appliance.errors import ModelInvalid

SUMS_NAME = "SHA256SUMS"


def sha256_of(path: Path) -> str:
    """Given a file, return its SHA-256 in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def files_of(directory: Path) -> list[Path]:
    """Given a version's directory, return all its files but the sums, sorted.

    Raise ModelInvalid for a link or a file with several names: its content could change from elsewhere.
    """
    found = []
    for root, names, files in os.walk(directory, followlinks=False):
        names.sort()
        for name in files:
            path = Path(root, name)
            status = path.lstat()
            if path.is_symlink() or not path.is_file() or status.st_nlink != 1:
                raise ModelInvalid(
                    f"{path.relative_to(directory)} is a link, which a model may not hold."
                )
            if name != SUMS_NAME:
                found.append(path)
    return sorted(found)


def write_sums(directory: Path) -> str:
    """Given a version's directory, write SHA256SUMS and return its own SHA-256."""
    lines = [
        f"{sha256_of(path)}  {path.relative_to(directory).as_posix()}\n"
        for path in files_of(directory)
    ]
    sums = directory / SUMS_NAME
    sums.write_text("".join(lines), "utf-8")
    return sha256_of(sums)


def check_sums(directory: Path) -> None:
    """Given a version's directory, raise ModelInvalid unless its files are exactly those of SHA256SUMS."""
    expected = read_sums(directory)
    present = {path.relative_to(directory).as_posix(): path for path in files_of(directory)}
    for name in sorted(expected.keys() | present.keys()):
        if name not in present:
            raise ModelInvalid(f"{name} is missing from {directory.parent.name}@{directory.name}.")
        if name not in expected:
            raise ModelInvalid(
                f"{name} does not belong to {directory.parent.name}@{directory.name}."
            )
        if sha256_of(present[name]) != expected[name]:
            raise ModelInvalid(
                f"{name} of {directory.parent.name}@{directory.name} was changed on disk since it was"
                " imported (its SHA-256 differs). Import the version again."
            )


def read_sums(directory: Path) -> dict[str, str]:
    """Given a version's directory, return the expected SHA-256 of each file by its relative name."""
    try:
        lines = (directory / SUMS_NAME).read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as fault:
        raise ModelInvalid(f"{directory} has no readable {SUMS_NAME}: {fault}.") from None
    expected = {}
    for line in lines:
        digest, separator, name = line.partition("  ")
        if not separator or len(digest) != 64:
            raise ModelInvalid(f"{SUMS_NAME} of {directory} has a line that is not a sum.")
        expected[name] = digest
    return expected
