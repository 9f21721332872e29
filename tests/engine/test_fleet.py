"""Hosts start when they are needed, end when they are not, and are never too many."""

import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

from appliance.errors import ModelUnavailable, Overloaded
from tests.engine.running import (
    HANG_SECONDS,
    Running,
    changed,
    eventually,
    is_gone,
    running,
    stopped,
)
from tests.tiny_models import write_colour_model

LAZY = {"limits": {"waiting_seconds": HANG_SECONDS}}


def test_a_lazy_model_starts_with_its_first_request_which_waits(tmp_path: Path) -> None:
    with running(tmp_path, changed(models={"preload": False}, **LAZY)) as engine:
        write_colour_model(engine.models_directory, name="lazy")
        engine.engine.start({})
        status = engine.status("lazy")
        assert (status.state, status.is_active, status.is_answering) == ("idle", True, True)
        assert status.process_id is None
        with ThreadPoolExecutor(4) as pool:
            answers = [pool.submit(engine.predict, "lazy") for _ in range(4)]
            assert {answer.result(HANG_SECONDS) for answer in answers} == {("red", 1)}
        assert engine.status("lazy").restarts == 0


def test_an_idle_model_ends_and_the_next_request_brings_it_back(tmp_path: Path) -> None:
    with running(tmp_path, changed(models={"idle_seconds": 0.001}, **LAZY)) as engine:
        engine.install("sleepy")
        host = engine.process_of("sleepy")
        eventually(lambda: engine.engine.end_idle() or is_gone(host))
        status = engine.status("sleepy")
        assert (status.state, status.is_active, status.is_answering) == ("idle", True, True)
        assert status.inputs  # what it takes is still known
        assert engine.engine.active_versions() == {"sleepy": 1}
        assert list(engine.engine.ready_versions()) == []
        assert engine.predict("sleepy") == ("red", 1)
        assert engine.restarts == []


def test_a_model_that_works_is_not_idle(tmp_path: Path) -> None:
    with running(tmp_path, changed(models={"idle_seconds": 0.001})) as engine:
        engine.install("busy")
        host = engine.process_of("busy")
        with ThreadPoolExecutor(1) as pool:
            with stopped(host):
                answer = pool.submit(engine.predict, "busy")
                eventually(lambda: engine.status("busy").in_flight == 1)
                engine.engine.end_idle()
                assert engine.status("busy").state == "ready"
            assert answer.result(HANG_SECONDS) == ("red", 1)


def test_calls_and_sleep_at_once_fail_no_call(tmp_path: Path) -> None:
    with running(tmp_path, changed(models={"idle_seconds": 0.02}, **LAZY)) as engine:
        engine.install("restless")
        with ThreadPoolExecutor(2) as pool:
            asked = [pool.submit(engine.predict, "restless") for _ in range(30)]
            while not all(one.done() for one in asked):
                engine.engine.end_idle()
                time.sleep(0.005)
            assert {one.result(HANG_SECONDS) for one in asked} == {("red", 1)}


def test_without_idle_seconds_an_active_model_never_ends(tmp_path: Path) -> None:
    with running(tmp_path) as engine:
        engine.install("steady")
        engine.served("steady").last_used -= 1e9
        engine.engine.end_idle()
        assert engine.status("steady").state == "ready"


def test_an_unloaded_model_is_not_started_at_the_next_start(tmp_path: Path) -> None:
    with running(tmp_path) as engine:
        write_colour_model(engine.models_directory, name="off")
        engine.engine.start({"off": None})
        assert engine.status("off").state == "stopped"
        assert engine.engine.active_versions() == {}
        with pytest.raises(ModelUnavailable, match="No version of off is active"):
            engine.predict("off")


def test_an_unloaded_model_answers_by_no_number_until_it_is_loaded(tmp_path: Path) -> None:
    with running(tmp_path, changed(**LAZY)) as engine:
        engine.install("shut")
        for version in (2, 3):
            write_colour_model(engine.models_directory, name="shut", version=version)
        assert engine.predict("shut", version=2) == ("red", 2)
        engine.engine.unload("shut")
        for version in (1, 2, 3):
            with pytest.raises(ModelUnavailable):
                engine.predict("shut", version=version)
        engine.engine.load("shut", 1)
        for version in (1, 2, 3):
            assert engine.predict("shut", version=version) == ("red", version)


# Versions called by their number


def test_versions_by_number_are_bounded_and_the_least_used_ends(tmp_path: Path) -> None:
    with running(tmp_path, changed(models={"extra_hosts": 2}, **LAZY)) as engine:
        engine.install("many")
        for version in (2, 3, 4):
            write_colour_model(engine.models_directory, name="many", version=version)
            assert engine.predict("many", version=version) == ("red", version)
            if version == 2:
                second = engine.process_of("many", 2)
        eventually(lambda: is_gone(second))
        states = [one.state for one in engine.engine.models()]
        assert states == ["ready", "stopped", "ready", "ready"]
        assert engine.predict("many") == ("red", 1)


def test_busy_versions_are_not_ended_for_another(tmp_path: Path) -> None:
    with running(tmp_path, changed(models={"extra_hosts": 1}, **LAZY)) as engine:
        engine.install("full")
        for version in (2, 3):
            write_colour_model(engine.models_directory, name="full", version=version)
        assert engine.predict("full", version=2) == ("red", 2)
        with ThreadPoolExecutor(1) as pool:
            with stopped(engine.process_of("full", 2)):
                answer = pool.submit(engine.predict, "full", version=2)
                eventually(lambda: engine.status("full", 2).in_flight == 1)
                with pytest.raises(Overloaded, match=r"models\.extra_hosts"):
                    engine.predict("full", version=3)
            assert answer.result(HANG_SECONDS) == ("red", 2)


def test_a_version_by_number_ends_when_nobody_calls_it(tmp_path: Path) -> None:
    with running(tmp_path, changed(models={"extra_idle_seconds": 0.001}, **LAZY)) as engine:
        engine.install("brief")
        write_colour_model(engine.models_directory, name="brief", version=2)
        assert engine.predict("brief", version=2) == ("red", 2)
        host = engine.process_of("brief", 2)
        eventually(lambda: engine.engine.end_idle() or is_gone(host))
        assert engine.status("brief", 2).state == "stopped"
        assert engine.predict("brief") == ("red", 1)
        assert engine.predict("brief", version=2) == ("red", 2)


# Memory and cores


def tree_bytes(engine: Running) -> int:
    """Return the memory of the nursery and its hosts, shared pages counted once."""
    nursery = psutil.Process(engine.nursery_process())
    tree = [nursery, *nursery.children(recursive=True)]
    return sum(process.memory_full_info().pss for process in tree)


def test_c92_memory_comes_back_with_every_unload(tmp_path: Path) -> None:
    with running(tmp_path) as engine:
        engine.install("cycled")
        after_ten = 0
        for cycle in range(20):
            engine.engine.unload("cycled")
            eventually(lambda: len(psutil.Process(engine.nursery_process()).children()) == 0)
            if cycle == 10:
                after_ten = tree_bytes(engine)
            engine.engine.load("cycled")
        engine.engine.unload("cycled")
        eventually(lambda: len(psutil.Process(engine.nursery_process()).children()) == 0)
        assert tree_bytes(engine) - after_ten < 32 * 1024**2


def test_weights_share_the_cores_among_the_models(tmp_path: Path) -> None:
    with running(tmp_path, changed(models={"weights": ("heavy=3",)})) as engine:
        engine.engine._fleet._cores = 8
        for name in ("heavy", "light"):
            write_colour_model(engine.models_directory, name=name)
        engine.engine.start({})
        assert engine.engine._fleet.threads_of("heavy") == 6
        assert engine.engine._fleet.threads_of("light") == 2
        engine.process_of("heavy")
        engine.process_of("light")
        engine.engine.unload("heavy")
        assert engine.engine._fleet.threads_of("light") == 8


def test_a_wake_that_fails_is_told_and_tried_again(tmp_path: Path) -> None:
    with running(tmp_path, changed(models={"idle_seconds": 0.001}, **LAZY)) as engine:
        engine.install("waking")
        host = engine.process_of("waking")
        eventually(lambda: engine.engine.end_idle() or is_gone(host))
        nursery = engine.nursery_process()
        os.kill(nursery, signal.SIGKILL)
        eventually(lambda: is_gone(nursery))
        assert engine.predict("waking") == ("red", 1)
