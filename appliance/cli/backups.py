"""`appliance backup`, `verify` and `restore`: copies of the state, checked and brought back."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import IO

import click

from appliance.actions.backup import checked
from appliance.actions.restore import restore_and_prove
from appliance.cli.connection import (
    SOCKET_NAME,
    Connection,
    NotRunning,
    Refused,
    connection_of,
)
from appliance.cli.owner import become_owner_of, readable_by_owner_of
from appliance.cli.printing import print_json, print_table
from appliance.cli.unit import is_root, is_wanted_running, run_while_stopped
from appliance.clock import SystemClock
from appliance.config import Config
from appliance.places import places_of
from appliance.store.restore import CONFIG_NAME

_BACKUPS = "/api/v1/backups"
_TRIAL_SECONDS = 120.0
_BACKUP_SECONDS = 3600.0
#: Time beyond the drain that the trial has to end its hosts and close the database.
_DRAIN_SPARE_SECONDS = 30.0
_MOST_WORDS_BYTES = 600


@click.command()
@click.option("--with-models", is_flag=True, help="Put the model files in as well.")
@click.option("--json", "is_json", is_flag=True, help="Print JSON.")
@click.pass_context
def backup(context: click.Context, *, with_models: bool, is_json: bool) -> None:
    """Make a backup of the running appliance, check it and let old ones go."""
    path = connection_of(context).socket_path
    connection = Connection(path, timeout_seconds=_BACKUP_SECONDS)
    made = connection.post(_BACKUPS, {"with_models": with_models})
    if is_json:
        print_json(made)
        return
    rows = ", ".join(f"{count} {table}" for table, count in made["rows"].items() if count)
    click.echo(f"{made['path']}\n{made['bytes']:,} bytes, checked: {rows or 'no rows yet'}.")
    for name in made["removed"]:
        click.echo(f"Removed the older {name}.")


@click.command()
@click.option("--json", "is_json", is_flag=True, help="Print JSON.")
@click.pass_context
def backups(context: click.Context, *, is_json: bool) -> None:
    """List the finished backups, newest first."""
    found = connection_of(context).get(_BACKUPS)["backups"]
    if is_json:
        print_json(found)
        return
    print_table(
        ("made", "release", "bytes", "file"),
        ((one["made"], one["version"], f"{one['bytes']:,}", one["path"]) for one in found),
    )


@click.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--json", "is_json", is_flag=True, help="Print JSON.")
def verify(file: Path, *, is_json: bool) -> None:
    """Check a backup FILE from its first byte to its last; no running appliance is needed."""
    found = checked(file)
    if is_json:
        print_json(found)
        return
    rows = ", ".join(f"{count} {table}" for table, count in found.rows.items() if count)
    click.echo(
        f"{file.name} is sound: made {found.created} by release {found.version},"
        f" schema {found.schema}; it holds {rows or 'no rows'}."
    )


@click.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--json", "is_json", is_flag=True, help="Print JSON.")
@click.option(
    "--stopped", "is_stopped", is_flag=True, hidden=True, help="The caller stopped the service."
)
@click.pass_context
def restore(context: click.Context, file: Path, *, is_json: bool, is_stopped: bool) -> None:
    """Bring back the state in a backup FILE.

    As root this stops the service, restores, and starts it again; else the appliance must be
    stopped. The backup is checked first, the present state is kept, and if the appliance does not
    start on the restored state, the present one is put back.
    """
    config = context.find_object(Config) or Config()
    state = places_of(config).state
    if is_root() and is_wanted_running() and not is_stopped:
        context.exit(_restored_around_a_stop(context, file.absolute(), state, is_json=is_json))
    with readable_by_owner_of(state, file.absolute()) as given:
        _restore_now(context, config, given, is_json=is_json)
    if not is_stopped and not is_json:
        click.echo("Start the appliance when you want it to serve.")


def _restored_around_a_stop(
    context: click.Context, file: Path, state: Path, *, is_json: bool
) -> int:
    """Stop the service, have this same command do the rest, and start the service again."""
    checked(file)  # before anything is stopped for a file that is of no use
    config_path = context.meta.get("config_path")
    options = ["--config", config_path] if config_path else []
    with readable_by_owner_of(state, file) as given:
        click.echo("Stopping the service; it is started again afterwards.", err=True)
        command = [*own_command(), *options, "restore", "--stopped", str(given)]
        status = run_while_stopped([*command, "--json"] if is_json else command)
    click.echo("The service runs again.", err=True)
    return status


def _restore_now(context: click.Context, config: Config, file: Path, *, is_json: bool) -> None:
    become_owner_of(places_of(config).state, reads=file)
    done = restore_and_prove(
        file,
        Path(config.state.dir).absolute(),
        clock=SystemClock(),
        starts=lambda: trial_start(config, context.meta.get("config_path")),
    )
    if is_json:
        print_json(done)
        return
    rows = ", ".join(f"{count} {table}" for table, count in done.rows.items() if count)
    click.echo(
        f"Restored from {done.from_backup}: {rows or 'no rows'}. The appliance started on it.\n"
        f"The state from before is kept in {done.old_state}."
    )
    saved = Path(config.state.dir) / CONFIG_NAME
    if saved.exists():
        click.echo(
            f"The configuration that was in force then is in {saved}; this machine keeps its own."
            " Copy the lines you miss to a file in conf.d/."
        )


def trial_start(config: Config, config_path: str | None) -> str:
    """Given the configuration, start the appliance on a free port until it is ready, then stop it.

    Return an empty text, or what went wrong.
    """
    # Of its own: systemd removes the service's runtime directory when it stops it.
    with tempfile.TemporaryDirectory(prefix="ia-trial-") as runtime:
        return _trial(config, config_path, Path(runtime))


def _trial(config: Config, config_path: str | None, runtime: Path) -> str:
    environment = {
        **os.environ,
        "APPLIANCE_HTTP__HOST": "127.0.0.1",
        "APPLIANCE_HTTP__PORT": "0",
        **_places(config),
        "APPLIANCE_STATE__RUNTIME_DIR": str(runtime),
    }
    for name in ("NOTIFY_SOCKET", "LISTEN_FDS", "LISTEN_PID", "WATCHDOG_USEC", "WATCHDOG_PID"):
        environment.pop(name, None)
    options = ["--config", config_path] if config_path else []
    # A file, not a pipe: nobody reads while it runs, and a full pipe would stop it for good.
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(
            [*own_command(), *options, "serve"],
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=output,
        )
        try:
            fault = _wait_until_ready(process, Connection(runtime / SOCKET_NAME))
        finally:
            _end(process, config.http.drain_seconds + _DRAIN_SPARE_SECONDS)
        return f"{fault}: {_last_words(output)}" if process.returncode and fault else fault


def _end(process: "subprocess.Popen[bytes]", patience_seconds: float) -> None:
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
    try:
        process.wait(patience_seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _last_words(output: IO[bytes]) -> str:
    output.seek(0)
    return output.read()[-_MOST_WORDS_BYTES:].decode(errors="replace").strip()


def _places(config: Config) -> dict[str, str]:
    """Return the variables that give a trial the directories of this configuration."""
    places = places_of(config)
    return {
        "APPLIANCE_STATE__DIR": str(places.state),
        "APPLIANCE_STATE__CACHE_DIR": str(places.cache),
        "APPLIANCE_BACKUP__DIR": str(places.backups),
    }


def own_command() -> list[str]:
    """Return the command line of this very program."""
    if getattr(sys, "frozen", False):
        return [sys.executable]
    return [sys.executable, "-m", "appliance"]


def _wait_until_ready(process: "subprocess.Popen[bytes]", connection: Connection) -> str:
    deadline = time.monotonic() + _TRIAL_SECONDS
    reason = "it did not answer"
    while time.monotonic() < deadline:
        if process.poll() is not None:
            return f"exit status {process.returncode}"
        try:
            connection.get("/ready")
        except Refused as refused:
            reason = "; ".join(refused.document.get("reasons", ())) or refused.format_message()
            if " is failed: " in reason:
                return reason  # a model that failed its start is not started again
        except NotRunning as fault:
            reason = fault.format_message()
        else:
            return ""
        time.sleep(0.1)  # a starting program cannot be awaited otherwise
    return f"it was not ready after {_TRIAL_SECONDS:g} s: {reason}"


COMMANDS = (backup, backups, verify, restore)
