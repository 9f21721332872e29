import io
import os
import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from appliance.engine.supervisor import backoff_seconds
from appliance.errors import (
    DeadlineExceeded,
    HostDied,
    ModelInvalid,
    ModelUnavailable,
    PayloadTooLarge,
)
from tests.engine.running import (
    HANG_SECONDS,
    Running,
    changed,
    eventually,
    is_gone,
    running,
    stopped,
)
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


def test_the_heart_beats_as_long_as_the_supervisor_goes_round(shared: Running) -> None:
    supervisor = shared.engine.supervisor
    before = supervisor._beat
    eventually(lambda: supervisor._beat > before)
    assert 0 <= supervisor.heartbeat_age_seconds() < HANG_SECONDS


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


def kill_at_birth(engine: Running, *, times: int) -> None:
    """Kill the next hosts as soon as they are there, as a damaged file in the cache would."""
    supervisor = engine.engine.supervisor
    note_birth, left = type(supervisor)._note_birth, [times]

    def kill(token: int, process_id: int) -> None:
        if left[0]:
            left[0] -= 1
            os.kill(process_id, signal.SIGKILL)
        note_birth(supervisor, token, process_id)

    supervisor._note_birth = kill  # type: ignore[method-assign]


def test_a_crash_while_loading_drops_the_compiled_model_and_tries_once_more(
    tmp_path: Path,
) -> None:
    with running(tmp_path) as engine:
        write_colour_model(engine.models_directory, name="spoilt")
        kill_at_birth(engine, times=2)
        blob = engine.cache_directory / "spoilt" / "1" / "1.blob"
        blob.parent.mkdir(parents=True)
        blob.write_bytes(b"damaged")
        with pytest.raises(ModelInvalid, match="its process ended while loading"):
            engine.engine.load("spoilt")
        assert engine.engine.supervisor._last_token == 2
        assert not blob.exists()
        assert engine.failures == ["spoilt@1"]
        kill_at_birth(engine, times=1)
        engine.engine.load("spoilt")
        assert engine.predict("spoilt") == ("red", 1)
        assert engine.restarts == []


def test_compiled_models_are_kept_apart_by_version(shared: Running) -> None:
    shared.install("compiled")
    assert list((shared.cache_directory / "compiled" / "1").glob("*.blob"))


def test_what_was_ready_once_is_loaded_again_when_a_shortage_is_over(tmp_path: Path) -> None:
    with running(tmp_path) as engine:
        write_hungry_model(engine.models_directory, name="hungry", megabytes=400)
        engine.engine.load("hungry")
        supervisor = engine.engine.supervisor
        supervisor._config = changed(models={"memory_bytes": 650 * 1024**2})
        os.kill(engine.process_of("hungry"), signal.SIGKILL)
        eventually(lambda: engine.status("hungry").restarts >= 2)
        status = eventually(lambda: (one := engine.status("hungry")).reason and one)
        assert status.state == "starting"
        assert engine.failures == []
        supervisor._config = changed()
        engine.process_of("hungry")
        assert engine.predict("hungry")[1] == 1


def test_files_that_changed_while_it_ran_are_never_loaded_again(tmp_path: Path) -> None:
    with running(tmp_path) as engine:
        engine.install("edited")
        (engine.models_directory / "edited" / "1" / "labels.txt").write_text("x\ny\nz\n")
        os.kill(engine.process_of("edited"), signal.SIGKILL)
        eventually(lambda: engine.status("edited").state == "failed")
        assert "labels.txt of edited@1 was changed on disk" in engine.status("edited").reason
        assert engine.failures == ["edited@1"]
        assert not engine.engine.supervisor._timers or engine.status("edited").restarts == 1
        with pytest.raises(ModelUnavailable, match="was changed on disk"):
            engine.predict("edited")


def test_a_host_taken_out_of_service_before_it_was_born_is_ended_all_the_same(
    tmp_path: Path,
) -> None:
    with running(tmp_path) as engine:
        engine.install("first")
        impatient = changed(models={"start_seconds": 0.2})
        engine.engine._changes._config = engine.engine.supervisor._config = impatient
        write_colour_model(engine.models_directory, name="unborn")
        nursery = engine.nursery_process()
        with stopped(nursery), pytest.raises(ModelInvalid):
            engine.engine.load("unborn")
        engine.engine.supervisor._config = changed()
        assert nursery > 0
        eventually(lambda: len(engine.engine.supervisor._children) == 1)
        eventually(lambda: len(psutil.Process(engine.nursery_process()).children()) == 1)
        engine.process_of("first")
        assert engine.predict("first") == ("red", 1)


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


def test_a_killed_host_fails_the_calls_in_it_by_name_and_is_back(shared: Running) -> None:
    shared.install("killed")
    host = shared.process_of("killed")
    with ThreadPoolExecutor(2) as pool, stopped(host):
        calls = [pool.submit(shared.predict, "killed") for _ in range(2)]
        eventually(lambda: shared.status("killed").in_flight == 2)
        os.kill(host, signal.SIGKILL)
        for call in calls:
            with pytest.raises(HostDied, match=r"signal 9 \(SIGKILL\)") as caught:
                call.result(HANG_SECONDS)
            assert caught.value.status == 503
            assert caught.value.retry_after_seconds
    shared.process_of("killed", after=host)
    assert shared.predict("killed") == ("red", 1)
    status = shared.status("killed")
    assert (status.state, status.restarts, status.canary_ok) == ("ready", 1, True)
    assert [words for name, words in shared.restarts if name == "killed@1"] == [
        "signal 9 (SIGKILL); perhaps the kernel was out of memory"
    ]


def test_a_host_that_keeps_dying_is_started_after_growing_pauses(tmp_path: Path) -> None:
    with running(tmp_path) as engine:
        engine.install("dying")
        pauses = []
        for _ in range(4):
            os.kill(engine.process_of("dying"), signal.SIGKILL)
            status = eventually(
                # Between the closed socket and the nursery's report the reason is a shorter one.
                lambda: "its process ended" in (one := engine.status("dying")).reason and one
            )
            assert "its process ended (signal 9 (SIGKILL)" in status.reason
            assert (status.canary_ok, status.process_id) == (False, None)
            pauses.append(status.reason.partition("it is started again")[2])
        assert pauses == ["", " in 0.25 s", " in 0.5 s", " in 1 s"]
        with pytest.raises(ModelUnavailable, match="is being started: its process ended"):
            engine.predict("dying")
        engine.process_of("dying")
        assert engine.predict("dying") == ("red", 1)


def test_a_host_that_hangs_is_told_as_such_and_replaced_after_two_misses(tmp_path: Path) -> None:
    config = changed(models={"deadline_seconds": 0.5})
    with running(tmp_path, config) as engine:
        engine.install("hanging")
        host = engine.process_of("hanging")
        with stopped(host):
            with pytest.raises(DeadlineExceeded, match=r"within 0\.5 s") as caught:
                engine.predict("hanging")
            assert caught.value.status == 504
            assert engine.process_of("hanging") == host
            with pytest.raises(DeadlineExceeded):
                engine.predict("hanging")
            eventually(lambda: is_gone(host))
        engine.process_of("hanging", after=host)
        assert engine.predict("hanging") == ("red", 1)
        assert engine.restarts == [("hanging@1", "it missed 2 deadlines")]
        assert engine.status("hanging").restarts == 1


def test_a_killed_nursery_takes_all_hosts_along_and_all_come_back(tmp_path: Path) -> None:
    with running(tmp_path) as engine:
        engine.install("first")
        engine.install("second")
        hosts = {engine.process_of("first"), engine.process_of("second")}
        nursery = engine.nursery_process()
        os.kill(nursery, signal.SIGKILL)
        eventually(lambda: all(map(is_gone, [nursery, *hosts])))
        for name in ("first", "second"):
            eventually(lambda name=name: engine.status(name).restarts == 1)  # type: ignore[misc]
            assert engine.process_of(name) not in hosts
            assert engine.predict(name) == ("red", 1)
        assert "process that starts models ended: signal 9" in engine.restarts[0][1]


def test_a_stopped_engine_leaves_no_process_behind(tmp_path: Path) -> None:
    with running(tmp_path) as engine:
        engine.install("ended")
        engine.install("hung")
        processes = [engine.nursery_process()]
        processes += [engine.process_of("ended"), engine.process_of("hung")]
        os.kill(processes[-1], signal.SIGSTOP)
        engine.engine.stop()
        eventually(lambda: all(map(is_gone, processes)))
        assert engine.status("ended").state == "stopped"
        with pytest.raises(ModelUnavailable):
            engine.predict("ended")
        assert not engine.engine.supervisor._thread.is_alive()
