"""Callers see versions that are whole with their manifest, and others with the reason."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.actions.register_models import register_models
from appliance.actions.version_views import VersionViews
from appliance.clock import ManualClock
from appliance.store import models
from appliance.store.database import Database
from tests.access_parts import opened
from tests.tiny_models import write_colour_model


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with opened(tmp_path / "state", ManualClock()) as database:
        yield database


def test_a_version_that_is_whole_shows_its_manifest(database: Database, tmp_path: Path) -> None:
    write_colour_model(tmp_path / "models")
    register_models(database, tmp_path / "models", ManualClock())
    view = VersionViews(database, tmp_path / "models").of("colour", 1)
    assert view is not None
    assert (view.state, view.is_active, view.created[-1]) == ("ready", True, "Z")
    assert view.manifest is not None
    assert view.manifest["title"] == "Strongest colour"


def test_a_failed_version_shows_its_reason(database: Database, tmp_path: Path) -> None:
    models.begin_version(database, "m", None, state="importing", at_seconds=0)
    views = VersionViews(database, tmp_path)
    assert [row.state for row in views.not_served()] == ["importing"]
    models.set_state(database, "m", 1, state="failed", reason="no")
    view = views.of("m", 1)
    assert view is not None
    assert (view.state, view.reason, view.manifest) == ("failed", "no", None)
    assert views.of("m", 2) is None


def test_a_version_still_to_be_activated_says_so(database: Database, tmp_path: Path) -> None:
    write_colour_model(tmp_path / "models")
    register_models(database, tmp_path / "models", ManualClock())
    views = VersionViews(database, tmp_path / "models", is_activating=lambda *_: True)
    view = views.of("colour", 1)
    assert view is not None
    assert view.state == "activating"
