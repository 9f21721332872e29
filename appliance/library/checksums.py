"""SHA256SUMS of a model version: a file that changed on disk is found before it is loaded."""

import hashlib
import os
import stat
from pathlib import Path

from appliance.errors import ModelInvalid

SUMS_NAME = "SHA256SUMS"


def sha256_of(path: Path) -> str:
    """Given a file, return its SHA-256 in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def version_words(directory: Path) -> str:
    """Given a version's directory, return `model@version`: paths are not told to clients."""
    return f"{directory.parent.name}@{directory.name}"


def files_of(directory: Path, *, hard_links_allowed: bool = False) -> list[Path]:
    """Given a version's directory, return all its files but the sums, sorted.

    Raise ModelInvalid for a link, a file with several names or anything else that is not a plain
    file: its content could change from elsewhere. Some installers link the files of a package hard
    to their cache; `hard_links_allowed` is for those, which are copied before they are loaded.
    """
    found = []
    for root, names, files in os.walk(directory, followlinks=False):
        for name in (*names, *files):
            path = Path(root, name)
            _refuse_links(path, directory, names_allowed=1 << 32 if hard_links_allowed else 1)
            if path.name != SUMS_NAME and name in files:
                found.append(path)
    return sorted(found)


def _refuse_links(path: Path, directory: Path, *, names_allowed: int) -> None:
    status = path.lstat()
    name = path.relative_to(directory)
    is_file = stat.S_ISREG(status.st_mode)
    if stat.S_ISLNK(status.st_mode) or (is_file and status.st_nlink > names_allowed):
        raise ModelInvalid(
            f"{name} of {version_words(directory)} is a link, which a model may not hold. Put a"
            " copy of the file there and import the version again."
        )
    if not (is_file or stat.S_ISDIR(status.st_mode)):
        raise ModelInvalid(f"{name} of {version_words(directory)} is not a plain file.")


def write_sums(directory: Path) -> str:
    """Given a version's directory, write SHA256SUMS and return its own SHA-256."""
    lines = [
        f"{sha256_of(path)}  {path.relative_to(directory).as_posix()}\n"
        for path in files_of(directory)
    ]
    sums = directory / SUMS_NAME
    sums.write_text("".join(lines), "utf-8")
    return sha256_of(sums)


def check_sums(directory: Path, *, hard_links_allowed: bool = False) -> None:
    """Given a version's directory, check that its files are exactly those of SHA256SUMS.

    Raise ModelInvalid naming the first file that is missing, too many, changed or unreadable.
    """
    expected = read_sums(directory)
    present = {
        path.relative_to(directory).as_posix(): path
        for path in files_of(directory, hard_links_allowed=hard_links_allowed)
    }
    whole = version_words(directory)
    for name in sorted(expected.keys() | present.keys()):
        if name not in present:
            raise ModelInvalid(f"{name} is missing from {whole}. Import the version again.")
        if name not in expected:
            raise ModelInvalid(f"{name} does not belong to {whole}: {SUMS_NAME} has no such file.")
        try:
            found = sha256_of(present[name])
        except OSError as fault:
            raise ModelInvalid(f"{name} of {whole} cannot be read: {fault.strerror}.") from None
        if found != expected[name]:
            raise ModelInvalid(
                f"{name} of {whole} was changed on disk since it was imported (its SHA-256"
                " differs). Import the version again."
            )


def read_sums(directory: Path) -> dict[str, str]:
    """Given a version's directory, return the expected SHA-256 of each file by relative name.

    Raise ModelInvalid when there is no readable SHA256SUMS.
    """
    whole = version_words(directory)
    try:
        lines = (directory / SUMS_NAME).read_text("utf-8").splitlines()
    except OSError as fault:
        raise ModelInvalid(f"{SUMS_NAME} of {whole} cannot be read: {fault.strerror}.") from None
    except UnicodeDecodeError:
        raise ModelInvalid(f"{SUMS_NAME} of {whole} is not text.") from None
    expected = {}
    for line in lines:
        digest, separator, name = line.partition("  ")
        if not separator or len(digest) != 64:
            raise ModelInvalid(f"{SUMS_NAME} of {whole} has a line that is not a sum.")
        expected[name] = digest
    return expected
