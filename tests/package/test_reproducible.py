"""The same sources give the same package, byte for byte, wherever and whenever it is built."""

import os
import re
import subprocess
from pathlib import Path

import pytest

from tests.package.machine import ROOT, suite_under_test
from tests.package.test_files import loaded, needs

BUILD_SECONDS = 1800


@pytest.mark.timeout(BUILD_SECONDS)
def test_two_builds_in_different_places_are_the_same_file() -> None:
    if os.environ.get("APPLIANCE_PACKAGE_ALL") != "1":
        pytest.skip("builds the package twice, five minutes: run scripts/test-package --all")
    if suite_under_test() != "bookworm":
        pytest.skip("the package is built on Debian 12 only; compared in its turn")
    done = subprocess.run(
        [ROOT / "scripts" / "test-reproducible"],
        capture_output=True,
        text=True,
        check=False,
        timeout=BUILD_SECONDS,
    )
    print(done.stdout[-300:])
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    first, second = re.findall(r"^[0-9a-f]{64}$", done.stdout, re.MULTILINE)
    assert first == second


def tiny(directory: Path, content: str, moment: str) -> Path:
    """Make a package of one file, whose content and time are given."""
    tree = directory / "tree"
    (tree / "DEBIAN").mkdir(parents=True)
    (tree / "DEBIAN" / "control").write_text(
        "Package: tiny\nVersion: 1\nArchitecture: all\nMaintainer: a <a@b>\nDescription: tiny\n",
        encoding="utf-8",
    )
    (tree / "file").write_text(content, encoding="utf-8")
    subprocess.run(["find", tree, "-exec", "touch", f"--date={moment}", "{}", "+"], check=True)
    package = directory / "tiny.deb"
    subprocess.run(
        [needs("dpkg-deb"), "--root-owner-group", "-Znone", "-b", tree, package],
        check=True,
        capture_output=True,
        env={**os.environ, "SOURCE_DATE_EPOCH": "1795219200"},
    )
    return package


@pytest.mark.parametrize(
    ("content", "moment", "found"),
    [
        ("same", "2020-01-01", "The same, byte for byte."),
        ("same", "2020-01-02", "only in one: "),
        ("other", "2020-01-01", "content differs: file"),
    ],
)
def test_the_comparison_says_what_differs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str, moment: str, found: str
) -> None:
    first = tiny(tmp_path / "a", "same", "2020-01-01")
    second = tiny(tmp_path / "b", content, moment)
    status = loaded("compare").main(first, second)
    assert found in capsys.readouterr().out
    assert (status == 0) is (found[:8] == "The same")
