"""`appliance model install|inspect|list|show|remove` against a real library."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import falcon
import pytest
from click.testing import CliRunner, Result

from appliance import config
from appliance.actions.remove_model import ModelRemoval
from appliance.actions.version_views import VersionViews
from appliance.cli.connection import admin_socket_path
from appliance.cli.model import model
from appliance.clock import ManualClock
from appliance.web.openapi import Route
from appliance.web.resources.model_imports import ModelImports
from appliance.web.unix_door import as_admin
from tests.access_parts import opened
from tests.actions.examples import StubEngine, a_status
from tests.actions.import_examples import Library
from tests.tiny_formats import onnx_model
from tests.web.doors import door_at
from tests.web.routed import Routed

LABELS = "red\ngreen\nblue\n"
Run = Callable[..., Result]


@pytest.fixture
def library(tmp_path: Path) -> Iterator[Library]:
    with opened(tmp_path / "state", ManualClock()) as database:
        library = Library(database, tmp_path)
        library.library.start()
        yield library
        library.library.stop()


@pytest.fixture
def run(library: Library, tmp_path: Path) -> Iterator[Run]:
    engine: Any = StubEngine(a_status("step-detector", task="step-detection"))
    removal = ModelRemoval(
        engine, ManualClock(), database=library.database, models_directory=library.models
    )
    resource = ModelImports(
        engine, library.library, removal, VersionViews(library.database, library.models)
    )
    path = "/api/v1/models"
    routed = Routed(
        Route(path, resource),
        Route(path + "/inspect", resource, "inspect"),
        Route(path + "/{model}", resource, "model"),
        Route(path + "/{model}/versions/{version}", resource, "version"),
    )
    settings = config.Config(state=config.State(dir=str(tmp_path / "state")))
    admin_socket_path(settings).parent.mkdir()
    app: falcon.App[Any, Any] = routed.client.app
    door = door_at(admin_socket_path(settings), as_admin(app))
    door.start()
    yield lambda *words: CliRunner().invoke(model, words, obj=settings, catch_exceptions=False)
    door.stop()


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    directory = tmp_path / "export"
    directory.mkdir()
    (directory / "labels.txt").write_text(LABELS)
    path = directory / "tiny.onnx"
    path.write_bytes(onnx_model())
    return path


def test_a_file_is_installed_with_the_labels_beside_it(run: Run, tiny: Path) -> None:
    done = run("install", str(tiny), "--name", "tiny", "--scale", "255", "--title", "Tiny")
    assert done.exit_code == 0, done.output
    assert "tiny@1 is ready" in done.stdout
    assert "appliance model activate tiny 1" in done.stdout


def test_installing_tells_all_as_json(run: Run, tiny: Path, library: Library) -> None:
    done = run("install", str(tiny), "--name", "tiny", "--activate", "--json")
    told = json.loads(done.stdout)
    assert (told["state"], told["manifest"]["outputs"][0]["labels"]) == ("ready", "labels.txt")
    assert library.activated == [("tiny", 1)]


def test_labels_can_be_named_for_a_head(run: Run, tiny: Path) -> None:
    other = tiny.with_name("mine.txt")
    other.write_text("x\ny\nz\n")
    found = json.loads(run("inspect", str(tiny), "--labels", str(other), "--json").stdout)
    assert found["labels"] == {"labels.txt": 3}
    missing = run("inspect", str(tiny), "--labels", "type=nowhere.txt")
    assert missing.exit_code == 1
    assert "no file of labels nowhere.txt" in missing.stderr


def test_a_bad_model_ends_with_its_reason(run: Run, tiny: Path) -> None:
    tiny.write_bytes(onnx_model(operation="Frobnicate"))
    done = run("install", str(tiny), "--name", "tiny")
    assert done.exit_code == 1
    assert "Frobnicate" in done.stderr
    shown = run("show", "tiny")
    assert "failed" in shown.stdout
    assert "Frobnicate" in shown.stdout
    assert run("remove", "tiny", "1").exit_code == 0
    assert run("remove", "tiny", "1").exit_code == 1


def test_inspecting_shows_the_manifest_in_words(run: Run, tiny: Path) -> None:
    shown = run("inspect", str(tiny))
    assert shown.exit_code == 0
    for words in ("onnx", "image", "[1, 3, 8, 8]", 'task = "image-classification"'):
        assert words in shown.stdout


def test_what_is_there_is_listed(run: Run) -> None:
    assert "step-detector" in run("list").stdout
    assert json.loads(run("list", "--json").stdout)[0]["name"] == "step-detector"
    assert json.loads(run("show", "step-detector", "--json").stdout)["active_version"] == 1


def test_a_file_that_is_not_there_is_said(run: Run) -> None:
    done = run("install", "nowhere.onnx", "--name", "m")
    assert done.exit_code == 1
    assert "There is no file nowhere.onnx" in done.stderr


def test_a_url_needs_its_digest_and_is_told_why(run: Run) -> None:
    done = run("install", "https://h/m.onnx", "--name", "m")
    assert done.exit_code == 2
    assert "needs --sha256" in done.output


def test_a_name_that_is_none_is_told_in_words(run: Run, tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_bytes(onnx_model())
    done = run("install", str(tmp_path / "m.onnx"), "--name", "Bad Name")
    assert done.exit_code == 1
    assert "a name of a-z, 0-9" in done.output
    assert "regex" not in done.output


def test_a_url_is_refused_as_the_appliance_says(run: Run) -> None:
    done = run("install", "https://h/m.onnx", "--name", "m", "--sha256", "0" * 64)
    assert done.exit_code == 1
    assert "models.url_hosts" in done.stderr
