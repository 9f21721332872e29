import hashlib
import logging
import shutil
from pathlib import Path

import pytest

from appliance.actions.text_models import build_text_models, install_text_models, text_models
from appliance.errors import ModelInvalid
from appliance.library import text_package
from tests.tiny_bert import HIDDEN, write_package
from tests.tiny_texts import write_safetensors

ABSENT = "no_such_module_anywhere"


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A tiny encoder that is taken for the published one."""
    folder = write_package(tmp_path / "site" / "gt_of_a_test" / "model")
    (folder.parent / "__init__.py").touch()
    sums = {
        name: hashlib.sha256((folder / name).read_bytes()).hexdigest()
        for name in text_package.SHA256
    }
    monkeypatch.setattr(text_package, "SHA256", sums)
    monkeypatch.setattr(text_package, "_MODULE", ABSENT)
    return folder


@pytest.fixture
def models(tmp_path: Path) -> Path:
    (tmp_path / "models").mkdir()
    return tmp_path / "models"


def test_both_models_have_a_recipe() -> None:
    assert text_models() == (("sentiment", 1), ("text-embedding", 1))


def test_without_the_package_everything_else_goes_on(
    models: Path, package: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        assert install_text_models(models) == []
    assert "text models not built" in caplog.text
    assert list(models.iterdir()) == []


def test_a_head_that_does_not_fit_the_encoder_is_told(models: Path, package: Path) -> None:
    """The tiny encoder is narrower than the shipped head."""
    with pytest.raises(ModelInvalid, match=r"could not be built. The head takes 1,?536 values"):
        build_text_models(package, models)


def test_with_the_package_they_are_built_and_installed_once(
    models: Path, package: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    import numpy as np

    from appliance.host import text_builder

    recipes = tmp_path / "recipes"
    shutil.copytree(text_package.RECIPES, recipes)
    head = {"weight": np.ones((2, HIDDEN), np.float32), "bias": np.zeros(2, np.float32)}
    write_safetensors(recipes / "sentiment" / text_builder.HEAD, head)
    monkeypatch.setattr(text_package, "RECIPES", recipes)
    monkeypatch.setattr(text_package, "_MODULE", "gt_of_a_test")
    monkeypatch.syspath_prepend(package.parents[1])
    monkeypatch.setattr(
        "appliance.actions.text_models._builder",
        lambda: [*_python(recipes)],
    )
    removed = {("sentiment", 1)}
    first = install_text_models(models, removed=removed)
    assert [place.model for place in first] == ["text-embedding"]
    assert (models / "text-embedding" / "1" / "tokenizer.json").is_file()
    assert install_text_models(models, removed=removed) == []
    assert [place.model for place in install_text_models(models)] == ["sentiment"]
    assert sorted(path.name for path in models.iterdir()) == ["sentiment", "text-embedding"]


def _python(recipes: Path) -> list[str]:
    """Return the builder as a program, with the recipes of this test."""
    import sys

    program = (
        "import pathlib; from appliance.host import text_builder;"
        f" text_builder.RECIPES = pathlib.Path({str(recipes)!r}); text_builder.main()"
    )
    return [sys.executable, "-c", program]
