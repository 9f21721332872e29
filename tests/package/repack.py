"""The built package once more, with another version and one change: something to upgrade to.

The program inside is PyInstaller's: its Python modules are compressed in a PYZ, which lies with
everything else in an archive at the end of the executable. An archive that is appended after it is
found first, so a changed one needs no new build.
"""

import marshal
import shutil
import struct
import subprocess
import zlib
from collections.abc import Callable
from pathlib import Path

_PROGRAM = "usr/lib/inference-appliance/inference-appliance"
_MIGRATIONS = "appliance.store.migrations"
# The cookie that ends PyInstaller's archive and an entry of its table, from its documentation
# (Advanced Topics, CArchive): numbers are big-endian.
_COOKIE = struct.Struct("!8sIIII64s")
_COOKIE_MAGIC = b"MEI\014\013\012\013\016"
_ENTRY = struct.Struct("!IIIIBc")
#: Module code that runs what was there before and then adds one step to the schema's history.
_ONE_STEP_MORE = """\
import marshal
exec(marshal.loads({before!r}), globals())
MIGRATIONS = (*MIGRATIONS, Migration(LATEST + 1, {statements!r}))
LATEST = MIGRATIONS[-1].version
"""

#: What a step of the schema may look like that works, and one that fails after it has begun.
GOOD_STEP = (
    "ALTER TABLE predictions ADD COLUMN place TEXT",
    "CREATE TABLE places (name TEXT PRIMARY KEY NOT NULL) STRICT",
    "INSERT INTO places SELECT DISTINCT model FROM predictions",
)
FAILING_STEP = (*GOOD_STEP, "DELETE FROM predictions", "INSERT INTO missing VALUES (1)")


def repacked(package: Path, directory: Path, version: str, change: Callable[[Path], None]) -> Path:
    """Given a package, a place, a version and a change to its unpacked tree, return the new one.

    It is packed without compression, which saves minutes.
    """
    tree = directory / f"tree-{version}"
    subprocess.run(["dpkg-deb", "-R", package, tree], check=True)
    change(tree)
    control = tree / "DEBIAN" / "control"
    lines = control.read_text().splitlines()
    lines = [f"Version: {version}" if each.startswith("Version:") else each for each in lines]
    control.write_text("\n".join(lines) + "\n")
    target = directory / f"inference-appliance_{version}_amd64.deb"
    subprocess.run(["dpkg-deb", "-Znone", "-b", tree, target], check=True, capture_output=True)
    shutil.rmtree(tree)
    return target


def with_step(statements: tuple[str, ...]) -> Callable[[Path], None]:
    """Given SQL, return the change that makes it the newest step of the schema."""

    def change(tree: Path) -> None:
        program = tree / _PROGRAM
        whole = program.read_bytes()
        program.write_bytes(whole + _changed_archive(whole, statements))

    return change


def _changed_archive(program: bytes, statements: tuple[str, ...]) -> bytes:
    at = program.rindex(_COOKIE_MAGIC)
    magic, length, table_at, table_length, python, library = _COOKIE.unpack_from(program, at)
    archive = program[at + _COOKIE.size - length : at]
    table = archive[table_at : table_at + table_length]
    content, entries = archive[:table_at], b""
    while table:
        size, start, stored, plain, compressed, kind = _ENTRY.unpack_from(table)
        name = table[_ENTRY.size : size]
        if kind == b"z":
            assert not compressed
            modules = _changed_modules(content[start : start + stored], statements)
            start, stored, plain = len(content), len(modules), len(modules)
            content += modules
        entries += _ENTRY.pack(size, start, stored, plain, compressed, kind) + name
        table = table[size:]
    total = len(content) + len(entries) + _COOKIE.size
    cookie = _COOKIE.pack(magic, total, len(content), len(entries), python, library)
    return content + entries + cookie


def _changed_modules(archive: bytes, statements: tuple[str, ...]) -> bytes:
    """Return a PYZ whose module of migrations has one step more."""
    assert archive[:4] == b"PYZ\0"
    (table_at,) = struct.unpack_from("!i", archive, 8)
    table = dict(marshal.loads(archive[table_at:]))
    kind, start, length = table[_MIGRATIONS]
    before = zlib.decompress(archive[start : start + length])
    source = _ONE_STEP_MORE.format(before=before, statements=statements)
    code = compile(source, f"{_MIGRATIONS}.py", "exec", dont_inherit=True)
    packed = zlib.compress(marshal.dumps(code))
    table[_MIGRATIONS] = (kind, table_at, len(packed))
    head = archive[:8] + struct.pack("!i", table_at + len(packed)) + archive[12:table_at]
    return head + packed + marshal.dumps(list(table.items()))
