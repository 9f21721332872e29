"""`appliance job`: list, watch, cancel, try again and fetch the jobs of the running appliance."""

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import click
import msgspec
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

from appliance.cli.connection import Connection, NotRunning, connection_of
from appliance.cli.printing import print_json, print_table, printable
from appliance.store.jobs import DEAD, DONE, ENDED, STATES

_JOBS = "/api/v1/jobs"
_PAGE_ROWS = 1000
#: The progress bar moves at least so often; the end of the job is told at once.
_WAIT_SECONDS = 0.5
_QUIET_WAIT_SECONDS = 20.0
_FAILED_STATUS = 1
#: An appliance that is started again, or upgraded, is back sooner.
AWAY_SECONDS = 120.0
_AGAIN_SECONDS = 0.5


@click.group()
def job() -> None:
    """List, watch, cancel and fetch jobs: work that is stored first and done later."""


@job.command(name="list")
@click.option("--state", "states", multiple=True, type=click.Choice(STATES), help="In this state.")
@click.option("--kind", help="Of this kind, such as batch.")
@click.option(
    "--limit", type=click.IntRange(1, 100_000), default=50, show_default=True, help="At most."
)
@click.option("--json", "is_json", is_flag=True, help="Print JSON.")
@click.pass_context
def list_jobs(
    context: click.Context, *, states: tuple[str, ...], kind: str | None, limit: int, is_json: bool
) -> None:
    """List jobs, newest first; `--state dead` is the dead-letter queue."""
    found = _some(connection_of(context), ",".join(states) or None, kind, limit)
    if is_json:
        print_json(found)
        return
    print_table(
        ("id", "kind", "state", "progress", "model", "tries", "created", "by", "message"),
        (_described(each) for each in found),
    )


@job.command()
@click.argument("job_id", metavar="ID")
@click.option("--json", "is_json", is_flag=True, help="Print JSON.")
@click.pass_context
def show(context: click.Context, *, job_id: str, is_json: bool) -> None:
    """Show where the job ID stands."""
    _show(connection_of(context).get(_path(job_id)), is_json=is_json)


@job.command()
@click.argument("job_id", metavar="ID")
@click.option("--json", "is_json", is_flag=True, help="Print JSON, and no progress.")
@click.pass_context
def wait(context: click.Context, *, job_id: str, is_json: bool) -> None:
    """Wait until the job ID has ended; the exit status is 0 if it went well."""
    ended = wait_for_job(connection_of(context), job_id, shows_progress=not is_json)
    _show(ended, is_json=is_json)
    if ended["state"] != DONE:
        sys.exit(_FAILED_STATUS)


@job.command()
@click.argument("job_id", metavar="ID")
@click.option("--json", "is_json", is_flag=True, help="Print JSON.")
@click.pass_context
def cancel(context: click.Context, *, job_id: str, is_json: bool) -> None:
    """Cancel the job ID, which waits or runs; one that has ended is left as it is."""
    connection = connection_of(context)
    found = connection.get(_path(job_id))
    if found["state"] in ENDED:
        raise click.ClickException(
            f"This job is {found['state']}; to forget it: appliance job remove {found['id']}"
        )
    told = connection.delete(_path(job_id)) or connection.get(_path(job_id))
    if is_json:
        print_json(told)
    elif told["state"] == "cancelled":
        click.echo("The job is cancelled.")
    else:
        click.echo("The job was told to end, which it will soon.")


@job.command()
@click.argument("job_id", metavar="ID")
@click.option("--json", "is_json", is_flag=True, help="Print JSON.")
@click.pass_context
def remove(context: click.Context, *, job_id: str, is_json: bool) -> None:
    """Forget the job ID, which has ended, with its result and its files."""
    connection = connection_of(context)
    found = connection.get(_path(job_id))
    if found["state"] not in ENDED:
        raise click.ClickException(f"This job is {found['state']}; cancel it first.")
    connection.delete(_path(job_id))
    if is_json:
        print_json({"id": found["id"], "state": "removed"})
    else:
        click.echo("The job and its files are removed.")


@job.command()
@click.argument("job_ids", metavar="ID…", nargs=-1)
@click.option("--all", "is_all", is_flag=True, help="Every dead job, a thousand at most.")
@click.option("--json", "is_json", is_flag=True, help="Print JSON.")
@click.pass_context
def retry(
    context: click.Context, *, job_ids: tuple[str, ...], is_all: bool, is_json: bool
) -> None:
    """Try dead jobs again, with as many attempts as a new one has."""
    if is_all == bool(job_ids):
        raise click.UsageError("Name the dead jobs to try again, or say --all.")
    connection = connection_of(context)
    if is_all:
        changed = connection.call("POST", "/api/v1/admin/dlq")["changed"]
    else:
        for job_id in job_ids:
            connection.call("POST", f"{_path(job_id)}/retry")
        changed = len(job_ids)
    if is_json:
        print_json({"changed": changed})
    else:
        click.echo(f"{changed} job(s) will be tried again.")


@job.command()
@click.argument("job_id", metavar="ID")
@click.option("--file", "name", help="Only this file of the result.")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="Where the file goes, or a folder for all files and the document.",
)
@click.pass_context
def result(context: click.Context, *, job_id: str, name: str | None, out: Path | None) -> None:
    """Print what the job ID found as JSON, or fetch the files that it kept."""
    connection = connection_of(context)
    found = connection.get(f"{_path(job_id)}/result")
    if name is not None:
        target = out or Path(Path(name).name)
        _fetch(connection, f"{_path(job_id)}/result/{quote(name)}", target)
    elif out is None:
        print_json(found)
    else:
        for kept in found["files"]:
            _fetch(connection, quote(kept["location"]), _inside(out, kept["name"]))
        document = out / "result.json"
        document.write_bytes(msgspec.json.format(msgspec.json.encode(found["result"])))
        click.echo(f"{document}")


def wait_for_job(
    connection: Connection, job_id: str, *, shows_progress: bool = True
) -> dict[str, Any]:
    """Given a job, return it once it has ended; meanwhile draw its progress on a terminal.

    An appliance that ends meanwhile is waited for, as the job goes on when it is back; raise
    NotRunning with what to do when it stays away.
    """
    connection.get(_path(job_id))  # where nothing runs now, there is nothing to wait for
    patience = _Patience(job_id)
    console = Console(stderr=True)
    is_drawn = shows_progress and console.is_terminal
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console, transient=True, disable=not is_drawn) as progress:
        bar = progress.add_task("waits", total=1.0)
        wait = str(_WAIT_SECONDS if is_drawn else _QUIET_WAIT_SECONDS)
        while True:
            found = patience.asked(lambda: connection.get(_path(job_id), wait=wait))
            if found is None:
                progress.update(bar, description="the appliance is away")
                continue
            words = printable(found["message"] or found["state"])
            progress.update(bar, completed=found["progress"], description=words)
            if found["state"] in ENDED:
                return found


class _Patience:
    """Asks an appliance that was there a moment ago and may be away for a while. Threads: one."""

    def __init__(self, job_id: str) -> None:
        self._job_id = job_id
        self._last_answer = time.monotonic()

    def asked(self, ask: Callable[[], dict[str, Any]]) -> dict[str, Any] | None:
        """Return the answer, or after a pause None; raise NotRunning after AWAY_SECONDS."""
        try:
            found = ask()
        except NotRunning as fault:
            if time.monotonic() - self._last_answer > AWAY_SECONDS:
                raise NotRunning(
                    f"{fault.message} The job is stored and goes on when the appliance is back:"
                    f" appliance job wait {self._job_id}"
                ) from None
            time.sleep(_AGAIN_SECONDS)
            return None
        self._last_answer = time.monotonic()
        return found


def _some(
    connection: Connection, states: str | None, kind: str | None, limit: int
) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    cursor: str | None = None
    while len(found) < limit:
        page = connection.get(
            _JOBS,
            state=states,
            kind=kind,
            cursor=cursor,
            limit=min(limit - len(found), _PAGE_ROWS),
        )
        found.extend(page["jobs"])
        cursor = page["next_cursor"]
        if cursor is None:
            break
    return found


def _path(job_id: str) -> str:
    return f"{_JOBS}/{quote(job_id, safe='')}"


def _described(found: dict[str, Any]) -> tuple[str, ...]:
    return (
        found["id"],
        found["kind"],
        found["state"],
        f"{found['progress']:.0%}",
        found["model"],
        f"{found['attempts']}/{found['allowed_attempts']}",
        found["created"],
        found["key_name"],
        found["message"] or (found["problem"] or {}).get("detail", ""),
    )


def _show(found: dict[str, Any], *, is_json: bool) -> None:
    if is_json:
        print_json(found)
        return
    rows = [
        (name, found[name])
        for name in ("id", "kind", "state", "model", "created", "started", "ended", "key_name")
        if found[name]
    ]
    rows.append(("progress", f"{found['progress']:.0%} {found['message']}"))
    rows.append(("attempts", f"{found['attempts']} of {found['allowed_attempts']}"))
    if found["next_attempt"]:
        rows.append(("next attempt", found["next_attempt"]))
    if found["inputs"]:
        size = sum(each["bytes"] for each in found["inputs"])
        rows.append(("inputs", f"{len(found['inputs'])} files, {size:,} bytes"))
    if found["problem"] and found["state"] != DONE:
        rows.append(("problem", found["problem"].get("detail", "")))
    print_table(("", ""), rows)
    if found["state"] == DEAD:
        click.echo(f"To try it again: appliance job retry {found['id']}")
    elif found["state"] == DONE:
        click.echo(f"What it found: appliance job result {found['id']}")


def _inside(folder: Path, name: str) -> Path:
    target = (folder / name).resolve()
    if folder.resolve() not in target.parents:
        raise click.ClickException(f"The file {printable(name)} would lie outside {folder}.")
    return target


def _fetch(connection: Connection, path: str, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.open("wb") as file:
        size = connection.fetch(path, file)
    click.echo(f"{target}: {size:,} bytes")


COMMANDS = (job,)
