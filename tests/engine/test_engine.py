import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from appliance.errors import (
    Conflict,
    ModelInvalid,
    ModelUnavailable,
    NotFound,
    Overloaded,
    Problem,
)
from tests.engine.running import (
    CONFIG,
    HANG_SECONDS,
    Running,
    eventually,
    is_gone,
    running,
    stopped,
)
from tests.tiny_models import change, picture, substitute, write_colour_model

OTHER = ("rouge", "vert", "bleu")


def test_a_call_is_answered_by_the_models_host(shared: Running) -> None:
    shared.install("answers")
    assert shared.predict("answers", "blue") == ("blue", 1)
    status = shared.status("answers")
    assert (status.state, status.is_active, status.canary_ok) == ("ready", True, True)
    assert status.statistics.success_count == 1
    assert status.labels == {"colour": ("red", "green", "blue")}
    assert ("answers@1", "ok") in shared.calls


def test_the_reply_says_who_answered_and_how_long_each_step_took(shared: Running) -> None:
    shared.install("timed")
    header = {"method": "predict", "params": {"top_k": 1}, "content_type": "image/png"}
    since = time.monotonic() - 0.125
    reply, _ = shared.engine.call("timed", None, header, picture(), waiting_since=since)
    assert (reply["model"], reply["version"]) == ("timed", 1)
    assert reply["task"] == "image-classification"
    assert reply["queue"] >= 0.125
    assert all(seconds > 0 for seconds in reply["timing"])
    assert reply["confidence"] == pytest.approx(1)


def test_a_hosts_own_problem_comes_through_and_is_counted(shared: Running) -> None:
    shared.install("refuses")
    with pytest.raises(Problem) as caught:
        shared.predict("refuses", body=b"no picture")
    assert caught.value.status == 415
    assert ("refuses@1", "unsupported-media") in shared.calls
    assert shared.status("refuses").statistics.fail_count == 1


@pytest.mark.parametrize("name", ["nobody", "../answers", "", "x" * 500, "a\0b"])
def test_an_unknown_model_is_not_found(shared: Running, name: str) -> None:
    for ask in (
        lambda: shared.predict(name),
        lambda: shared.engine.status(name, None),
        lambda: shared.engine.task_of(name, None),
        lambda: shared.engine.load(name),
        lambda: shared.engine.unload(name),
        lambda: shared.engine.activate(name, 1),
    ):
        with pytest.raises(NotFound, match="unknown model"):
            ask()


def test_an_unknown_version_is_told_with_the_known_ones(shared: Running) -> None:
    shared.install("versioned")
    write_colour_model(shared.models_directory, name="versioned", version=3)
    with pytest.raises(NotFound, match=r"no version 2. It has: 1, 3"):
        shared.predict("versioned", version=2)


def test_every_installed_version_has_a_status(shared: Running) -> None:
    shared.install("listed")
    write_colour_model(shared.models_directory, name="listed", version=2)
    found = [
        (one.version, one.state, one.is_active)
        for one in shared.engine.models()
        if one.name == "listed"
    ]
    assert found == [(1, "ready", True), (2, "stopped", False)]
    assert shared.engine.task_of("listed", 2) == "image-classification"


# Start


def test_a_start_takes_the_active_versions_and_else_the_newest(tmp_path: Path) -> None:
    with running(tmp_path) as engine:
        for name in ("pinned", "free", "lost"):
            write_colour_model(engine.models_directory, name=name, version=1)
            write_colour_model(engine.models_directory, name=name, version=2)
        engine.engine.start({"pinned": 1, "lost": 9, "absent": 1})
        assert engine.engine.active_versions() == {"pinned": 1, "free": 2, "lost": 2}
        engine.process_of("pinned")
        assert engine.predict("pinned") == ("red", 1)


def test_a_broken_manifest_does_not_keep_the_other_models_from_starting(tmp_path: Path) -> None:
    with running(tmp_path) as engine:
        write_colour_model(engine.models_directory, name="good")
        broken = write_colour_model(engine.models_directory, name="broken")
        (broken.directory / "manifest.toml").write_text("name = ")
        engine.engine.start({})
        engine.process_of("good")
        assert engine.predict("good") == ("red", 1)
        status = engine.status("broken")
        assert (status.state, status.is_active) == ("failed", True)
        assert "manifest.toml of broken@1 is not valid" in status.reason
        with pytest.raises(ModelUnavailable, match=r"could not be started.*administrator"):
            engine.predict("broken")
        with pytest.raises(ModelUnavailable, match="could not be started"):
            engine.engine.task_of("broken", None)
        with pytest.raises(ModelInvalid, match="failed to load 'broken@1'"):
            engine.engine.load("broken")


def test_a_model_of_an_unknown_task_has_failed_with_the_known_tasks(tmp_path: Path) -> None:
    with running(tmp_path) as engine:
        write_colour_model(engine.models_directory, name="odd", task="face-recognition")
        engine.engine.start({})
        status = eventually(lambda: (one := engine.status("odd")).state == "failed" and one)
        assert "There is no task 'face-recognition'" in status.reason
        assert "image-classification" in status.reason
        assert engine.failures == ["odd@1"]
        with pytest.raises(ModelUnavailable, match="no task 'face-recognition'"):
            engine.predict("odd")
        with pytest.raises(ModelUnavailable, match="no task 'face-recognition'"):
            engine.engine.task_of("odd", None)


def test_a_version_in_another_ones_place_is_refused(shared: Running) -> None:
    place = write_colour_model(shared.models_directory, name="misplaced")
    change(place, "manifest.toml", substitute('"misplaced"', '"colour"'))
    with pytest.raises(ModelInvalid, match="that of colour@1, but it lies at the place of"):
        shared.engine.load("misplaced")


# Load, activate, unload


def test_activating_a_version_lets_it_answer_and_ends_the_old_host(shared: Running) -> None:
    shared.install("switched")
    old = shared.process_of("switched")
    write_colour_model(shared.models_directory, name="switched", version=2, labels=OTHER)
    assert shared.engine.activate("switched", 2) == 1
    assert shared.predict("switched") == ("rouge", 2)
    eventually(lambda: is_gone(old))
    assert [one.state for one in shared.engine.models() if one.name == "switched"] == [
        "stopped",
        "ready",
    ]
    assert shared.engine.activate("switched", 1) == 2
    assert shared.predict("switched") == ("red", 1)


def test_activating_the_active_version_is_a_conflict(shared: Running) -> None:
    shared.install("twice")
    with pytest.raises(Conflict, match="already active"):
        shared.engine.activate("twice", 1)


def test_a_version_that_fails_its_golden_sample_leaves_the_old_one_serving(
    shared: Running,
) -> None:
    shared.install("proven")
    host = shared.process_of("proven")
    write_colour_model(shared.models_directory, name="proven", version=2, golden_label="green")
    with pytest.raises(ModelInvalid, match=r"expected 'green'.*got 'red'"):
        shared.engine.activate("proven", 2)
    assert shared.predict("proven") == ("red", 1)
    assert shared.process_of("proven") == host
    assert shared.engine.active_versions()["proven"] == 1
    assert shared.status("proven", 2).state == "stopped"
    assert "proven@2" in shared.failures


def test_a_version_changed_on_disk_is_not_loaded(shared: Running) -> None:
    shared.install("changed")
    place = write_colour_model(shared.models_directory, name="changed", version=2)
    (place.directory / "labels.txt").write_text("green\nred\nblue\n")
    with pytest.raises(ModelInvalid, match=r"labels\.txt of changed@2 was changed on disk"):
        shared.engine.activate("changed", 2)
    assert shared.predict("changed") == ("red", 1)


def test_loading_anew_replaces_the_host_without_a_gap(shared: Running) -> None:
    shared.install("renewed")
    before = shared.process_of("renewed")
    shared.engine.load("renewed")
    assert shared.process_of("renewed") != before
    assert shared.predict("renewed") == ("red", 1)
    eventually(lambda: is_gone(before))


def test_activating_a_version_that_answered_by_its_number_ends_the_old_one(
    shared: Running,
) -> None:
    shared.install("numbered")
    write_colour_model(shared.models_directory, name="numbered", version=2)
    eventually(lambda: _answers(shared, "numbered", 2))
    first, second = shared.process_of("numbered", 1), shared.process_of("numbered", 2)
    shared.engine.activate("numbered", 2)
    eventually(lambda: is_gone(first) and is_gone(second))
    assert shared.predict("numbered") == ("red", 2)


def _answers(engine: Running, name: str, version: int) -> bool:
    try:
        return engine.predict(name, version=version) == ("red", version)
    except ModelUnavailable:
        return False


def test_a_model_that_was_only_installed_is_not_active(shared: Running) -> None:
    write_colour_model(shared.models_directory, name="uploaded")
    with pytest.raises(ModelUnavailable, match="No version of uploaded is active"):
        shared.predict("uploaded")
    assert shared.status("uploaded").state == "stopped"


def test_unloading_ends_the_process_and_says_so_until_it_is_loaded_again(
    shared: Running,
) -> None:
    shared.install("unloaded")
    host = shared.process_of("unloaded")
    shared.engine.unload("unloaded")
    status = shared.status("unloaded")
    assert (status.state, status.is_active, status.process_id) == ("stopped", False, None)
    with pytest.raises(ModelUnavailable, match="unloaded@1 is not loaded"):
        shared.predict("unloaded")
    eventually(lambda: is_gone(host))
    assert "unloaded" not in shared.engine.active_versions()
    shared.engine.load("unloaded")
    assert shared.predict("unloaded") == ("red", 1)
    assert not [name for name, _ in shared.restarts if name == "unloaded@1"]


def test_unloading_lets_running_calls_finish(shared: Running) -> None:
    shared.install("drained")
    host = shared.process_of("drained")
    with ThreadPoolExecutor(1) as pool:
        with stopped(host):
            answer = pool.submit(shared.predict, "drained")
            eventually(lambda: shared.status("drained").in_flight == 1)
            shared.engine.unload("drained")
        assert answer.result(HANG_SECONDS) == ("red", 1)
    eventually(lambda: is_gone(host))


def test_a_second_change_while_one_runs_is_a_conflict(shared: Running) -> None:
    shared.install("contended")
    shared.install("neighbour")
    changing = shared.engine._changes._changing("contended")
    with changing:
        shared.engine.load("neighbour")
        with pytest.raises(Conflict, match="Another change of contended runs"):
            shared.engine.unload("contended")
    assert shared.predict("contended") == ("red", 1)


def test_swaps_under_load_fail_no_call_and_never_mix_versions(shared: Running) -> None:
    shared.install("swapped")
    write_colour_model(shared.models_directory, name="swapped", version=2, labels=OTHER)
    is_over = threading.Event()
    content = {1: "red", 2: "rouge"}

    def ask() -> dict[int, int]:
        counts = {1: 0, 2: 0}
        while not is_over.is_set():
            label, version = shared.predict("swapped")
            assert label == content[version]
            counts[version] += 1
        return counts

    with ThreadPoolExecutor(4) as pool:
        clients = [pool.submit(ask) for _ in range(4)]
        try:
            for number in range(8):
                shared.engine.activate("swapped", 2 - number % 2)
        finally:
            is_over.set()
        counts = [client.result(HANG_SECONDS) for client in clients]
    assert all(sum(one[version] for one in counts) for version in content)
    assert not [outcome for name, outcome in shared.calls if "swapped" in name and outcome != "ok"]


# Bounds


def test_more_calls_than_places_wait_and_more_than_may_wait_are_refused(
    shared: Running,
) -> None:
    shared.install("busy")
    host = shared.process_of("busy")
    admission = shared.served("busy").admission
    with ThreadPoolExecutor(4) as pool:
        with stopped(host):
            inside = [pool.submit(shared.predict, "busy") for _ in range(2)]
            eventually(lambda: shared.status("busy").in_flight == 2)
            waiting = [pool.submit(shared.predict, "busy") for _ in range(2)]
            eventually(lambda: admission.waiting == 2)
            with pytest.raises(Overloaded, match="waiting line is full") as caught:
                shared.predict("busy")
            assert caught.value.retry_after_seconds
            for one in waiting:
                with pytest.raises(Overloaded, match="stayed busy"):
                    one.result(HANG_SECONDS)
        assert [one.result(HANG_SECONDS) for one in inside] == [("red", 1)] * 2
    assert shared.predict("busy") == ("red", 1)
    assert shared.status("busy").in_flight == 0


def test_an_engine_that_was_never_started_can_be_stopped(tmp_path: Path) -> None:
    from appliance.engine.engine import Engine

    engine = Engine(
        CONFIG,
        models_directory=tmp_path,
        cache_directory=tmp_path,
        threads=1,
        on_call=lambda *_: None,
        on_restart=lambda *_: None,
        on_load_failed=lambda *_: None,
    )
    engine.stop()
    engine.stop()
