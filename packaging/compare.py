"""Say what differs between two builds of the package: packaging/compare.py FIRST.deb SECOND.deb.

Run by scripts/test-reproducible. The status is 0 when both files are the same byte for byte.
"""

import hashlib
import subprocess
import sys
import tempfile
from pathlib import Path


def main(first: Path, second: Path) -> int:
    """Given two packages, print what differs between them; return 1 when anything does."""
    hashes = [hashlib.sha256(path.read_bytes()).hexdigest() for path in (first, second)]
    print("\n".join(hashes))
    if hashes[0] == hashes[1]:
        print("The same, byte for byte.")
        return 0
    faults = differences(first, second)
    print("\n".join(faults or ["Only the archive around the files differs."]))
    return 1


def differences(first: Path, second: Path) -> list[str]:
    """Given two packages, return a line for each file that differs in content, mode or time."""
    lines = [_listing(path) for path in (first, second)]
    found = [f"only in one: {line}" for line in sorted(lines[0] ^ lines[1])]
    with tempfile.TemporaryDirectory() as folder:
        trees = [Path(folder) / name for name in ("first", "second")]
        for package, tree in zip((first, second), trees, strict=True):
            subprocess.run(["dpkg-deb", "-R", package, tree], check=True)
        for path in sorted(_files(trees[0]) & _files(trees[1])):
            if (trees[0] / path).read_bytes() != (trees[1] / path).read_bytes():
                found.append(f"content differs: {path}")
    return found


def _listing(package: Path) -> set[str]:
    """Return dpkg's line for each entry: mode, owner, size, time and name."""
    done = subprocess.run(["dpkg-deb", "-c", package], capture_output=True, text=True, check=True)
    return set(done.stdout.splitlines())


def _files(tree: Path) -> set[Path]:
    return {
        path.relative_to(tree)
        for path in tree.rglob("*")
        if path.is_file() and not path.is_symlink()
    }


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2])))
