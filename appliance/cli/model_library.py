"""`appliance model install|inspect|list|show|remove`: what is in the library."""

from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import click
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn

from appliance.cli.connection import Connection, connection_of
from appliance.cli.model import model
from appliance.cli.model_package import Package
from appliance.cli.printing import print_json, print_table, printable

_MODELS = "/api/v1/models"
_WAIT_SECONDS = 5
_UPLOAD_SECONDS = 3600.0
_STAGES = {
    "importing": "Converting",
    "validating": "Proving that it answers",
    "activating": "Letting it answer",
}
_json = click.option("--json", "is_json", is_flag=True, help="Print JSON.")
Command = Callable[..., Any]


def _described(command: Command) -> Any:
    """Add the options that say what cannot be found in a model."""
    options = (
        click.option("--task", help="Kind of task, such as object-detection."),
        click.option(
            "--labels",
            multiple=True,
            metavar="[HEAD=]FILE",
            help="Labels, one on each line; may be repeated for several heads.",
        ),
        click.option("--decoder", help="How a detector's output is read, such as yolox."),
        click.option(
            "--activation",
            type=click.Choice(["none", "softmax", "sigmoid"]),
            help="What turns its scores into confidences.",
        ),
        click.option("--mean", metavar="N[,N,N]", help="Subtracted from each channel."),
        click.option("--scale", metavar="N[,N,N]", help="Each channel is divided by it."),
        click.option("--layout", help="Order of the input's dimensions, such as NCHW."),
        click.option(
            "--color", type=click.Choice(["RGB", "BGR", "GRAY"]), help="Order of its colours."
        ),
        click.option(
            "--resize",
            type=click.Choice(["stretch", "letterbox", "crop"]),
            help="How a picture of another shape is made to fit.",
        ),
        click.option("--size", metavar="WxH", help="For a model that takes pictures of any size."),
    )
    for option in reversed(options):
        command = option(command)
    return command


@model.command()
@click.argument("source", metavar="FILE|FOLDER|URL")
@click.option("--name", required=True, help="What it is called from now on.")
@click.option("--version", type=click.IntRange(min=1), help="The next free one unless given.")
@_described
@click.option("--title", help="What people call it.")
@click.option("--license", help="Its licence.")
@click.option("--credit", help="Whose work it is.")
@click.option("--sha256", help="SHA-256 the file must have; needed with a URL.")
@click.option("--activate", is_flag=True, help="Let it answer once it has proved itself.")
@_json
@click.pass_context
def install(
    context: click.Context,
    /,
    *,
    source: str,
    labels: tuple[str, ...],
    is_json: bool,
    **said: Any,
) -> None:
    """Install a model from a FILE, a FOLDER or a URL: convert it, prove it, list it as ready.

    Files that belong to it (weights, labels) are found beside it. What is served now goes on.
    """
    connection = _patient(context)
    query = _query(said)
    if source.startswith(("https://", "http://")):
        body = {"url": source, "sha256": query.pop("sha256", "")}
        if not body["sha256"]:
            raise click.UsageError(
                "A model from a URL needs --sha256, the SHA-256 that its file must have: whoever"
                " offers it tells that beside the link, or 'sha256sum FILE' does."
            )
        begun = connection.post(f"{_MODELS}?{urlencode(query)}", body)
    else:
        begun = _send(connection, _MODELS, source, labels=labels, query=query)
    done = _watch(connection, begun)
    if is_json:
        print_json(done)
    elif done["state"] == "ready":
        click.echo(_outcome(done))
    if done["state"] != "ready" or done["reason"]:
        raise click.ClickException(printable(done["reason"]))


@model.command()
@click.argument("source", metavar="FILE|FOLDER")
@click.option("--name", default="model", show_default=True, help="What it would be called.")
@_described
@_json
@click.pass_context
def inspect(
    context: click.Context,
    /,
    *,
    source: str,
    labels: tuple[str, ...],
    is_json: bool,
    **said: Any,
) -> None:
    """Show what a model takes and answers, and the manifest that an import would write."""
    path = f"{_MODELS}/inspect"
    found = _send(_patient(context), path, source, labels=labels, query=_query(said))
    if is_json:
        print_json(found)
        return
    click.echo(
        f"{found['format']}, {found['operations']:,} operations, {found['weights_bytes']:,} bytes"
        " of weights"
    )
    rows = [(kind, one) for kind in ("inputs", "outputs") for one in found[kind]]
    print_table(
        ("", "tensor", "type", "shape"),
        ((kind[:-1], one["name"], one["type"], one["shape"]) for kind, one in rows),
    )
    for note in found["notes"]:
        click.echo(f"- {printable(note)}")
    click.echo(f"\n{_text(found['manifest'])}")
    for question in found["missing"]:
        click.echo(f"Still to be said: {printable(question)}", err=True)


@model.command(name="list")
@_json
@click.pass_context
def list_models(context: click.Context, *, is_json: bool) -> None:
    """List the models, their versions and which one answers."""
    found = connection_of(context).get(_MODELS)["models"]
    if is_json:
        print_json(found)
        return
    print_table(
        ("model", "task", "active", "state", "versions"),
        (
            (
                one["name"],
                one["task"],
                one["active_version"] or "none",
                one["state"],
                ", ".join(map(str, one["versions"])),
            )
            for one in found
        ),
    )


@model.command()
@click.argument("name", metavar="MODEL")
@_json
@click.pass_context
def show(context: click.Context, *, name: str, is_json: bool) -> None:
    """Show one MODEL: its versions, with the reason of those that failed, and how to call it."""
    found = connection_of(context).get(f"{_MODELS}/{quote(name, safe='')}")
    if is_json:
        print_json(found)
        return
    click.echo(f"{found['name']}: {found['task'] or 'no version is whole yet'}")
    print_table(
        ("version", "state", "active", "reason"),
        (
            (one["version"], one["state"], "yes" if one["is_active"] else "", one["reason"])
            for one in found["versions"]
        ),
    )
    if found["example"]:
        click.echo(f"\n{_text(found['example'])}")


@model.command()
@click.argument("name", metavar="MODEL")
@click.argument("version", type=click.IntRange(min=1))
@click.pass_context
def remove(context: click.Context, *, name: str, version: int) -> None:
    """Remove one VERSION of MODEL and its files; not while it is active or needed."""
    _patient(context).delete(f"{_MODELS}/{quote(name, safe='')}/versions/{version}")
    click.echo(f"Removed {name}@{version}.")


def _patient(context: click.Context) -> Connection:
    return Connection(connection_of(context).socket_path, timeout_seconds=_UPLOAD_SECONDS)


def _query(said: dict[str, Any]) -> dict[str, str]:
    given = {name: value for name, value in said.items() if value not in (None, "", False)}
    return {name: "true" if value is True else str(value) for name, value in given.items()}


def _send(
    connection: Connection,
    path: str,
    source: str,
    *,
    labels: tuple[str, ...],
    query: dict[str, str],
) -> Any:
    """Send a file or folder with all that belongs to it, with a bar, and return the answer."""
    file = Path(source)
    if not file.exists():
        raise click.ClickException(f"There is no file {source}.")
    with Package(file, tuple(_labels(each) for each in labels)) as package, _bar() as bar:
        total = sum(part.path.stat().st_size for part in package.parts)
        sent = bar.add_task("Sending", total=total)
        return connection.call(
            "POST",
            f"{path}?{urlencode({'file_name': file.name[-255:], **query})}",
            body=package.pieces(lambda count: bar.update(sent, advance=count)),
            content_type=package.content_type,
            body_bytes=package.content_bytes,
        )


def _labels(text: str) -> tuple[str, Path]:
    """Given `[HEAD=]FILE`, return both; a file whose name has an = is a file first."""
    head, separator, file = text.partition("=")
    path = Path(text) if Path(text).is_file() or not separator else Path(file)
    if not path.is_file():
        raise click.ClickException(f"There is no file of labels {path}.")
    return ("" if str(path) == text else head), path


def _watch(connection: Connection, begun: Any) -> Any:
    """Wait for an import to end, telling where it is, and return the version."""
    path = f"{_MODELS}/{begun['name']}/versions/{begun['version']}"
    console = Console(stderr=True)
    with console.status("Converting") as status:
        while True:
            found = connection.get(path, wait=_WAIT_SECONDS)
            if found["state"] not in _STAGES:
                return found
            status.update(_STAGES[found["state"]])


def _bar() -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        console=Console(stderr=True),
        transient=True,
    )


def _outcome(done: Any) -> str:
    name = f"{done['name']}@{done['version']}"
    size = f"{done['size_bytes']:,} bytes, sha256 {done['sha256'][:16]}…"
    if done["is_active"]:
        return f"{name} is active ({size})."
    return (
        f"{name} is ready ({size}). Let it answer with: appliance model activate {done['name']}"
        f" {done['version']}"
    )


def _text(value: str) -> str:
    return "\n".join(printable(line) for line in value.splitlines())


COMMANDS: tuple[click.Command, ...] = ()
