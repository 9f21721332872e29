"""`appliance audit`: read the trail of administrative acts, and check that nobody changed it."""

from typing import Any

import click
import msgspec

from appliance.cli.connection import Connection, connection_of
from appliance.cli.printing import print_json, print_table

_AUDIT = "/api/v1/audit"
_PAGE_ROWS = 1000


@click.group()
def audit() -> None:
    """Read and check the trail of administrative acts."""


@audit.command()
@click.option("--json", "is_json", is_flag=True, help="Print JSON.")
@click.pass_context
def verify(context: click.Context, *, is_json: bool) -> None:
    """Check every row of the trail; exit with 1 and name the first broken one if there is any."""
    verdict = connection_of(context).get(f"{_AUDIT}/verify")
    if is_json:
        print_json(verdict)
    elif verdict["is_intact"]:
        click.echo("The audit is intact.")
    else:
        click.echo(
            f"The audit is broken at row {verdict['broken_sequence']}: {verdict['reason']}."
        )
    if not verdict["is_intact"]:
        context.exit(1)


@audit.command(name="list")
@click.option(
    "--limit", type=click.IntRange(1, 100_000), default=50, show_default=True, help="Most rows."
)
@click.option("--json", "is_json", is_flag=True, help="Print JSON.")
@click.pass_context
def list_rows(context: click.Context, *, limit: int, is_json: bool) -> None:
    """List acts, newest first."""
    rows = _rows(connection_of(context), limit)
    if is_json:
        print_json(rows)
        return
    print_table(
        ("row", "at", "who", "did", "what", "from", "detail"),
        ([*_described(row)] for row in rows),
    )


def _rows(connection: Connection, limit: int) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    cursor: int | None = None
    while len(found) < limit:
        wanted = min(limit - len(found), _PAGE_ROWS)
        page = connection.get(_AUDIT, limit=wanted, cursor=cursor)
        found.extend(page["rows"])
        cursor = page["next_cursor"]
        if cursor is None:
            break
    return found


def _described(row: dict[str, Any]) -> tuple[Any, ...]:
    return (
        row["sequence"],
        row["at"],
        row["actor"],
        row["action"],
        row["subject"],
        row["address"],
        msgspec.json.encode(row["detail"]).decode(),
    )


COMMANDS = (audit,)
