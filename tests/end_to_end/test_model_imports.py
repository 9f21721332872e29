"""Models installed while the appliance runs, is killed and answers (C-52, 78, 90, 93)."""

import http.client
import json
import os
import threading
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from tests.end_to_end.conftest import Start
from tests.end_to_end.running import Running, wait_for
from tests.shared_data import shared_file
from tests.tiny_formats import onnx_model, zipped
from tests.tiny_models import picture, write_colour_model

LABELS = b"red\ngreen\nblue\n"
GOOD = zipped({"m.onnx": onnx_model(), "labels.txt": LABELS})
WHOLE_BYTES = 2_000_000


def install(
    running: Running, body: bytes, *, name: str = "tiny", **said: str
) -> tuple[int, dict[str, Any]]:
    query = urlencode({"name": name, "wait": "100", **said})
    answer = running.call(
        "POST",
        f"/api/v1/models?{query}",
        body,
        headers={"Content-Type": "application/zip"},
        timeout_seconds=120,
    )
    return answer.status, answer.json()


def versions(running: Running, name: str) -> dict[int, str]:
    answer = running.get(f"/api/v1/models/{name}")
    if answer.status == 404:
        return {}
    return {one["version"]: one["state"] for one in answer.json()["versions"]}


def incoming(state: Path) -> list[str]:
    return [path.name for path in (state / "models" / ".incoming").glob("*")]


def test_install_activate_and_predict_over_http_and_after_a_restart(start_one: Start) -> None:
    running = start_one(has_models=False)
    status, done = install(running, GOOD, scale="1", activate="true")
    assert (status, done["state"], done["is_active"]) == (201, "ready", True), done
    answer = running.predict(picture("blue"), model="tiny").json()
    assert answer["result"]["predictions"][0]["label"] == "blue"
    status, done = install(running, GOOD)
    assert (status, done["version"], done["is_active"]) == (201, 2, False)
    running.stop()
    again = start_one(running.state, has_models=False)
    again.wait_until_ready()
    answer = again.predict(picture("red"), model="tiny").json()
    assert (answer["version"], answer["result"]["predictions"][0]["label"]) == (1, "red")
    assert set(versions(again, "tiny")) == {1, 2}


def test_a_model_nobody_activated_does_not_answer_after_a_restart(start_one: Start) -> None:
    running = start_one(has_models=False)
    assert install(running, GOOD)[0] == 201
    running.stop()
    again = start_one(running.state, has_models=False)
    again.wait_until_ready()
    assert again.predict(picture("red"), model="tiny").status == 503


def test_a_bad_model_under_load_leaves_no_gap(start_one: Start) -> None:
    """C-78, C-90: refused with the reason, and what is served never notices."""
    running = start_one()
    running.wait_until_ready()
    place = write_colour_model(running.state.parent / "made", name="colour", golden_label="green")
    bad = zipped(
        {
            str(path.relative_to(place.directory)): path.read_bytes()
            for path in place.directory.rglob("*")
            if path.is_file()
        }
    )
    done, faults, calls = threading.Event(), [], 0

    def call() -> None:
        nonlocal calls
        while not done.is_set():
            answer = running.predict(picture("red"))
            calls += 1
            if answer.status != 200 or answer.json()["version"] != 1:
                faults.append(answer)

    threads = [threading.Thread(target=call) for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        for body in (bad, zipped({"m.onnx": onnx_model()[:90]}), b"\x80\x02}q\x00."):
            status, problem = install(running, body, name="colour", activate="true")
            assert status in (415, 422)
            assert problem["detail"]
    finally:
        done.set()
        for thread in threads:
            thread.join()
    assert faults == []
    assert calls > 10
    assert incoming(running.state) == []


def begin_upload(running: Running, sent_bytes: int) -> http.client.HTTPConnection:
    """Send the head and the first bytes of an upload, and wait until they were read."""
    connection = http.client.HTTPConnection("127.0.0.1", running.port, timeout=60)
    connection.putrequest("POST", "/api/v1/models?name=tiny")
    connection.putheader("X-API-Key", running.key)
    connection.putheader("Content-Length", str(WHOLE_BYTES))
    connection.endheaders()
    connection.send(os.urandom(sent_bytes))
    wait_for(lambda: running.get("/live", key=None).status == 200, "the bytes to arrive")
    return connection


@pytest.mark.timeout(400)  # eleven starts of the appliance
def test_a_kill_at_each_tenth_of_an_upload_leaves_nothing(start_one: Start) -> None:
    """C-52, while the bytes arrive."""
    running = start_one(has_models=False)
    for tenth in range(10):
        connection = begin_upload(running, WHOLE_BYTES * tenth // 10)
        running.kill()
        connection.close()
        running = start_one(running.state, has_models=False)
        assert versions(running, "tiny") == {}
        assert incoming(running.state) == []
        assert list((running.state / "spool").iterdir()) == []


def is_at(running: Running, number: int, *states: str) -> bool:
    answer = running.get(f"/api/v1/models/tiny/versions/{number}")
    return answer.status == 200 and answer.json()["state"] in states


def test_a_kill_during_an_import_ends_in_a_whole_version_or_none(start_one: Start) -> None:
    """C-52, after the answer: what was accepted becomes ready, once; nothing is left behind."""
    running = start_one(has_models=False)
    for number, stage in enumerate(("importing", "validating"), start=1):
        assert running.call("POST", "/api/v1/models?name=tiny", GOOD).status == 202
        reached = partial(is_at, running, number, stage, "validating", "ready")
        wait_for(reached, stage)
        running.kill()
        running = start_one(running.state, has_models=False)
        wait_for(partial(is_at, running, number, "ready"), "the import to go on")
    state = running.state
    wait_for(lambda: incoming(state) == [], "the import to clean up")
    assert sorted(versions(running, "tiny")) == [1, 2]


def test_a_version_that_is_active_is_not_removed(start_one: Start) -> None:
    """C-93."""
    running = start_one()
    running.wait_until_ready()
    assert install(running, GOOD, name="colour")[0] == 201
    refused = running.call("DELETE", "/api/v1/models/colour/versions/1")
    assert (refused.status, refused.problem) == (409, "conflict")
    assert running.call("DELETE", "/api/v1/models/colour/versions/2").status == 204
    assert set(versions(running, "colour")) == {1}


def test_the_command_line_installs_lists_and_removes(start_one: Start, tmp_path: Path) -> None:
    running = start_one(has_models=False)
    (tmp_path / "m.onnx").write_bytes(onnx_model())
    (tmp_path / "labels.txt").write_bytes(LABELS)
    path = str(tmp_path / "m.onnx")
    shown = running.command("model", "inspect", path)
    assert "image-classification" in shown.stdout, shown
    done = running.command("model", "install", path, "--name", "tiny", "--activate")
    assert "tiny@1 is active" in done.stdout, done
    done = running.command("model", "install", path, "--name", "tiny", "--json")
    assert json.loads(done.stdout)["version"] == 2
    assert "tiny" in running.command("model", "list").stdout
    assert running.command("model", "remove", "tiny", "2").returncode == 0
    refused = running.command("model", "remove", "tiny", "1")
    assert refused.returncode == 1
    assert "active" in refused.stderr
    (tmp_path / "bad.pt").write_bytes(b"\x80\x02}q\x00.")
    refused = running.command("model", "install", str(tmp_path / "bad.pt"), "--name", "bad")
    assert (refused.returncode, "ONNX" in refused.stderr) == (1, True)


def test_one_command_makes_a_detector_of_a_file(start_one: Start) -> None:
    running = start_one(has_models=False)
    model = shared_file("models/yolox/yolox_nano.onnx")
    done = running.command("model", "install", str(model), "--name", "yolox", "--activate")
    assert "yolox@1 is active" in done.stdout, done
    photo = next(iter(sorted(model.parents[2].glob("coco/**/*.jpg"))))
    answer = running.predict(photo.read_bytes(), model="yolox", content_type="image/jpeg").json()
    assert all(one["label"] for one in answer["result"]["objects"])
