"""Which configuration a command works with."""

import sys
from pathlib import Path

import pytest

from appliance import start
from appliance.config import Config
from appliance.errors import ConfigInvalid


@pytest.fixture
def packaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory in the place of the ones the package installs into; empty at first."""
    monkeypatch.setattr(start, "PACKAGED_CONFIG", tmp_path / "config.toml")
    monkeypatch.setattr(start, "PACKAGED_DEFAULTS", tmp_path / "package.toml")
    return tmp_path


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "given.toml"
    path.write_text("[http]\nport = 1111\n")
    return path


def test_without_any_file_the_defaults_are_in_force(packaged: Path) -> None:
    assert start.config_location(None) is None
    assert start.packaged_defaults() is None
    assert start.read_config(None) == Config()


def test_the_file_of_the_command_line_comes_before_the_packaged_one(
    packaged: Path, file: Path
) -> None:
    (packaged / "config.toml").write_text("[http]\nport = 2222\n")
    assert start.read_config(str(file)).http.port == 1111
    assert start.read_config(None).http.port == 2222


def test_a_file_that_was_named_but_is_not_there_is_an_error(packaged: Path) -> None:
    with pytest.raises(ConfigInvalid, match=r"missing\.toml"):
        start.read_config(str(packaged / "missing.toml"))


def test_the_environment_comes_before_every_file(
    packaged: Path, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("APPLIANCE_HTTP__PORT", "3333")
    loaded = start.read_loaded(str(file))
    assert loaded.config.http.port == 3333
    assert "APPLIANCE_HTTP__PORT" in loaded.sources["http.port"]


def test_the_packages_own_places_count_only_in_the_packaged_program(
    packaged: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (packaged / "package.toml").write_text('[state]\ndir = "/var/lib/elsewhere"\n')
    assert start.read_config(None).state.dir == Config().state.dir
    monkeypatch.setattr(sys, "frozen", True, raising=False)
    assert start.read_config(None).state.dir == "/var/lib/elsewhere"


def test_a_file_comes_before_the_packages_own_places(
    packaged: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (packaged / "package.toml").write_text('[state]\ndir = "/var/lib/elsewhere"\n')
    (packaged / "config.toml").write_text('[state]\ndir = "/srv/appliance"\n')
    monkeypatch.setattr(sys, "frozen", True, raising=False)
    assert start.read_config(None).state.dir == "/srv/appliance"


@pytest.mark.parametrize(
    ("words", "is_for_gateway"),
    [
        ("stream-gateway", True),
        ("stream-gateway --help", True),
        ("--config a.toml stream-gateway", True),
        ("--config=a.toml stream-gateway", True),
        ("serve", False),
        ("--config stream-gateway serve", False),
        ("config check stream-gateway", False),
        ("", False),
        ("--help", False),
    ],
)
def test_the_gateway_is_told_from_all_other_commands(words: str, is_for_gateway: bool) -> None:
    assert start.is_gateway(words.split()) is is_for_gateway


def test_a_fault_ends_the_program_with_its_status_and_words(
    capsys: pytest.CaptureFixture[str],
) -> None:
    def fails() -> None:
        raise ConfigInvalid("http.port is not a number.")

    with pytest.raises(SystemExit) as left:
        start.ended_by_faults(fails)
    assert left.value.code == 78
    assert "http.port is not a number." in capsys.readouterr().err
    start.ended_by_faults(lambda: None)
