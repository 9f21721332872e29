"""The doctor's archive holds no secret, and its command ends as it should."""

import tarfile
from pathlib import Path

import pytest
from click.testing import CliRunner

from appliance.cli import cli
from appliance.cli.doctor import without_secrets, write_bundle


@pytest.mark.parametrize(
    "line",
    [
        "X-API-Key: iak_abc123_secretsecretsecretsecretsecretsecretABC",
        "a caller sent iak_abc123_secretsecretsecretsecretsecretsecretABC instead of a name",
        "api_key = 'secretsecret'",
        '{"token": "secretsecret"}',
        "Authorization: Bearer secretsecret",
        "password=secretsecret",
        'password = "several words and secretsecret"',
        '{"secret":"it, \'is\' secretsecret", "port": 1}',
        "ExecStartPost=/usr/bin/curl -T x https://backup:secretsecret@nas.lan/",
    ],
)
def test_secrets_are_taken_out(line: str) -> None:
    cleaned = without_secrets(line)
    assert "secretsecret" not in cleaned
    assert "[removed]" in cleaned


def test_other_text_stays_as_it_is() -> None:
    text = "the admin key is in /var/lib/inference-appliance/admin-key"
    assert without_secrets(text) == text


def test_an_archive_may_only_be_read_by_its_owner_and_holds_every_text(tmp_path: Path) -> None:
    path = tmp_path / "support.tar.gz"
    write_bundle(path, {"a.txt": "token=secretsecret", "b.txt": "fine"})
    assert path.stat().st_mode & 0o777 == 0o600
    with tarfile.open(path) as archive:
        names = archive.getnames()
        first = archive.extractfile(names[0])
        assert first is not None
        assert b"secretsecret" not in first.read()
    assert [Path(name).name for name in names] == ["a.txt", "b.txt"]


def test_a_box_whose_service_is_down_is_a_fault_and_the_archive_is_written_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("APPLIANCE_STATE__DIR", str(tmp_path / "state"))
    bundle = tmp_path / "support.tar.gz"
    result = CliRunner().invoke(cli, ["doctor", "--bundle", str(bundle)])
    assert result.exit_code == 1
    assert "nobody answers on its admin socket" in result.output
    assert bundle.exists()


def test_the_findings_can_be_read_by_programs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("APPLIANCE_STATE__DIR", str(tmp_path / "state"))
    result = CliRunner().invoke(cli, ["doctor", "--json"])
    assert '"level": "fault"' in result.output
