"""Which backups are there, and which may go."""

import logging
import re
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from appliance.errors import BackupInvalid
from appliance.store import backup

log = logging.getLogger("appliance.store")

_NAME = re.compile(
    r"(?P<host>[A-Za-z0-9._]+)-(?P<stamp>\d{8}T\d{6}Z)-v(?P<version>[0-9A-Za-z.+~]+)"
    r"-s(?P<schema>\d+)\.backup"
)


class Listed(msgspec.Struct, frozen=True):
    """One backup by its name; `made_seconds` is since 1970 UTC."""

    path: Path
    host: str
    made_seconds: float
    version: str
    schema: int
    bytes: int


def listed(directory: Path) -> tuple[Listed, ...]:
    """Given a directory, return the finished backups in it, newest first."""
    found = []
    for path in directory.glob(f"*{backup.SUFFIX}"):
        match = _NAME.fullmatch(path.name)
        if match is None:
            continue
        try:
            made = datetime.strptime(match["stamp"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
            size = path.stat().st_size
        except (ValueError, OSError):
            continue  # a name somebody made up, or gone since the directory was read
        found.append(
            Listed(
                path=path,
                host=match["host"],
                made_seconds=made.timestamp(),
                version=match["version"],
                schema=int(match["schema"]),
                bytes=size,
            )
        )
    return tuple(sorted(found, key=lambda one: (one.made_seconds, one.path.name), reverse=True))


def rotate(
    directory: Path, *, daily: int, weekly: int, monthly: int, verified: Path | None = None
) -> tuple[Path, ...]:
    """Given how many of each to keep, delete the other backups and return what went.

    The newest of each of the last `daily` days, `weekly` weeks and `monthly` months that have one
    stays. The newest sound backup always stays: `verified` names one just checked, else it is
    looked for. Without a sound one nothing goes; names not given by the appliance never go.
    """
    found = listed(directory)
    sound = verified or newest_sound(directory)
    if sound is None:
        log.error("backups not rotated: none is sound", extra={"directory": str(directory)})
        return ()
    keep = {sound}
    for most, period in ((daily, _day), (weekly, _week), (monthly, _month)):
        keep |= _newest_of_each(found, most, period)
    gone = tuple(one.path for one in found if one.path not in keep)
    for path in gone:
        path.unlink(missing_ok=True)
    return gone


def newest_sound(directory: Path) -> Path | None:
    """Given a directory, return the newest backup that passes every check, or None."""
    for one in listed(directory):
        try:
            backup.verify(one.path)
        except BackupInvalid as fault:
            log.error("backup unsound", extra={"path": str(one.path), "fault": fault.detail})
        else:
            return one.path
    return None


def _newest_of_each(
    found: tuple[Listed, ...], most: int, period: Callable[[datetime], tuple[int, ...]]
) -> set[Path]:
    newest: dict[tuple[int, ...], Path] = {}
    for one in found:
        newest.setdefault(period(datetime.fromtimestamp(one.made_seconds, tz=UTC)), one.path)
    return set(list(newest.values())[:most])


def _day(moment: datetime) -> tuple[int, ...]:
    return moment.year, moment.month, moment.day


def _week(moment: datetime) -> tuple[int, ...]:
    year, week, _ = moment.isocalendar()
    return year, week


def _month(moment: datetime) -> tuple[int, ...]:
    return moment.year, moment.month
