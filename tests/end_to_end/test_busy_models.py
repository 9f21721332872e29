"""Changes of models while others work or wait for them (group G of the catalogue of tests)."""

import statistics
import threading
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from appliance.host.openvino_import import ov
from appliance.library.checksums import write_sums
from tests.end_to_end.conftest import Start
from tests.end_to_end.running import HANG_SECONDS, Running, wait_for
from tests.end_to_end.test_jobs import form
from tests.tiny_models import picture, write_colour_model

_SIDE = 1024


def write_slow_model(models: Path, *, rounds: int) -> None:
    """Write a classifier that works for seconds before it answers: `rounds` products of matrices
    of 1024 by 1024, each two thousand million operations.
    """
    place = write_colour_model(models, name="slow", has_golden=False)
    ops = ov.opset13
    image = ops.parameter([1, 3, 8, 8], np.float32, name="image")
    image.output(0).set_names({"image"})
    colours = ops.reduce_mean(image, np.array([2, 3]), keep_dims=False)
    square = np.random.default_rng(1).normal(size=(_SIDE, _SIDE)).astype(np.float32) / 40
    value = ops.broadcast(ops.reduce_mean(colours, np.array([1]), True), [_SIDE, _SIDE])
    for _ in range(rounds):
        value = ops.tanh(ops.matmul(value, ops.constant(square), False, False))
    nothing = ops.multiply(ops.reduce_mean(value, np.array([0, 1]), False), np.float32(0))
    scores = ops.add(colours, nothing)
    scores.output(0).set_names({"colour"})
    ov.save_model(ov.Model([scores], [image], "slow"), place.directory / "model.xml")
    (place.directory / "SHA256SUMS").unlink()
    write_sums(place.directory)


class Caller:
    """One client that asks `colour` without a pause."""

    def __init__(self, appliance: Running) -> None:
        self._appliance = appliance
        self._is_over = threading.Event()
        self.seconds: list[float] = []
        self.faults: list[Any] = []
        self._thread = threading.Thread(target=self._ask)
        self._thread.start()

    def _ask(self) -> None:
        while not self._is_over.is_set():
            started = time.monotonic()
            answer = self._appliance.predict(picture("red"))
            self.seconds.append(time.monotonic() - started)
            if answer.status != 200:
                self.faults.append(answer)

    def end(self) -> None:
        self._is_over.set()
        self._thread.join(HANG_SECONDS)


def test_c94_other_models_answer_while_a_slow_one_is_activated(
    start_one: Start, short_path: Path
) -> None:
    """What they lose in speed while both compute is the cores' business, and not asserted."""
    state = short_path / "state"
    write_colour_model(state / "models")
    write_slow_model(state / "models", rounds=30)
    state.chmod(0o700)
    running = start_one(state, MODELS__PRELOAD="false")
    assert running.call("POST", "/api/v1/models/slow/unload").status == 200
    caller = Caller(running)
    try:
        wait_for(lambda: len(caller.seconds) >= 20, "calls before")
        before = len(caller.seconds)
        started = time.monotonic()
        told = running.call("POST", "/api/v1/models/slow/versions/1/activate")
        taken = time.monotonic() - started
        during = caller.seconds[before:]
    finally:
        caller.end()
    assert told.status == 200, told
    assert caller.faults == []
    assert len(during) > 1, "no call waits for another model's activation"
    assert statistics.median(during) < taken


def test_c93_a_version_that_waiting_jobs_need_stays_until_they_end(start_one: Start) -> None:
    running = start_one()
    write_colour_model(running.state / "models", version=2)
    assert running.stop() == 0
    running = start_one(running.state, JOBS__RUNNERS=1)
    body, headers = form(*((f"{n}.png", "image/png", picture("red")) for n in range(6)))
    jobs = []
    for _ in range(4):  # one after the other, so that the last waits for some seconds
        sent = running.call("POST", "/api/v1/models/colour/batch", body, headers=headers)
        assert sent.status == 202, sent
        jobs.append(sent.json()["id"])
    active = running.get("/api/v1/models/colour").json()["active_version"]
    changed = running.call("POST", f"/api/v1/models/colour/versions/{3 - active}/activate")
    assert changed.status == 200, changed
    path = f"/api/v1/models/colour/versions/{active}"
    refused = running.call("DELETE", path)
    assert (refused.status, refused.problem) == (409, "conflict")
    assert "Jobs wait for" in refused.json()["detail"]
    for job in jobs:
        look = partial(running.get, f"/api/v1/jobs/{job}")
        wait_for(lambda look=look: look().json()["state"] == "done", "the end of the job")
        found = running.get(f"/api/v1/jobs/{job}/result").json()
        assert found["result"]["version"] == active, "what was active when it was sent"
    assert running.call("DELETE", path).status == 204
