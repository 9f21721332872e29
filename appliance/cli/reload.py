"""`appliance reload`: have the running appliance read its configuration again."""

import click

from appliance.cli.connection import connection_of


@click.command()
@click.pass_context
def reload(context: click.Context) -> None:
    """Put a changed configuration into force, as far as that needs no restart."""
    found = connection_of(context).call("POST", "/api/v1/settings/reload")
    changed, waiting = found["changed"], found["needs_restart"]
    if changed:
        click.echo(f"In force now: {', '.join(changed)}.")
    if waiting:
        click.echo(f"Needs a restart: {', '.join(waiting)}.")
    if not changed and not waiting:
        click.echo("Nothing has changed.")


COMMANDS = (reload,)
