"""The file format of a backup: a ZIP of plain files and a manifest that says what must be inside.

Members: `appliance.db` (a compact copy of the database), `config.toml`, the model files under
`models/` and, last, `MANIFEST.json` with each one's SHA-256 and size and each table's row count.
ZIP and not tar: the tarfile of the oldest supported Python has no safe extraction, and ZIP64 lets
one member be read without the rest. Everything is streamed; no member is ever whole in memory.
"""

import errno
import hashlib
import os
import re
import shutil
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, BinaryIO

import msgspec

from appliance.clock import utc_text
from appliance.errors import BackupInvalid, InsufficientStorage
from appliance.library.zip_source import ZIP_FAULTS
from appliance.store.copies import Counts, check_copy
from appliance.store.files import CHUNK_BYTES, sync_directory

PRODUCT = "inference-appliance"
FORMAT = 1
DATABASE_MEMBER = "appliance.db"
CONFIG_MEMBER = "config.toml"
MANIFEST_MEMBER = "MANIFEST.json"
MODELS_PREFIX = "models/"

MOST_MEMBERS = 100_000
MOST_MANIFEST_BYTES = 64 * 1024 * 1024

#: What a damaged or hostile archive, or its disk, makes itself known by.
_FAULTS = (*ZIP_FAULTS, OSError)
#: Copies that `migrate` keeps before it changes the schema.
KEPT_COPY = re.compile(r"appliance-s([0-9]{1,9})-[0-9TZ]+\.db(-[0-9]+)?")
_MODEL_FILE = re.compile(
    r"models/[a-z0-9][a-z0-9._-]{0,63}/[1-9][0-9]{0,9}(/[A-Za-z0-9_][A-Za-z0-9._ +-]{0,127}){1,4}"
)


class Member(msgspec.Struct, frozen=True):
    """One file inside a backup."""

    sha256: str
    bytes: int


class BackupManifest(msgspec.Struct, frozen=True, kw_only=True):
    """`MANIFEST.json`, whole."""

    format: int
    product: str
    version: str
    schema: int
    created: str
    host: str
    has_model_files: bool
    tables: Counts
    members: dict[str, Member]


class ArchiveWriter:
    """Fills a ZIP member by member and remembers what the manifest must say.

    Threads: used by the one thread that makes the backup.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._zip = zipfile.ZipFile(file, "w", allowZip64=True)
        self.members: dict[str, Member] = {}

    def add_text(self, name: str, text: str) -> None:
        """Given a name and text, add it as a member."""
        content = text.encode("utf-8")
        self._zip.writestr(_entry(name), content, compresslevel=6)
        self.members[name] = Member(hashlib.sha256(content).hexdigest(), len(content))

    def add_file(self, name: str, source: Path) -> None:
        """Given a name and a file, add its content as a member, chunk by chunk."""
        digest = hashlib.sha256()
        size = 0
        with (
            open(source, "rb") as reading,
            self._zip.open(_entry(name), "w", force_zip64=True) as writing,
        ):
            while chunk := reading.read(CHUNK_BYTES):
                digest.update(chunk)
                size += len(chunk)
                writing.write(chunk)
        self.members[name] = Member(digest.hexdigest(), size)

    def finish(self, manifest: BackupManifest) -> None:
        """Given the manifest, add it and complete the ZIP."""
        content = msgspec.json.format(msgspec.json.encode(manifest, order="sorted"), indent=2)
        self._zip.writestr(_entry(MANIFEST_MEMBER), content)
        self._zip.close()


def unpack(source: Path, target: Path, *, only_database: bool) -> BackupManifest:
    """Given a backup and an empty directory, extract it there, checking everything on the way.

    With `only_database` every member is read and checked but just the database is written, and
    not synced; else all is durable at the end. A copy of the database that was kept before an
    upgrade counts as a backup without configuration and models.
    Return the manifest; raise BackupInvalid naming the first fault, InsufficientStorage when the
    content does not fit. What was extracted before a fault stays for the caller to remove.
    """
    if KEPT_COPY.fullmatch(source.name):
        return _copy_kept(source, target / DATABASE_MEMBER)
    try:
        with zipfile.ZipFile(source) as archive:
            manifest = _read_manifest(archive, source.name)
            _check_room(manifest, target, only_database=only_database)
            for name, member in manifest.members.items():
                wanted = target / name if name == DATABASE_MEMBER or not only_database else None
                is_durable = wanted is not None and not only_database
                _extract(archive, name, member, wanted, is_durable=is_durable)
    except FileNotFoundError as fault:
        raise BackupInvalid(f"There is no file {source}.") from fault
    except _FAULTS as fault:
        if isinstance(fault, OSError) and fault.errno in (errno.ENOSPC, errno.EDQUOT):
            raise InsufficientStorage(f"{target} has no room for the backup: {fault}.") from fault
        raise BackupInvalid(f"{source.name} is damaged or not a backup: {fault}.") from fault
    _check_database(target / DATABASE_MEMBER, manifest)
    return manifest


def _copy_kept(source: Path, target: Path) -> BackupManifest:
    """Copy a database durably, check the copy and return the manifest it would have had.

    Only what was kept by `migrate` is taken, by its name: any other bare database may be a copy of
    a live one without its log, which looks sound and has lost rows.
    """
    try:
        with open(source, "rb") as reading, _sink(target) as writing:
            shutil.copyfileobj(reading, writing, CHUNK_BYTES)
            writing.flush()
            os.fsync(writing.fileno())
        sync_directory(target.parent)
        made = source.stat().st_mtime
    except OSError as fault:
        if fault.errno in (errno.ENOSPC, errno.EDQUOT):
            raise InsufficientStorage(f"{target} has no room for the backup: {fault}.") from fault
        raise BackupInvalid(f"{source} cannot be read: {fault.strerror}.") from fault
    schema, tables = check_copy(target)
    if not source.name.startswith(f"appliance-s{schema}-"):
        raise BackupInvalid(f"{source.name} has schema {schema}, not the one in its name.")
    return BackupManifest(
        format=FORMAT,
        product=PRODUCT,
        version="before the upgrade",
        schema=schema,
        created=utc_text(made),
        host="",
        has_model_files=False,
        tables=tables,
        members={},
    )


def read_manifest(source: Path) -> BackupManifest:
    """Given a backup, return its manifest without checking the members; raise BackupInvalid."""
    try:
        with zipfile.ZipFile(source) as archive:
            return _read_manifest(archive, source.name)
    except _FAULTS as fault:
        raise BackupInvalid(f"{source.name} is damaged or not a backup: {fault}.") from fault


def model_files(models_dir: Path, *, with_files: bool) -> Iterator[tuple[str, Path]]:
    """Given the model library, yield member name and path of each file that belongs in a backup.

    Without `with_files` those are the manifests alone, which say what has to be imported again.
    Links, unfinished imports and names a backup does not allow are left out.
    """
    for path in sorted(models_dir.rglob("*")):
        name = MODELS_PREFIX + path.relative_to(models_dir).as_posix()
        if path.is_symlink() or not path.is_file() or not _MODEL_FILE.fullmatch(name):
            continue
        if with_files or path.name == "manifest.toml":
            yield name, path


def _entry(name: str) -> zipfile.ZipInfo:
    # A fixed date: the archive's bytes then depend on its content alone.
    entry = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
    is_dense = name.endswith(".bin")  # weights hardly shrink, at great cost
    entry.compress_type = zipfile.ZIP_STORED if is_dense else zipfile.ZIP_DEFLATED
    entry._compresslevel = 1  # type: ignore[attr-defined]
    entry.external_attr = 0o100600 << 16
    return entry


def _read_manifest(archive: zipfile.ZipFile, name: str) -> BackupManifest:
    found = archive.namelist()
    if len(found) > MOST_MEMBERS:
        raise BackupInvalid(f"{name} has {len(found)} members, more than a backup may have.")
    if MANIFEST_MEMBER not in found:
        raise BackupInvalid(f"{name} has no {MANIFEST_MEMBER}, so it is not a backup.")
    if archive.getinfo(MANIFEST_MEMBER).file_size > MOST_MANIFEST_BYTES:
        raise BackupInvalid(f"The manifest of {name} is too large.")
    try:
        manifest = msgspec.json.decode(archive.read(MANIFEST_MEMBER), type=BackupManifest)
    except msgspec.MsgspecError as fault:
        raise BackupInvalid(f"The manifest of {name} is not valid: {fault}.") from fault
    _check_identity(manifest, name)
    expected = sorted([*manifest.members, MANIFEST_MEMBER])
    if sorted(found) != expected:
        raise BackupInvalid(f"{name} has members its manifest does not list, or lacks some.")
    for member in manifest.members:
        if member not in (DATABASE_MEMBER, CONFIG_MEMBER) and not _MODEL_FILE.fullmatch(member):
            raise BackupInvalid(f"{name} has a member {member!r}, which no backup has.")
    return manifest


def _check_identity(manifest: BackupManifest, name: str) -> None:
    if manifest.product != PRODUCT:
        raise BackupInvalid(f"{name} is a backup of {manifest.product!r}, not of {PRODUCT}.")
    if manifest.format != FORMAT:
        raise BackupInvalid(
            f"{name} has backup format {manifest.format}; this release reads {FORMAT}. Install the"
            f" release that wrote it ({manifest.version})."
        )
    if DATABASE_MEMBER not in manifest.members:
        raise BackupInvalid(f"{name} holds no database.")


def _check_room(manifest: BackupManifest, target: Path, *, only_database: bool) -> None:
    needed = sum(
        member.bytes
        for name, member in manifest.members.items()
        if name == DATABASE_MEMBER or not only_database
    )
    free = shutil.disk_usage(target).free
    if needed > free:
        raise InsufficientStorage(f"{target} needs {needed} free bytes; it has {free}.")


def _extract(
    archive: zipfile.ZipFile,
    name: str,
    member: Member,
    target: Path | None,
    *,
    is_durable: bool,
) -> None:
    """Read one member, never more than the manifest declares; write it if there is a target."""
    digest = hashlib.sha256()
    size = 0
    with archive.open(name) as reading, _sink(target) as writing:
        while chunk := reading.read(CHUNK_BYTES):
            size += len(chunk)
            if size > member.bytes:
                break
            digest.update(chunk)
            writing.write(chunk)
        if is_durable:
            writing.flush()
            os.fsync(writing.fileno())
    if size != member.bytes or digest.hexdigest() != member.sha256:
        raise BackupInvalid(f"{name} inside the backup is not what was saved.")
    if is_durable and target is not None:
        sync_directory(target.parent)


def _sink(target: Path | None) -> IO[bytes]:
    if target is None:
        return open(os.devnull, "wb")
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    return open(target, "xb", opener=lambda name, flags: os.open(name, flags, 0o600))


def _check_database(path: Path, manifest: BackupManifest) -> None:
    schema, counts = check_copy(path)
    if schema != manifest.schema:
        raise BackupInvalid(f"The database has schema {schema}, not {manifest.schema} as noted.")
    if counts != manifest.tables:
        raise BackupInvalid("The database has other rows than were noted when it was saved.")
