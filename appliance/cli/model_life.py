"""`appliance model activate|rollback|load|unload|traffic|policy|comparison`."""

from typing import Any
from urllib.parse import quote

import click
import msgspec

from appliance.cli.connection import Connection, admin_socket_path
from appliance.cli.model import model
from appliance.cli.printing import print_json, print_table, printable
from appliance.config import Config

_GRACE_SECONDS = 60.0
_json = click.option("--json", "is_json", is_flag=True, help="Print JSON.")
_name = click.argument("name", metavar="MODEL")


@model.command()
@_name
@click.argument("version", type=click.IntRange(min=1))
@click.option(
    "--auto-rollback/--no-auto-rollback",
    "has_auto_rollback",
    default=None,
    help="Go back by itself if it does worse in its first minutes. Default: the model's policy.",
)
@click.option("--watch-seconds", type=float, help="How long it is watched.")
@click.option("--max-error-rate", type=float, help="Most failed calls more than before, 0 to 1.")
@click.option("--max-latency-ratio", type=float, help="Most time, as a multiple of before.")
@_json
@click.pass_context
def activate(
    context: click.Context,
    *,
    name: str,
    version: int,
    has_auto_rollback: bool | None,
    watch_seconds: float | None,
    max_error_rate: float | None,
    max_latency_ratio: float | None,
    is_json: bool,
) -> None:
    """Let VERSION of MODEL answer once it has proved itself; no request is dropped."""
    rule = _rule(watch_seconds, max_error_rate, max_latency_ratio)
    body: dict[str, Any] = {}
    if has_auto_rollback is False:
        body["auto_rollback"] = None
    elif has_auto_rollback or rule:
        body["auto_rollback"] = rule
    path = f"{_path(name)}/versions/{version}/activate"
    _tell_switch(_patient(context).post(path, body), is_json=is_json)


@model.command()
@_name
@_json
@click.pass_context
def rollback(context: click.Context, *, name: str, is_json: bool) -> None:
    """Let the version of MODEL that was active before answer again."""
    _tell_switch(_patient(context).call("POST", f"{_path(name)}/rollback"), is_json=is_json)


@model.command()
@_name
@click.option("--version", type=click.IntRange(min=1), help="This one instead of the last.")
@_json
@click.pass_context
def load(context: click.Context, *, name: str, version: int | None, is_json: bool) -> None:
    """Start MODEL, or start it anew without a gap."""
    body = {} if version is None else {"version": version}
    _tell_switch(_patient(context).post(f"{_path(name)}/load", body), is_json=is_json)


@model.command()
@_name
@_json
@click.pass_context
def unload(context: click.Context, *, name: str, is_json: bool) -> None:
    """Take MODEL out of service and give its memory back; it stays installed."""
    _tell_switch(_patient(context).call("POST", f"{_path(name)}/unload"), is_json=is_json)


@model.command()
@_name
@click.option(
    "--split",
    "shares",
    multiple=True,
    metavar="VERSION=PERCENT",
    help="Share of a version; repeat until they make 100.",
)
@click.option("--shadow", metavar="VERSION", help="Send this version a copy of each request.")
@click.option("--off", "is_off", is_flag=True, help="The active version alone answers.")
@_json
@click.pass_context
def traffic(
    context: click.Context,
    *,
    name: str,
    shares: tuple[str, ...],
    shadow: str | None,
    is_off: bool,
    is_json: bool,
) -> None:
    """Show or set how the requests for MODEL are spread among its versions."""
    path = f"{_path(name)}/traffic"
    connection = _patient(context)
    if shares or shadow or is_off:
        wanted = {"traffic": dict(map(_share, shares)), "shadow": shadow}
        found = connection.call("PUT", path, body=_encoded(wanted))
    else:
        found = connection.get(path)
    if is_json:
        print_json(found)
        return
    parts = [f"{version}: {percent:g} %" for version, percent in found["traffic"].items()]
    click.echo(", ".join(parts) or "The active version answers every request.")
    if found["shadow"] is not None:
        click.echo(f"Version {printable(found['shadow'])} gets a copy of each request.")


@model.command()
@_name
@click.option(
    "--auto-rollback/--no-auto-rollback",
    "has_auto_rollback",
    default=None,
    help="Whether a version that does worse in its first minutes goes back by itself.",
)
@click.option("--watch-seconds", type=float, help="How long a new version is watched.")
@click.option("--max-error-rate", type=float, help="Most failed calls more than before, 0 to 1.")
@click.option("--max-latency-ratio", type=float, help="Most time, as a multiple of before.")
@click.pass_context
def policy(
    context: click.Context,
    *,
    name: str,
    has_auto_rollback: bool | None,
    watch_seconds: float | None,
    max_error_rate: float | None,
    max_latency_ratio: float | None,
) -> None:
    """Show or set what holds for every activation of MODEL."""
    path = f"{_path(name)}/policy"
    connection = _patient(context)
    rule = _rule(watch_seconds, max_error_rate, max_latency_ratio)
    if has_auto_rollback is None and not rule:
        print_json(connection.get(path))
        return
    wanted = {"auto_rollback": None if has_auto_rollback is False else rule}
    print_json(connection.call("PUT", path, body=_encoded(wanted)))


@model.command()
@_name
@_json
@click.pass_context
def comparison(context: click.Context, *, name: str, is_json: bool) -> None:
    """Show how the versions that share the requests for MODEL compare."""
    found = _patient(context).get(f"{_path(name)}/comparison")
    if is_json:
        print_json(found)
        return
    print_table(
        ("version", "role", "requests", "failures", "p50 ms", "p95 ms"),
        (
            [one[key] for key in ("version", "role", "requests", "failures", "p50_ms", "p95_ms")]
            for one in found["versions"]
        ),
    )
    agreement = found["agreement"]
    if agreement is None:
        return
    click.echo(
        f"The shadow agreed with {agreement['agreed']} of {agreement['compared']} answers;"
        f" {agreement['failed']} copies failed, {agreement['dropped']} were dropped."
    )
    for one in agreement["differences"]:
        said, otherwise = printable(one["active"]), printable(one["shadow"])
        click.echo(f"  {said} → {otherwise}: {one['count']}")


def _patient(context: click.Context) -> Connection:
    """Return a way to the appliance that waits for as long as a model may take to load."""
    config = context.find_object(Config) or Config()
    return Connection(
        admin_socket_path(config), timeout_seconds=config.models.start_seconds + _GRACE_SECONDS
    )


def _path(name: str) -> str:
    return f"/api/v1/models/{quote(name, safe='')}"


def _encoded(value: Any) -> bytes:
    return msgspec.json.encode(value)


def _rule(
    seconds: float | None, max_error_rate: float | None, max_latency_ratio: float | None
) -> dict[str, float]:
    given = {
        "seconds": seconds,
        "max_error_rate": max_error_rate,
        "max_latency_ratio": max_latency_ratio,
    }
    return {key: value for key, value in given.items() if value is not None}


def _share(text: str) -> tuple[str, float]:
    version, separator, percent = text.partition("=")
    try:
        if separator:
            return version.strip(), float(percent.rstrip("% "))
    except ValueError:
        pass
    raise click.BadParameter(f"{text!r} is not VERSION=PERCENT, such as 4=10.")


def _tell_switch(found: dict[str, Any], *, is_json: bool) -> None:
    if is_json:
        print_json(found)
        return
    name, now = printable(found["model"]), found["active_version"]
    before = found["previous_version"]
    if now is None:
        click.echo(f"{name} is unloaded.")
    elif before is None or before == now:
        click.echo(f"{name}@{now} answers.")
    else:
        click.echo(f"{name}@{now} answers; before it was version {before}.")


#: They are part of the group `model`.
COMMANDS: tuple[click.Command, ...] = ()
