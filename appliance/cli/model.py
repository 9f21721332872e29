"""`appliance model`: the models of the running appliance."""

import click


@click.group()
def model() -> None:
    """Install, activate, compare and remove models."""


COMMANDS = (model,)
