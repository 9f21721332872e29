"""Where everything of one appliance lies."""

import stat
from pathlib import Path

import pytest

from appliance.config import Config, State
from appliance.errors import StateUnusable
from appliance.places import places_of, prepared


def test_every_place_lies_below_the_state_unless_configured() -> None:
    places = places_of(Config(state=State(dir="/somewhere")))
    assert places.models == Path("/somewhere/models")
    assert places.admin_socket == Path("/somewhere/run/admin.sock")
    elsewhere = places_of(Config(state=State(dir="/somewhere", cache_dir="/cache")))
    assert elsewhere.cache == Path("/cache")


def test_the_directories_are_made_for_the_owner_alone(tmp_path: Path) -> None:
    places = prepared(places_of(Config(state=State(dir=str(tmp_path / "state")))))
    made = (places.state, places.models, places.cache, places.spool, places.backups)
    for directory in (*made, places.jobs, places.inputs):
        assert stat.S_IMODE(directory.stat().st_mode) == 0o700


def test_a_place_that_cannot_be_made_is_named_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StateUnusable, match="file/state"):
        prepared(places_of(Config(state=State(dir=str(tmp_path / "file" / "state")))))
