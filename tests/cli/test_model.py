from click.testing import CliRunner

from appliance.cli import cli
from appliance.cli.model import COMMANDS, model


def test_the_group_gathers_the_commands_of_several_files() -> None:
    assert (model,) == COMMANDS
    shown = CliRunner().invoke(cli, ["model", "--help"]).stdout
    assert {"activate", "rollback", "traffic", "comparison"} <= set(model.commands)
    assert all(name in shown for name in model.commands)
