"""`appliance predict`: many files through a model of the running appliance, as jobs."""

import contextlib
import mimetypes
import secrets
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any
from urllib.parse import quote, urlencode

import click
import msgspec

from appliance.cli.connection import Connection, connection_of
from appliance.cli.jobs import wait_for_job
from appliance.cli.printing import print_table, printable
from appliance.config import Config
from appliance.csv_rows import csv_row
from appliance.store.jobs import DONE

_PIECE_BYTES = 256 * 1024
_FAILED_STATUS = 1
_SUFFIXES = (".csv", ".json", ".jsonl")
_SUBMIT_SECONDS = 600.0


@click.command()
@click.argument("model")
@click.argument(
    "paths",
    metavar="FILE|FOLDER…",
    nargs=-1,
    required=True,
    type=click.Path(exists=True, path_type=Path),
)
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), help="CSV, JSON or JSONL.")
@click.option(
    "--param", "params", multiple=True, metavar="NAME=VALUE", help="A parameter of the task."
)
@click.pass_context
def predict(
    context: click.Context,
    *,
    model: str,
    paths: tuple[Path, ...],
    out: Path | None,
    params: tuple[str, ...],
) -> None:
    """Send every FILE, and every file below each FOLDER, through MODEL; show or keep the answers.

    The files are sent as jobs, which run beside what is being served without slowing it; one that
    MODEL cannot take is a row with a problem, not the end.
    """
    if out is not None and out.suffix.lower() not in _SUFFIXES:
        raise click.UsageError("The name after --out ends in .csv, .json or .jsonl.")
    given = dict(_split(each) for each in params)
    files = [*_files(paths)]
    if not files:
        raise click.UsageError("There are no files in what was named.")
    config = context.find_object(Config) or Config()
    connection = Connection(connection_of(context).socket_path, timeout_seconds=_SUBMIT_SECONDS)
    with tempfile.TemporaryFile() as lines:
        for some in _groups(files, config):
            _run(connection, model, given, some, lines)
        failed = _tell(lines, out)
    if failed:
        click.echo(f"{failed} of {len(files)} files failed.", err=True)
        sys.exit(_FAILED_STATUS)


def _run(
    connection: Connection,
    model: str,
    params: dict[str, str],
    files: Sequence[Path],
    lines: IO[bytes],
) -> None:
    """Send some files as one job, wait for its end and append its answers."""
    boundary = secrets.token_hex(16)
    heads = [_head(boundary, path) for path in files]
    tail = f"--{boundary}--\r\n".encode()
    size = sum(len(head) + 2 for head in heads) + sum(path.stat().st_size for path in files)
    sent = connection.call(
        "POST",
        f"/api/v1/models/{quote(model, safe='')}/batch?{urlencode(params)}",
        body=_pieces(heads, files, tail),
        body_bytes=size + len(tail),
        content_type=f"multipart/form-data; boundary={boundary}",
    )
    ended = wait_for_job(connection, sent["id"])
    if ended["state"] != DONE:
        problem = ended["problem"] or {}
        detail = problem.get("detail", "no reason is known")
        raise click.ClickException(f"The job {ended['id']} is {ended['state']}: {detail}")
    connection.fetch(f"{ended['result']}/results.jsonl", lines)


def _head(boundary: str, path: Path) -> bytes:
    name = str(path).replace('"', "%22").replace("\r", "%0D").replace("\n", "%0A")
    kind = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
    return (
        f'--{boundary}\r\nContent-Disposition: form-data; name="files"; filename="{name}"\r\n'
        f"Content-Type: {kind}\r\n\r\n"
    ).encode("utf-8", "surrogateescape")


def _pieces(heads: Sequence[bytes], files: Sequence[Path], tail: bytes) -> Iterator[bytes]:
    for head, path in zip(heads, files, strict=True):
        yield head
        with path.open("rb") as file:
            while piece := file.read(_PIECE_BYTES):
                yield piece
        yield b"\r\n"
    yield tail


def _files(paths: Sequence[Path]) -> Iterator[Path]:
    """Yield every file named, and every one below a named folder but hidden ones, in order."""
    for path in paths:
        if not path.is_dir():
            yield path
            continue
        for below in sorted(path.rglob("*")):
            is_hidden = any(part.startswith(".") for part in below.relative_to(path).parts)
            if below.is_file() and not is_hidden:
                yield below


def _groups(files: Sequence[Path], config: Config) -> Iterator[list[Path]]:
    """Yield the files in groups, each of which one request may carry."""
    most_bytes = config.limits.body_bytes * 9 // 10  # the rest is for the heads of the parts
    group: list[Path] = []
    size = 0
    for path in files:
        more = path.stat().st_size
        if group and (len(group) >= config.jobs.files or size + more > most_bytes):
            yield group
            group, size = [], 0
        group.append(path)
        size += more
    if group:
        yield group


def _split(text: str) -> tuple[str, str]:
    name, separator, value = text.partition("=")
    if not separator or not name:
        raise click.UsageError(f"{text!r} is not NAME=VALUE.")
    return name, value


def _tell(lines: IO[bytes], out: Path | None) -> int:
    """Write or show the answers; return how many files failed."""
    failed = 0
    with contextlib.ExitStack() as stack:
        write = _writer(out, stack)
        lines.seek(0)
        for line in lines:
            outcome = msgspec.json.decode(line)
            failed += outcome["status"] != "ok"
            write(outcome)
    return failed


def _writer(out: Path | None, stack: contextlib.ExitStack) -> Any:
    """Return what takes one outcome after the other, and finishes when the stack is closed."""
    if out is None:
        rows: list[tuple[Any, ...]] = []
        stack.callback(lambda: print_table(("file", "label", "confidence"), rows))
        return lambda outcome: rows.append(_shown(outcome))
    file = stack.enter_context(out.open("wb"))
    if out.suffix.lower() == ".jsonl":
        return lambda outcome: file.write(msgspec.json.encode(outcome) + b"\n")
    if out.suffix.lower() == ".json":
        outcomes: list[Any] = []
        stack.callback(lambda: file.write(msgspec.json.format(msgspec.json.encode(outcomes))))
        return outcomes.append
    return _csv_writer(file)


def _csv_writer(file: IO[bytes]) -> Any:
    file.write(csv_row(("file", "status", "label", "confidence", "problem")).encode())

    def write(outcome: dict[str, Any]) -> None:
        values = [outcome.get(name) for name in ("file", "status", "label", "confidence")]
        detail = (outcome.get("problem") or {}).get("detail")
        file.write(csv_row((*values, detail)).encode())

    return write


def _shown(outcome: dict[str, Any]) -> tuple[str, str, str]:
    if outcome["status"] != "ok":
        return outcome["file"], f"failed: {printable(outcome['problem']['detail'])}", ""
    confidence = outcome.get("confidence")
    shown = "" if confidence is None else f"{confidence:.3f}"
    return outcome["file"], outcome.get("label") or "", shown


COMMANDS = (predict,)
