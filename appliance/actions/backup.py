"""Backup: one checked file with everything that cannot be made again; and the list of them."""

import contextlib
import socket
import threading
from pathlib import Path

import msgspec

from appliance.actions import audit
from appliance.actions.callers import Caller
from appliance.clock import Clock, utc_text
from appliance.config import Backup as BackupSettings
from appliance.errors import BackupInvalid, Conflict, NotFound, Problem
from appliance.store import backup, rotation
from appliance.store import settings as settings_store
from appliance.store.archive import BackupManifest
from appliance.store.database import Database
from appliance.store.disk import DiskWatch

_UNSOUND_SETTING = "unsound_backups"


class BackupEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One finished backup."""

    name: str
    path: str
    made: str
    version: str
    schema: int
    bytes: int


class BackupList(msgspec.Struct, frozen=True):
    """Every finished backup, newest first."""

    backups: tuple[BackupEntry, ...]


class MadeBackup(msgspec.Struct, frozen=True, kw_only=True):
    """A backup just made and checked, and the older ones that had to go."""

    name: str
    path: str
    bytes: int
    rows: dict[str, int]
    removed: tuple[str, ...]


class CheckedBackup(msgspec.Struct, frozen=True, kw_only=True):
    """What a backup holds, after every part of it was checked."""

    name: str
    version: str
    schema: int
    created: str
    rows: dict[str, int]


class Backups:
    """Makes, lists and checks backups of a running appliance.

    Threads: any; one backup and, under `_checking`, one check at a time.
    """

    def __init__(
        self,
        settings: BackupSettings,
        clock: Clock,
        *,
        database: Database,
        disk: DiskWatch,
        directory: Path,
        models_directory: Path,
        config_text: str,
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._database = database
        self._disk = disk
        self._directory = directory
        self._models_directory = models_directory
        self._config_text = config_text
        self._checking = threading.Lock()
        #: Names of backups whose last check failed; replaced as a whole.
        self._unsound = frozenset(settings_store.get(database, _UNSOUND_SETTING) or ())

    def use_settings(self, settings: BackupSettings) -> None:
        """Given the section [backup], keep as many as it says from the next backup on."""
        self._settings = settings

    def use_config_text(self, text: str) -> None:
        """Given the configuration as TOML, put that into backups from now on."""
        self._config_text = text

    def create(self, caller: Caller, *, with_models: bool) -> MadeBackup:
        """Given who asks and whether model files go in, make a backup, check it, drop old ones.

        Raise Conflict while another is made, InsufficientStorage when there is no room.
        """
        content = backup.Content(
            config_text=self._config_text,
            models_dir=self._models_directory,
            with_model_files=with_models,
            host=socket.gethostname(),
        )
        made = backup.create(
            self._database,
            self._directory,
            content=content,
            clock=self._clock,
            disk=self._disk,
        )
        gone = rotation.rotate(
            self._directory,
            daily=self._settings.daily,
            weekly=self._settings.weekly,
            monthly=self._settings.monthly,
            verified=made.path,
        )
        audit.record(
            self._database,
            caller,
            action="backup.create",
            subject=made.path.name,
            detail={"bytes": made.bytes, "removed": [path.name for path in gone]},
            clock=self._clock,
        )
        return MadeBackup(
            name=made.path.name,
            path=str(made.path),
            bytes=made.bytes,
            rows=_rows(made.manifest),
            removed=tuple(path.name for path in gone),
        )

    def entries(self) -> BackupList:
        """Return every finished backup, newest first."""
        return BackupList(
            tuple(
                BackupEntry(
                    name=one.path.name,
                    path=str(one.path),
                    made=utc_text(one.made_seconds),
                    version=one.version,
                    schema=one.schema,
                    bytes=one.bytes,
                )
                for one in rotation.listed(self._directory)
            )
        )

    def newest(self) -> rotation.Listed | None:
        """Return the newest backup, if there is one."""
        found = rotation.listed(self._directory)
        return found[0] if found else None

    def check(self, name: str) -> CheckedBackup:
        """Given a backup's name, check all of it.

        Raise NotFound, BackupInvalid, or Conflict while another is being checked.
        """
        found = {one.path.name: one.path for one in rotation.listed(self._directory)}
        if name not in found:
            raise NotFound(f"There is no backup {name[:120]!r}.")
        if not self._checking.acquire(blocking=False):
            raise Conflict("Another backup is being checked right now; try again in a moment.")
        try:
            result = checked(found[name])
        except BackupInvalid:
            self._note_unsound((self._unsound | {name}) & found.keys())
            raise
        else:
            self._note_unsound((self._unsound - {name}) & found.keys())
        finally:
            self._checking.release()
        return result

    def is_unsound(self, name: str) -> bool:
        """Given a backup's name, return whether the last check of it failed."""
        return name in self._unsound

    def _note_unsound(self, names: frozenset[str]) -> None:
        """Remember over a restart which backups are of no use; a check only reads otherwise."""
        if names == self._unsound:
            return
        self._unsound = names
        with contextlib.suppress(Problem):
            settings_store.put(self._database, _UNSOUND_SETTING, sorted(names))


def checked(path: Path) -> CheckedBackup:
    """Given a backup file, check all of it and return what it holds; raise BackupInvalid."""
    manifest = backup.verify(path)
    return CheckedBackup(
        name=path.name,
        version=manifest.version,
        schema=manifest.schema,
        created=manifest.created,
        rows=_rows(manifest),
    )


def _rows(manifest: BackupManifest) -> dict[str, int]:
    return {table: count.rows for table, count in manifest.tables.items()}
