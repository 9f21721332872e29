"""`appliance doctor`: look for what usually goes wrong, and pack it up for somebody who helps."""

import io
import os
import platform
import re
import subprocess
import tarfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click
import msgspec

from appliance import __version__, config_file
from appliance.actions.doctor import examine
from appliance.actions.findings import FAULT, OK, UNKNOWN, WARNING, Finding, Scene
from appliance.cli.connection import Connection, connection_of
from appliance.cli.printing import print_json, printable
from appliance.cli.unit import is_root, systemd_property
from appliance.clock import SystemClock
from appliance.config import Config
from appliance.places import places_of
from appliance.start import read_loaded
from appliance.store import rotation

_ANSWER_SECONDS = 5.0
_COMMAND_SECONDS = 20.0
_MOST_OUTPUT_BYTES = 4 * 1024 * 1024
_MARKS = {OK: "ok     ", UNKNOWN: "unknown", WARNING: "WARNING", FAULT: "FAULT  "}
_UNITS = ("", "-stream", "-backup", "-verify", "-metrics")
#: Whatever looks like a key, a token or a password's value goes out of the archive.
_SECRETS = re.compile(
    r"iak_[0-9A-Za-z_]{6,}"
    r"|(?<=://)[^/\s@]+(?=@)"  # who signs in to an address, and by which password
    r"|(?i:((?:api[-_]?key|token|passwd|password|passphrase|secret|authorization)[\"']?\s*[:=]\s*"
    r"(?:bearer\s+|basic\s+)?))(?:\"[^\"\n]*\"|'[^'\n]*'|[^\s\"',}]+)"
)


@click.command()
@click.option("--json", "is_json", is_flag=True, help="Print JSON.")
@click.option(
    "--bundle",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Also write an archive for support (.tar.gz), without secrets.",
)
@click.pass_context
def doctor(context: click.Context, *, is_json: bool, bundle: Path | None) -> None:
    """Look for what usually goes wrong and say what to do; exit with 1 if something is broken."""
    config = context.find_object(Config) or Config()
    connection = Connection(connection_of(context).socket_path, timeout_seconds=_ANSWER_SECONDS)
    scene = scene_of(config, connection)
    findings = examine(scene)
    if is_json:
        print_json(findings)
    else:
        for finding in findings:
            _print(finding)
        if not is_root():
            click.echo("Some things can only be looked at as root: sudo appliance doctor")
    if bundle is not None:
        write_bundle(bundle, _contents(context, scene, findings))
        click.echo(
            f"Wrote {bundle}. Keys and passwords were taken out; read it before you send it."
        )
    if any(finding.level == FAULT for finding in findings):
        context.exit(1)


def scene_of(config: Config, connection: Connection) -> Scene:
    """Given the configuration and a way to the service, return what the doctor looks at."""
    places = places_of(config)
    try:
        os.listdir(places.backups)  # what pathlib may not look into, it takes for empty
    except OSError as fault:
        may_see = not isinstance(fault, PermissionError)
    else:
        may_see = True
    found = rotation.listed(places.backups)
    return Scene(
        config=config,
        state=places.state,
        backups=places.backups,
        cache=places.cache,
        health=_asked(connection, "/health"),
        newest_backup_seconds=found[0].made_seconds if found else None,
        unit=systemd_property,
        now_seconds=SystemClock().wall_seconds(),
        may_ask=_may_use(connection.socket_path),
        may_see_backups=may_see,
        is_root=is_root(),
        ask=asked_of,
    )


def _may_use(path: Path) -> bool:
    """Return whether this user may connect to a socket, or there is none."""
    try:
        path.stat()
    except PermissionError:
        return False
    except OSError:
        return True
    return os.access(path, os.W_OK)


def asked_of(command: Sequence[str]) -> str | None:
    """Given a command that only lists things, return what it says; None if it cannot."""
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            timeout=_COMMAND_SECONDS,
            check=False,
            stdin=subprocess.DEVNULL,
            env={**os.environ, "LC_ALL": "C"},
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.decode("utf-8", "replace") if done.returncode == 0 else None


def without_secrets(text: str) -> str:
    """Given any text, return it with everything that looks like a key or a password taken out."""
    return _SECRETS.sub(lambda found: f"{found[1] or ''}[removed]", text)


def write_bundle(path: Path, contents: dict[str, str]) -> None:
    """Given a path and texts by name, write them as one .tar.gz that only its owner may read."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file, tarfile.open(fileobj=file, mode="w:gz") as archive:
        for name, text in contents.items():
            content = without_secrets(text).encode("utf-8", "replace")[-_MOST_OUTPUT_BYTES:]
            member = tarfile.TarInfo(f"inference-appliance-support/{name}")
            member.size = len(content)
            member.mtime = int(SystemClock().wall_seconds())
            archive.addfile(member, io.BytesIO(content))


def _print(finding: Finding) -> None:
    click.echo(f"{_MARKS[finding.level]}  {finding.subject}: {printable(finding.text)}")
    if finding.advice and finding.level != OK:
        click.echo(f"         -> {printable(finding.advice)}")


def _asked(connection: Connection, path: str) -> dict[str, Any] | None:
    try:
        answer = connection.get(path)
    except click.ClickException:
        return None
    return answer if isinstance(answer, dict) else None


def _contents(context: click.Context, scene: Scene, findings: list[Finding]) -> dict[str, str]:
    """Return everything that goes into the archive, by file name."""
    unit = "inference-appliance"
    journal = ["journalctl", "--no-pager", "-n", "2000", *(f"-u{unit}{each}" for each in _UNITS)]
    asked: dict[str, Callable[[], str]] = {
        "findings.json": lambda: msgspec.json.format(
            msgspec.json.encode(findings), indent=1
        ).decode(),
        "health.json": lambda: msgspec.json.encode(scene.health).decode(),
        "versions.txt": lambda: f"{__version__}\n{platform.platform()}\n",
        "config.toml": lambda: config_file.as_toml(read_loaded(context.meta.get("config_path"))),
        "journal.txt": lambda: _output(journal),
        "status.txt": lambda: _output(["systemctl", "status", "--no-pager", f"{unit}*"]),
        "timers.txt": lambda: _output(["systemctl", "list-timers", "--all", "--no-pager"]),
        "unit.txt": lambda: _output(["systemctl", "cat", f"{unit}.service"]),
        "listening.txt": lambda: _output(["ss", "-tlnp"]),
        "disks.txt": lambda: _output(["df", "-h"]),
        "memory.txt": lambda: _output(["free", "-m"]),
        "cpu.txt": lambda: _output(["lscpu"]),
        "directories.txt": lambda: _output(["ls", "-lan", str(scene.state), str(scene.backups)]),
        "package.txt": lambda: _output(["dpkg", "-V", unit]),
    }
    return {name: _told(ask) for name, ask in asked.items()}


def _told(ask: Callable[[], str]) -> str:
    try:
        return ask()
    except Exception as fault:  # what is broken is often why the archive is made
        return f"{type(fault).__name__}: {fault}\n"


def _output(command: list[str]) -> str:
    done = subprocess.run(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=_COMMAND_SECONDS,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    return done.stdout.decode("utf-8", "replace")


COMMANDS = (doctor,)
