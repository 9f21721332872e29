"""The restore drill's own book-keeping; the whole of it runs in tests/package."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from appliance.cli import cli
from appliance.cli.drill import last_drill
from appliance.errors import StateUnusable


def test_without_a_backup_the_drill_fails_and_that_is_written_down(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "state").mkdir()
    monkeypatch.setenv("APPLIANCE_STATE__DIR", str(tmp_path / "state"))
    result = CliRunner().invoke(cli, ["drill"])
    assert result.exit_code == 1
    found = last_drill(tmp_path / "state")
    assert found is not None
    assert not found.is_success
    assert "no backup" in found.reason
    assert found.last_success_seconds == 0


def test_a_damaged_backup_fails_the_drill_in_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backups = tmp_path / "state" / "backups"
    backups.mkdir(parents=True)
    (backups / "vm-20261121T031254Z-v0.1.0-s2.backup").write_bytes(b"not a backup")
    monkeypatch.setenv("APPLIANCE_STATE__DIR", str(tmp_path / "state"))
    result = CliRunner().invoke(cli, ["drill", "--json"])
    assert result.exit_code == 1
    found = last_drill(tmp_path / "state")
    assert found is not None
    assert found.backup.startswith("vm-")
    assert list((tmp_path / "state" / "cache").iterdir()) == []


def test_without_a_state_directory_the_drill_ends_in_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("APPLIANCE_STATE__DIR", str(tmp_path / "absent"))
    result = CliRunner().invoke(cli, ["drill"])
    assert isinstance(result.exception, StateUnusable)
    assert "drill.json" in result.exception.detail
    assert "there is no backup" in result.exception.detail
    assert not (tmp_path / "absent").exists()


def test_without_room_for_the_trial_the_drill_fails_in_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backups = tmp_path / "state" / "backups"
    backups.mkdir(parents=True)
    (backups / "vm-20261121T031254Z-v0.1.0-s2.backup").write_bytes(b"not a backup")
    (tmp_path / "state" / "cache").write_text("in the way")
    monkeypatch.setenv("APPLIANCE_STATE__DIR", str(tmp_path / "state"))
    result = CliRunner().invoke(cli, ["drill"])
    assert result.exit_code == 1
    found = last_drill(tmp_path / "state")
    assert found is not None
    assert "no room or no right" in found.reason


def test_what_cannot_be_read_is_no_drill(tmp_path: Path) -> None:
    assert last_drill(tmp_path) is None
    (tmp_path / "drill.json").write_text("{")
    assert last_drill(tmp_path) is None
