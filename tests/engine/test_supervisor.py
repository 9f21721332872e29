import io
import os
import signal
from pathlib import Path

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from appliance.engine.supervisor import backoff_seconds
from appliance.errors import ModelInvalid, PayloadTooLarge
from tests.engine.running import Running, changed, eventually, is_gone, running, stopped
from tests.tiny_models import write_colour_model, write_hungry_model


def test_pauses_double_up_to_the_longest() -> None:
    pauses = [backoff_seconds(deaths, longest_seconds=3) for deaths in range(7)]
    assert pauses == [0, 0, 0.25, 0.5, 1, 2, 3]


@given(st.integers(0, 10**9), st.floats(0.1, 1e6))
def test_a_pause_is_never_longer_than_the_longest(deaths: int, longest: float) -> None:
    assert 0 <= backoff_seconds(deaths, longest_seconds=longest) <= longest


def test_the_second_host_is_forked_from_the_same_nursery(shared: Running) -> None:
    shared.install("one")
    shared.install("two")
    parents = {psutil.Process(shared.process_of(name)).ppid() for name in ("one", "two")}
    assert parents == {shared.nursery_process()}


def test_the_heart_beats_as_long_as_the_supervisor_goes_round(tmp_path: Path) -> None:
    with running(tmp_path) as engine:
        eventually(lambda: engine.engine.supervisor.heartbeat_age_seconds() < 5)
    beat = engine.engine.supervisor._beat
    assert engine.engine.supervisor._beat == beat


def test_a_step_that_fails_is_not_the_last(shared: Running) -> None:
    supervisor = shared.engine.supervisor

    def fail() -> None:
        raise ZeroDivisionError

    supervisor._post(fail)
    supervisor._post(lambda: supervisor._after(0, fail))
    shared.install("afterwards")
    assert shared.predict("afterwards") == ("red", 1)


def test_a_load_that_takes_too_long_is_ended_and_told(tmp_path: Path) -> None:
    with running(tmp_path, changed(models={"start_seconds": 0.001})) as engine:
        write_colour_model(engine.models_directory, name="slow")
        with pytest.raises(ModelInvalid, match=r"did not load within 0\.001 s"):
            engine.engine.load("slow")
        eventually(lambda: not engine.engine.supervisor._children)


def test_a_start_that_takes_too_long_is_tried_again(tmp_path: Path) -> None:
    with running(tmp_path, changed(models={"start_seconds": 0.001})) as engine:
        write_colour_model(engine.models_directory, name="slow")
        engine.engine.start({})
        eventually(lambda: engine.status("slow").restarts >= 2)
        status = engine.status("slow")
        assert status.state == "starting"
        assert "did not load within 0.001 s (models.start_seconds)" in status.reason


def test_a_process_that_dies_while_a_trial_loads_fails_the_trial_at_once(
    tmp_path: Path,
) -> None:
    with running(tmp_path, changed(models={"memory_bytes": 1024})) as engine:
        write_colour_model(engine.models_directory, name="starved")
        with pytest.raises(ModelInvalid, match="failed to load 'starved@1'"):
            engine.engine.load("starved")
        assert engine.failures == ["starved@1"]
        assert engine.status("starved").state == "stopped"
        # At a start somebody relies on it, so it is tried again, with the reason shown.
        engine.engine.start({})
        eventually(lambda: engine.status("starved").reason)
        assert engine.status("starved").state in ("starting", "failed")
        eventually(lambda: engine.engine.supervisor.heartbeat_age_seconds() < 5)


def test_an_input_that_needs_too_much_memory_is_refused_and_the_parent_unaffected(
    tmp_path: Path,
) -> None:
    with running(tmp_path, changed(models={"memory_bytes": 1536 * 1024**2})) as engine:
        write_hungry_model(engine.models_directory, name="small", megabytes=1)
        engine.engine.load("small")
        write_hungry_model(engine.models_directory, name="hungry", megabytes=4096)
        before = psutil.Process().memory_info().rss
        with pytest.raises(ModelInvalid):
            engine.engine.load("hungry")
        assert psutil.Process().memory_info().rss - before < 100 * 1024**2
        assert engine.predict("small")[1] == 1


def test_a_picture_that_needs_too_much_memory_is_refused_and_the_host_lives(
    tmp_path: Path,
) -> None:
    limits = {"models": {"memory_bytes": 900 * 1024**2}, "limits": {"image_pixels": 400_000_000}}
    buffer = io.BytesIO()
    Image.new("1", (16_000, 16_000)).save(buffer, "PNG")  # 256 MB, and as RGB a gigabyte
    with running(tmp_path, changed(**limits)) as engine:
        engine.install("tight")
        host = engine.process_of("tight")
        with pytest.raises(PayloadTooLarge, match="more memory"):
            engine.predict("tight", body=buffer.getvalue())
        assert engine.process_of("tight") == host
        assert engine.predict("tight") == ("red", 1)


def test_a_nursery_that_hangs_is_replaced(tmp_path: Path) -> None:
    with running(tmp_path) as engine:
        engine.install("alive")
        host, nursery = engine.process_of("alive"), engine.nursery_process()
        with stopped(nursery):
            os.kill(host, signal.SIGKILL)
            eventually(lambda: is_gone(nursery))
        engine.process_of("alive", after=host)
        assert engine.nursery_process() != nursery
        assert engine.predict("alive") == ("red", 1)


def test_hosts_bear_the_models_name_and_no_privilege_to_grow(shared: Running) -> None:
    shared.install("named")
    process = psutil.Process(shared.process_of("named"))
    assert process.name() == "ia-named"
    assert process.rlimit(psutil.RLIMIT_CORE) == (0, 0)
    assert process.rlimit(psutil.RLIMIT_AS) == (4 * 1024**3, 4 * 1024**3)
    assert Path(f"/proc/{process.pid}/oom_score_adj").read_text().strip() == "500"
