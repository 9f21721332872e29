"""/api/v1/backups: make, list and check copies of the state."""

import falcon
import msgspec

from appliance import errors
from appliance.actions.backup import BackupList, Backups, CheckedBackup, MadeBackup
from appliance.web.operation import Access, operation


class BackupWanted(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What goes into the backup besides the database, configuration and manifests."""

    with_models: bool = False


class BackupsResource:
    """All backups."""

    def __init__(self, backups: Backups) -> None:
        self._backups = backups

    @operation(
        summary="List the finished backups",
        access=Access.ADMIN,
        result=BackupList,
        tag="Backups",
    )
    def on_get(self, request: falcon.Request, response: falcon.Response) -> BackupList:
        """Return them, newest first."""
        return self._backups.entries()

    @operation(
        summary="Make a backup, check it and let old ones go",
        access=Access.ADMIN,
        body=BackupWanted,
        body_required=False,
        result=MadeBackup,
        status=201,
        problems=(errors.Conflict, errors.InsufficientStorage, errors.DatabaseUnavailable),
        tag="Backups",
    )
    def on_post(
        self, request: falcon.Request, response: falcon.Response, *, body: BackupWanted | None
    ) -> MadeBackup:
        """Make one."""
        wanted = body or BackupWanted()
        return self._backups.create(request.context.caller, with_models=wanted.with_models)


class BackupCheckResource:
    """One backup, checked."""

    def __init__(self, backups: Backups) -> None:
        self._backups = backups

    @operation(
        summary="Check every part of a backup",
        access=Access.ADMIN,
        result=CheckedBackup,
        problems=(errors.NotFound, errors.BackupInvalid),
        tag="Backups",
    )
    def on_get(
        self, request: falcon.Request, response: falcon.Response, *, backup_name: str
    ) -> CheckedBackup:
        """Read it from the first byte to the last."""
        return self._backups.check(backup_name)
