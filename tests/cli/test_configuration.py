"""`appliance config` says whether the configuration is right, and what is in force."""

import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from appliance import start
from appliance.cli import cli
from appliance.cli.configuration import config
from appliance.errors import ConfigInvalid

Run = Callable[..., Result]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setattr(start, "PACKAGED_CONFIG", tmp_path / "packaged.toml")

    def run(*arguments: str) -> Result:
        return CliRunner().invoke(config, arguments, catch_exceptions=False)

    return run


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "config.toml"
    path.write_text('[http]\nport = 9090\n\n[log]\nlevel = "debug"\n')
    return path


def test_a_right_file_is_said_to_be_right(run: Run, file: Path) -> None:
    done = run("--config", str(file), "check")
    assert done.exit_code == 0
    assert done.stdout == f"The configuration is valid ({file}).\n"


def test_without_a_file_the_defaults_and_the_environment_are_checked(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "defaults and environment" in run("check").stdout
    monkeypatch.setenv("APPLIANCE_HTTP__PORT", "many")
    with pytest.raises(ConfigInvalid, match="APPLIANCE_HTTP__PORT"):
        run("check")


def test_every_fault_is_named_at_once(run: Run, file: Path) -> None:
    file.write_text('[http]\nport = 99999\nprot = 1\n\n[log]\nlevel = "loud"\n')
    with pytest.raises(ConfigInvalid) as refused:
        run("--config", str(file), "check")
    for word in ("port", "prot", "level"):
        assert word in refused.value.detail
    assert refused.value.exit_status == 78


def test_show_prints_every_setting_and_where_it_comes_from(
    run: Run, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("APPLIANCE_HTTP__CONTROL_THREADS", "3")
    shown = run("--config", str(file), "show").stdout
    lines = {line.partition(" ")[0]: line for line in shown.splitlines()}
    assert lines["port"].startswith("port = 9090  # ")
    assert str(file) in lines["port"]
    assert "APPLIANCE_HTTP__CONTROL_THREADS" in lines["control_threads"]
    assert lines["drain_seconds"].endswith("# default")


def test_what_is_shown_is_a_configuration_itself(run: Run, file: Path, tmp_path: Path) -> None:
    shown = run("--config", str(file), "show").stdout
    again = tmp_path / "again.toml"
    again.write_text(shown)
    assert tomllib.loads(shown)["log"]["level"] == "debug"
    assert run("--config", str(again), "check").exit_code == 0
    assert tomllib.loads(run("--config", str(again), "show").stdout) == tomllib.loads(shown)


def test_the_file_may_be_named_before_the_command_or_after_it(run: Run, file: Path) -> None:
    before = CliRunner().invoke(cli, ["--config", str(file), "config", "show"])
    after = CliRunner().invoke(cli, ["config", "--config", str(file), "show"])
    assert before.exit_code == after.exit_code == 0
    assert before.stdout == after.stdout
    assert "port = 9090" in before.stdout
