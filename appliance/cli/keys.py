"""`appliance keys`: issue, list and revoke API keys of the running appliance."""

from typing import Any
from urllib.parse import quote

import click

from appliance.actions.callers import Role
from appliance.cli.connection import Connection, connection_of
from appliance.cli.printing import print_json, print_table, printable

_KEYS = "/api/v1/keys"
_PAGE_ROWS = 1000


@click.group()
def keys() -> None:
    """Issue, list and revoke API keys."""


@keys.command()
@click.argument("name")
@click.option(
    "--role",
    type=click.Choice([role.value for role in Role]),
    default=Role.DEVICE.value,
    show_default=True,
    help="What the key may do.",
)
@click.option("--model", "models", multiple=True, help="Only this model; may be repeated.")
@click.option(
    "--from",
    "source_networks",
    multiple=True,
    metavar="NETWORK",
    help="Only from this network, such as 192.168.1.0/24; may be repeated.",
)
@click.option(
    "--days",
    type=click.FloatRange(min=0, max=36_500, min_open=True),
    help="Expires after so many days.",
)
@click.option("--json", "is_json", is_flag=True, help="Print JSON.")
@click.pass_context
def create(
    context: click.Context,
    *,
    name: str,
    role: str,
    models: tuple[str, ...],
    source_networks: tuple[str, ...],
    days: float | None,
    is_json: bool,
) -> None:
    """Issue a key called NAME and print it; it cannot be shown again."""
    wanted: dict[str, Any] = {
        "name": name,
        "role": role,
        "models": models,
        "source_networks": source_networks,
        "expires_in_days": days,
    }
    issued = connection_of(context).post(_KEYS, wanted)
    if is_json:
        print_json(issued)
        return
    click.echo(issued["key"])
    click.echo(
        f"Key {issued['id']} ({issued['role']}) for {printable(issued['name'])}."
        " Keep it now: it cannot be shown again.",
        err=True,
    )


@keys.command(name="list")
@click.option("--all", "is_all", is_flag=True, help="Revoked keys too.")
@click.option("--json", "is_json", is_flag=True, help="Print JSON.")
@click.pass_context
def list_keys(context: click.Context, *, is_all: bool, is_json: bool) -> None:
    """List the keys, oldest first."""
    found = _all_keys(connection_of(context))
    shown = [key for key in found if is_all or key["state"] != "revoked"]
    if is_json:
        print_json(shown)
        return
    print_table(
        ("id", "name", "role", "state", "models", "from", "expires", "last used", "by"),
        ([*_described(key)] for key in shown),
    )


@keys.command()
@click.argument("key_id", metavar="ID")
@click.option("--json", "is_json", is_flag=True, help="Print JSON.")
@click.pass_context
def revoke(context: click.Context, *, key_id: str, is_json: bool) -> None:
    """Revoke the key ID: it is dead from the next request on."""
    connection_of(context).delete(f"{_KEYS}/{quote(key_id, safe='')}")
    if is_json:
        print_json({"id": key_id, "state": "revoked"})
    else:
        click.echo(f"The key {printable(key_id)} is revoked.")


def _all_keys(connection: Connection) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    cursor: int | None = None
    while True:
        page = connection.get(_KEYS, limit=_PAGE_ROWS, cursor=cursor)
        found.extend(page["keys"])
        cursor = page["next_cursor"]
        if cursor is None:
            return found


def _described(key: dict[str, Any]) -> tuple[str, ...]:
    return (
        key["id"],
        key["name"],
        key["role"],
        key["state"],
        ", ".join(key["models"]) or "all",
        ", ".join(key["source_networks"]) or "anywhere",
        key["expires"] or "never",
        key["last_used"] or "never",
        key["last_used_address"],
    )


COMMANDS = (keys,)
