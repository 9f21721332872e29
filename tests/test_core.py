"""The assembled appliance: every part is there, runs, and ends without leaving anything behind."""

import os
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from appliance import config_file
from appliance.clock import SystemClock
from appliance.config import Config, Models, State
from appliance.core import Appliance, assemble
from appliance.errors import StateUnusable
from tests.actions.examples import ADMIN
from tests.tiny_models import write_colour_model


@pytest.fixture
def config(tmp_path: Path) -> Config:
    write_colour_model(tmp_path / "state" / "models")
    return Config(
        state=State(dir=str(tmp_path / "state"), reserve_bytes=4096), models=Models(starter=False)
    )


@pytest.fixture
def parts(config: Config) -> Iterator[Appliance]:
    assembled = assemble(config, SystemClock(), config_text="# nothing set\n")
    yield assembled
    assembled.stop()


def wait_until_ready(parts: Appliance) -> None:
    deadline = time.monotonic() + 60
    while not parts.health.readiness().ready:
        assert time.monotonic() < deadline, parts.health.readiness().reasons
        time.sleep(0.02)


def test_an_assembled_appliance_becomes_ready_with_the_models_on_disk(parts: Appliance) -> None:
    wait_until_ready(parts)
    assert parts.health.readiness().ready
    assert parts.engine.active_versions() == {"colour": 1}


def test_the_first_start_writes_an_admin_key_nobody_else_can_read(parts: Appliance) -> None:
    assert parts.admin_key_file.read_text().startswith("iak_")
    assert parts.admin_key_file.stat().st_mode & 0o377 == 0


def test_a_second_appliance_on_the_same_state_is_refused_and_harms_nothing(
    parts: Appliance, config: Config
) -> None:
    with pytest.raises(StateUnusable, match=str(os.getpid())):
        assemble(config, SystemClock())
    wait_until_ready(parts)
    assert parts.health.readiness().ready


def test_stopping_leaves_no_child_process_behind(config: Config) -> None:
    assembled = assemble(config, SystemClock())
    wait_until_ready(assembled)
    children = psutil.Process().children(recursive=True)
    assert children
    assembled.stop()
    _, alive = psutil.wait_procs(children, timeout=20)
    assert alive == []


def test_a_reload_reaches_every_part_that_keeps_or_forgets_history(
    config: Config, tmp_path: Path
) -> None:
    file = tmp_path / "appliance.toml"
    file.write_text("")
    parts = assemble(
        config, SystemClock(), read_again=lambda: config_file.load_with_sources(file, {})
    )
    try:
        wait_until_ready(parts)
        assert not parts.inputs.is_kept("colour")
        file.write_text(
            "[history]\nkeep_days = 7.5\n"
            'keep_inputs = ["colour"]\nkeep_inputs_share = 0.5\n'
            "keep_inputs_bytes = 4096\nkeep_inputs_days = 2.5\n"
        )
        told = parts.reload.reload(ADMIN)
        assert set(told.changed) == {
            "history.keep_days",
            "history.keep_inputs",
            "history.keep_inputs_share",
            "history.keep_inputs_bytes",
            "history.keep_inputs_days",
        }
        assert parts.inputs.is_kept("colour")
        for part in (parts.predictor, parts.maintenance, parts.streams, parts.inputs):
            found = part._history
            assert (found.keep_days, found.keep_inputs_share) == (7.5, 0.5), part
            assert (found.keep_inputs_bytes, found.keep_inputs_days) == (4096, 2.5), part
    finally:
        parts.stop()


def test_it_starts_again_on_what_it_left(config: Config) -> None:
    assemble(config, SystemClock()).stop()
    again = assemble(config, SystemClock())
    try:
        wait_until_ready(again)
        assert len(again.key_ring.all()) == 1
    finally:
        again.stop()


def test_a_state_directory_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    config = Config(state=State(dir=str(tmp_path / "file" / "state")))
    with pytest.raises(StateUnusable, match="state"):
        assemble(config, SystemClock())
