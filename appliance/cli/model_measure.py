"""`appliance model evaluate|quantise|tune`: how good and how fast a model is, as jobs."""

import contextlib
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import click

from appliance.cli.connection import Connection, connection_of
from appliance.cli.jobs import wait_for_job
from appliance.cli.model import model
from appliance.cli.multipart import Form
from appliance.cli.printing import print_json, print_table, printable
from appliance.config import Config
from appliance.store.jobs import DONE

_SUBMIT_SECONDS = 600.0
_MOST_CLASSES = 40
_MOST_LABEL_CHARACTERS = 60
_NAME = click.argument("name", metavar="MODEL[@VERSION]")
_DATA = click.argument("data", type=click.Path(exists=True, path_type=Path))
_HEAD = click.option("--head", help="Which of the model's heads the labels are for.")
_PARAMS = click.option(
    "--param", "params", multiple=True, metavar="NAME=VALUE", help="A parameter of the task."
)
_OUT = click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    help="Put the report and its charts into this folder.",
)
_JSON = click.option("--json", "is_json", is_flag=True, help="Print what was found as JSON.")
_MOST_ITEMS = click.option(
    "--most-items", type=click.IntRange(1, 100_000), help="Measure at most so many."
)


def _most_seconds(help_text: str) -> Callable[[click.decorators.FC], click.decorators.FC]:
    """Given what happens when the time is up, return the option that bounds it."""
    return click.option(
        "--most-seconds",
        type=click.FloatRange(1, 4 * 3600),
        default=3600.0,
        show_default=True,
        help=help_text,
    )


@model.command()
@_NAME
@_DATA
@_HEAD
@_MOST_ITEMS
@_most_seconds("Longest time to measure; items that are left then are left out.")
@_PARAMS
@_OUT
@_JSON
@click.pass_context
def evaluate(
    context: click.Context,
    *,
    name: str,
    data: Path,
    head: str | None,
    most_items: int | None,
    most_seconds: float,
    params: tuple[str, ...],
    out: Path | None,
    is_json: bool,
) -> None:
    """Measure MODEL on DATA, whose answers are known, and report how good and how fast it is.

    DATA is a folder or zip with one folder for each label, a CSV with file,label or text,label,
    pictures with YOLO's .txt files, or with COCO's .json.
    """
    query = {
        "head": head,
        "most_items": most_items,
        "most_seconds": most_seconds,
        **_split(params),
    }
    with _forms(context, ("data", data)) as form:
        found = _run(context, name, "evaluate", query, form=form, out=out)
    if is_json:
        print_json(found)
        return
    click.echo(printable(found["headline"]))
    _show_classes(found["measured"])


@model.command()
@_NAME
@click.argument("data", type=click.Path(exists=True, path_type=Path), required=False)
@click.option(
    "--validation",
    type=click.Path(exists=True, path_type=Path),
    help="Measure on this instead of on a part of DATA.",
)
@click.option(
    "--calibration",
    type=click.Choice(["given", "recorded"]),
    default="given",
    show_default=True,
    help="recorded: calibrate with inputs that were kept (history.keep_inputs), without DATA.",
)
@click.option(
    "--max-drop",
    type=click.FloatRange(0, 100),
    default=1.0,
    show_default=True,
    help="Most points of accuracy that may be lost.",
)
@click.option("--calibration-items", type=click.IntRange(8, 5000), help="Calibrate with so many.")
@_MOST_ITEMS
@_most_seconds("Longest time for all of it; a version that is not made by then is given up.")
@_HEAD
@_PARAMS
@_OUT
@_JSON
@click.pass_context
def quantise(
    context: click.Context,
    *,
    name: str,
    data: Path | None,
    validation: Path | None,
    calibration: str,
    max_drop: float,
    calibration_items: int | None,
    most_items: int | None,
    most_seconds: float,
    head: str | None,
    params: tuple[str, ...],
    out: Path | None,
    is_json: bool,
) -> None:
    """Make an INT8 version of MODEL, calibrated with DATA, and measure it against the original.

    DATA is inputs as in use, best with labels. The new version is kept if it is good enough; it
    answers nobody until you activate it.
    """
    _require_one_source(data, calibration)
    query = {
        "calibration": calibration,
        "head": head,
        "max_drop": max_drop,
        "calibration_items": calibration_items,
        "most_items": most_items,
        "most_seconds": most_seconds,
        **_split(params),
    }
    with _forms(context, ("calibration", data), ("validation", validation)) as form:
        found = _run(context, name, "quantise", query, form=form, out=out)
    if is_json:
        print_json(found)
        return
    click.echo(printable(found["headline"]))
    _show_made(found.get("new_version"))


@model.command()
@_NAME
@click.option("--latency-ms", type=float, help="Longest time of 95 of 100 inferences.")
@click.option(
    "--most-seconds",
    type=click.FloatRange(5, 900),
    default=120.0,
    show_default=True,
    help="Longest time to measure.",
)
@_OUT
@_JSON
@click.pass_context
def tune(
    context: click.Context,
    *,
    name: str,
    latency_ms: float | None,
    most_seconds: float,
    out: Path | None,
    is_json: bool,
) -> None:
    """Measure how MODEL runs best on this machine, and use that from its next start on."""
    query = {"latency_ms": latency_ms, "most_seconds": most_seconds}
    found = _run(context, name, "tune", query, form=None, out=out)
    if is_json:
        print_json(found)
        return
    click.echo(printable(found["headline"]))
    print_table(
        ("streams", "threads", "at once", "rate/s", "50 % within", "95 % within", ""),
        (_setting(row, found["chosen"]) for row in found["rows"]),
    )
    if found["chosen"] != found["usual"]:
        click.echo(f"To use it at once: appliance model load {printable(found['model'])}")


def _require_one_source(data: Path | None, calibration: str) -> None:
    if (data is None) != (calibration == "recorded"):
        raise click.UsageError(
            "Name DATA to calibrate with, or say --calibration recorded, one of both."
        )


def _run(
    context: click.Context,
    name: str,
    verb: str,
    query: dict[str, Any],
    *,
    form: Form | None,
    out: Path | None,
) -> dict[str, Any]:
    """Send a job, wait for its end, fetch its files and return what it found."""
    connection = Connection(connection_of(context).socket_path, timeout_seconds=_SUBMIT_SECONDS)
    model_name, _, version = name.partition("@")
    given = {"version": version or None, **query}
    told = urlencode({key: value for key, value in given.items() if value is not None})
    path = f"/api/v1/models/{quote(model_name, safe='')}/{verb}?{told}"
    if form is None:
        sent = connection.call("POST", path)
    else:
        sent = connection.call(
            "POST",
            path,
            body=form.pieces(),
            body_bytes=form.size_bytes,
            content_type=form.content_type,
        )
    ended = wait_for_job(connection, sent["id"])
    if ended["state"] != DONE:
        detail = (ended["problem"] or {}).get("detail", "no reason is known")
        click.echo(f"The job {ended['id']} is {ended['state']}: {printable(detail)}", err=True)
        sys.exit(1)
    outcome = connection.get(ended["result"])
    if out is not None:
        _fetch(connection, outcome["files"], out)
    found: dict[str, Any] = outcome["result"]
    return found


def _fetch(connection: Connection, files: Sequence[dict[str, Any]], out: Path) -> None:
    out.mkdir(parents=True, exist_ok=True)
    for file in files:
        with (out / Path(file["name"]).name).open("wb") as target:
            connection.fetch(quote(file["location"]), target)
    click.echo(f"The report is {out / 'report.md'}.", err=True)


@contextlib.contextmanager
def _forms(context: click.Context, *parts: tuple[str, Path | None]) -> Iterator[Form | None]:
    """Given names and data, yield a form with all of it, or None where there is none; folders are
    packed into zips.
    """
    config = context.find_object(Config) or Config()
    with tempfile.TemporaryDirectory(prefix="appliance-") as directory:
        files: list[tuple[str, Path]] = []
        for name, data in parts:
            if data is None:
                continue
            if data.is_dir():
                packed = _packed(data, Path(directory), name, config.jobs.file_bytes)
                files += [(zipped.name, zipped) for zipped in packed]
            else:
                files.append((f"{name}-{data.name}", data))
        if len(files) > config.jobs.files:
            raise click.ClickException(
                f"The data is too large for one job: {len(files)} parts, and jobs.files allows"
                f" {config.jobs.files}. Send less, or raise jobs.files or jobs.file_bytes."
            )
        yield Form(files) if files else None


def _packed(folder: Path, target: Path, name: str, most_bytes: int) -> Iterator[Path]:
    """Pack a folder into zips that a job takes, each with a part of the files; yield them."""
    room = most_bytes * 9 // 10  # the rest is for the names
    archive: zipfile.ZipFile | None = None
    written = number = 0
    for path in sorted(folder.rglob("*")):
        below = path.relative_to(folder)
        if not path.is_file() or any(part.startswith(".") for part in below.parts):
            continue
        size = path.stat().st_size
        if archive is None or written + size > room:
            if archive is not None:
                archive.close()
            number, written = number + 1, 0
            place = target / f"{name}-{number}.zip"
            archive = zipfile.ZipFile(place, "w", zipfile.ZIP_STORED, strict_timestamps=False)
            yield place
        archive.write(path, below.as_posix())
        written += size
    if archive is None:
        raise click.ClickException(f"There are no files in {folder}.")
    archive.close()


def _split(params: Sequence[str]) -> dict[str, str]:
    found = {}
    for text in params:
        name, separator, value = text.partition("=")
        if not separator or not name:
            raise click.UsageError(f"{text!r} is not NAME=VALUE.")
        found[name] = value
    return found


def _show_made(made: dict[str, Any] | None) -> None:
    if made is not None:
        command = f"appliance model activate {made['model']} {made['version']}"
        click.echo(f"The new version is {made['model']}@{made['version']}: {command}")


def _show_classes(measured: dict[str, Any]) -> None:
    score, detection = measured["classification"], measured["detection"]
    if score is not None:
        print_table(
            ("class", "items", "recall", "precision", "F1"),
            (
                (
                    one["label"][:_MOST_LABEL_CHARACTERS],
                    one["items"],
                    *(_percent(one[key]) for key in ("recall", "precision", "f1")),
                )
                for one in score["classes"][:_MOST_CLASSES]
            ),
        )
    if detection is not None:
        print_table(
            ("class", "objects", "AP@.5", "AP@.5:.95"),
            (
                (one["label"], one["objects"], f"{one['ap50']:.3f}", f"{one['ap']:.3f}")
                for one in detection["classes"][:_MOST_CLASSES]
            ),
        )
    for note in measured["notes"]:
        click.echo(printable(note))


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{share * 100:.1f} %"


def _setting(row: dict[str, Any], chosen: dict[str, Any]) -> tuple[Any, ...]:
    words = "chosen" if row == chosen else ""
    if not row["can_be_chosen"]:
        batch = row["batch"]
        words = f"batches of {batch}" if batch > 1 else f"in {row['precision']}"
        words += ", for comparison"
    return (
        row["streams"],
        row["threads"],
        row["in_flight"],
        f"{row['per_second']:,.0f}",
        f"{row['p50_ms']:.2f} ms",
        f"{row['p95_ms']:.2f} ms",
        words,
    )


COMMANDS: tuple[click.Command, ...] = ()  # they are in the group of model.py
