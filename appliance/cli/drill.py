"""`appliance drill`: prove that the newest backup can be restored, without touching the state."""

import shutil
import tempfile
from pathlib import Path

import click
import msgspec

from appliance.cli.backups import trial_start
from appliance.cli.owner import become_owner_of
from appliance.cli.printing import print_json
from appliance.clock import SystemClock, utc_text
from appliance.config import Config
from appliance.errors import Fault, StateUnusable
from appliance.places import places_of
from appliance.store import restore, rotation
from appliance.store.files import write_durably

#: In the state directory: what the last drill found, for metrics and for `doctor`.
RESULT_NAME = "drill.json"


class DrillResult(msgspec.Struct, frozen=True, kw_only=True):
    """What the last drill found; times are seconds since 1970 UTC, 0 for never."""

    made: str
    backup: str
    is_success: bool
    reason: str
    last_success_seconds: float


@click.command()
@click.option("--json", "is_json", is_flag=True, help="Print JSON.")
@click.pass_context
def drill(context: click.Context, *, is_json: bool) -> None:
    """Restore the newest backup into an empty directory and start the appliance on it.

    The running appliance and its state are not touched. Exit with 1 if it
    cannot be restored.
    """
    config = context.find_object(Config) or Config()
    become_owner_of(places_of(config).state)
    backup, reason = _tried(config, context.meta.get("config_path"))
    result = _recorded(places_of(config).state / RESULT_NAME, backup, reason)
    if is_json:
        print_json(result)
    elif result.is_success:
        click.echo(f"{backup} was restored and the appliance started on it.")
    else:
        click.echo(f"The drill failed: {reason}", err=True)
    if not result.is_success:
        context.exit(1)


def last_drill(state: Path) -> DrillResult | None:
    """Given the state directory, return what the last drill found; None if there was none."""
    try:
        return msgspec.json.decode((state / RESULT_NAME).read_bytes(), type=DrillResult)
    except (OSError, msgspec.MsgspecError):
        return None


def _tried(config: Config, config_path: str | None) -> tuple[str, str]:
    """Return the newest backup's name and what went wrong, an empty text for nothing."""
    found = rotation.listed(places_of(config).backups)
    if not found:
        return "", f"there is no backup in {places_of(config).backups}"
    try:
        return found[0].path.name, _fault_of(config, config_path, found[0].path)
    except Fault as fault:
        return found[0].path.name, fault.detail
    except OSError as fault:
        return found[0].path.name, f"the drill has no room or no right to work: {fault}"


def _fault_of(config: Config, config_path: str | None, backup: Path) -> str:
    """Restore the backup beside everything and start on it; return what went wrong."""
    places = places_of(config)
    places.cache.mkdir(mode=0o700, parents=True, exist_ok=True)
    directory = Path(tempfile.mkdtemp(prefix="drill-", dir=places.cache))
    try:
        restored = restore.restore(backup, directory, clock=SystemClock())
        if not restored.manifest.has_model_files and places.models.is_dir():
            # Links would do, but a model that is one is refused.
            shutil.copytree(places.models, directory / "models")
        return trial_start(_apart(config, directory), config_path)
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def _apart(config: Config, directory: Path) -> Config:
    """Return the configuration of an appliance that has nothing to do with the running one."""
    state = msgspec.structs.replace(
        config.state,
        dir=str(directory),
        cache_dir=str(directory / "cache"),
    )
    backup = msgspec.structs.replace(config.backup, dir=str(directory / "backups"))
    return msgspec.structs.replace(config, state=state, backup=backup)


def _recorded(path: Path, backup: str, reason: str) -> DrillResult:
    before = last_drill(path.parent)
    now = SystemClock().wall_seconds()
    result = DrillResult(
        made=utc_text(now),
        backup=backup,
        is_success=not reason,
        reason=reason,
        last_success_seconds=now if not reason else before.last_success_seconds if before else 0.0,
    )
    try:
        write_durably(path, msgspec.json.encode(result))
    except OSError as fault:
        found = f"The drill failed: {reason}." if reason else "The drill succeeded."
        raise StateUnusable(
            f"What the drill found cannot be written to {path}: {fault.strerror}. {found}"
        ) from None
    return result


COMMANDS = (drill,)
