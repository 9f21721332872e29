"""What is inside the built package, without installing it."""

import json
import re
import subprocess
from pathlib import Path

import pytest

from tests.package.test_files import needs

MOST_BYTES = 120 * 1024 * 1024


@pytest.fixture(scope="module")
def listing(package: Path) -> list[str]:
    done = subprocess.run(["dpkg-deb", "-c", package], capture_output=True, text=True, check=True)
    return done.stdout.splitlines()


@pytest.fixture(scope="module")
def tree(package: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("tree")
    subprocess.run(["dpkg-deb", "-x", package, directory], check=True)
    return directory


def test_the_package_is_small_enough(package: Path) -> None:
    assert package.stat().st_size <= MOST_BYTES


def test_everything_belongs_to_root_and_nothing_gives_rights_away(listing: list[str]) -> None:
    for line in listing:
        mode, owner = line.split()[:2]
        assert owner == "root/root", line
        assert "s" not in mode[1:10], line
        assert mode[0] == "l" or mode[8] != "w", line


def test_files_lie_only_where_they_belong(listing: list[str]) -> None:
    allowed = re.compile(r"\./((etc|lib/systemd|usr/(bin|lib|share))(/|$)|(lib|usr)?/?$)")
    for line in listing:
        assert allowed.match(line.split()[5]), line


def test_nothing_that_phones_home_or_only_trains_is_inside(listing: list[str]) -> None:
    for line in listing:
        assert not re.search(r"openvino_telemetry|libtorch|/torch/|libreadline", line), line


def test_every_device_plugin_and_front_end_is_inside(listing: list[str]) -> None:
    text = "\n".join(listing)
    for name in ("cpu_plugin", "gpu_plugin", "npu_plugin", "onnx_frontend", "tensorflow_frontend"):
        assert f"{name}.so" in text
    for name in ("vehicle-type", "step-detector"):
        assert f"appliance/starter/{name}/1/model.xml" in text


def test_the_bill_of_materials_and_the_copyright_cover_the_wheels(tree: Path) -> None:
    share = tree / "usr" / "share"
    document = json.loads((share / "inference-appliance" / "sbom.cdx.json").read_text())
    names = {each["name"] for each in document["components"]}
    assert {"openvino", "numpy", "pillow", "falcon", "OpenSSL", "vehicle-type"} <= names
    copyright_text = (share / "doc" / "inference-appliance" / "copyright").read_text()
    for name in names - {"vehicle-type", "step-detector"}:
        assert name in copyright_text


def test_lintian_has_no_complaint_that_is_not_answered(package: Path) -> None:
    lintian = needs("lintian")
    done = subprocess.run(
        [lintian, "--allow-root", "--fail-on", "error,warning", str(package)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout


def test_no_link_leads_nowhere(tree: Path) -> None:
    links = [path for path in tree.rglob("*") if path.is_symlink()]
    assert len(links) > 5
    assert [str(path.relative_to(tree)) for path in links if not path.exists()] == []


def test_every_time_is_the_one_of_the_changelog_so_that_builds_can_be_compared(
    listing: list[str],
) -> None:
    assert len({" ".join(line.split()[3:5]) for line in listing}) == 1
