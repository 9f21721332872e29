"""The command line as a whole: what there is, and how it ends."""

import sys

import click
import pytest
from click.testing import CliRunner

from appliance import __version__
from appliance.cli import cli, main


def commands(group: click.Group = cli, before: str = "") -> list[tuple[str, click.Command]]:
    found: list[tuple[str, click.Command]] = []
    for name, command in sorted(group.commands.items()):
        found.append((f"{before}{name}", command))
        if isinstance(command, click.Group):
            found += commands(command, f"{before}{name} ")
    return found


def test_the_verbs_an_admin_needs_are_there() -> None:
    names = {name for name, _ in commands()}
    assert {"serve", "config check", "backup", "restore", "verify", "keys create"} <= names


@pytest.mark.parametrize("name", [name for name, _ in commands()])
def test_every_command_explains_itself_and_every_option(name: str) -> None:
    done = CliRunner().invoke(cli, [*name.split(), "--help"])
    assert done.exit_code == 0
    command = dict(commands())[name]
    assert command.help, "a command says in a sentence what it does"
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            assert parameter.help, parameter.name


def test_the_version_is_told() -> None:
    assert __version__ in CliRunner().invoke(cli, ["--version"]).stdout


def ended(monkeypatch: pytest.MonkeyPatch, *words: str) -> object:
    monkeypatch.setattr(sys, "argv", ["appliance", *words])
    with pytest.raises(SystemExit) as left:
        main()
    return left.value.code


def test_a_wrong_configuration_ends_every_command_with_78(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("APPLIANCE_HTTP__PORT", "many")
    for words in (["config", "check"], ["backups"]):
        assert ended(monkeypatch, *words) == 78
        told = capsys.readouterr().err
        assert told.startswith("appliance: The configuration is not valid.\n")
        assert "APPLIANCE_HTTP__PORT" in told


def test_a_command_nobody_knows_is_told_as_such(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ended(monkeypatch, "sreve") == 2
    assert "sreve" in capsys.readouterr().err
