"""Versions come and go without a dropped request: group G of the catalogue, whole product."""

import json
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.end_to_end.conftest import Start
from tests.end_to_end.running import HANG_SECONDS, Answer, Running, wait_for
from tests.tiny_models import picture, write_colour_model

RED = picture()
OTHER = ("rouge", "vert", "bleu")
CONTENT = {1: "red", 2: "rouge"}
COLOUR = "/api/v1/models/colour"
STRACE = shutil.which("strace")


@pytest.fixture
def two(start_one: Start, short_path: Path, colour_models: Path) -> Callable[..., Running]:
    """Start an appliance with two versions of one model, of which the first is active."""

    def begin(**settings: object) -> Running:
        state = short_path / "state"
        if not state.exists():
            shutil.copytree(colour_models, state / "models")
            state.chmod(0o700)
            running = start_one(state, **settings)
            write_colour_model(state / "models", version=2, labels=OTHER)
            assert running.stop() == 0
        return start_one(state, **settings)

    return begin


def said(answer: Answer) -> tuple[str, int]:
    """Return the label and version of an answered prediction."""
    assert answer.status == 200, answer
    document = answer.json()
    return document["result"]["predictions"][0]["label"], document["version"]


def put(appliance: Running, path: str, value: Any) -> Answer:
    body = json.dumps(value).encode()
    return appliance.call("PUT", path, body, headers={"Content-Type": "application/json"})


def actions(appliance: Running) -> list[str]:
    return [row["action"] for row in appliance.get("/api/v1/audit").json()["rows"]]


def test_a_version_is_activated_rolled_back_and_outlasts_restarts(
    two: Callable[..., Running],
) -> None:
    appliance = two()
    assert said(appliance.predict(RED)) == ("red", 1)
    switched = appliance.call("POST", f"{COLOUR}/versions/2/activate")
    assert switched.json() == {"model": "colour", "active_version": 2, "previous_version": 1}
    assert said(appliance.predict(RED)) == ("rouge", 2)
    assert appliance.call("POST", f"{COLOUR}/versions/2/activate").problem == "conflict"
    assert appliance.call("POST", f"{COLOUR}/versions/9/activate").problem == "not-found"
    assert appliance.call("POST", f"{COLOUR}/versions/x/activate").status == 422
    appliance.kill()
    appliance = two()
    assert said(appliance.predict(RED)) == ("rouge", 2)
    rolled_back = appliance.call("POST", f"{COLOUR}/rollback")
    assert rolled_back.json()["active_version"] == 1
    assert said(appliance.predict(RED)) == ("red", 1)
    assert actions(appliance)[:2] == ["model.rollback", "model.activate"]


def test_an_unloaded_model_stays_unloaded_over_a_restart(two: Callable[..., Running]) -> None:
    appliance = two()
    assert appliance.call("POST", f"{COLOUR}/unload").json()["active_version"] is None
    assert appliance.stop() == 0
    appliance = two()
    assert appliance.is_ready()
    assert appliance.predict(RED).problem == "model-unavailable"
    assert appliance.get(COLOUR).json()["state"] == "stopped"
    loaded = appliance.command("model", "load", "colour")
    assert (loaded.returncode, loaded.stdout) == (0, "colour@1 answers.\n")
    assert said(appliance.predict(RED)) == ("red", 1)
    assert actions(appliance)[:2] == ["model.load", "model.unload"]


def test_the_command_line_switches_spreads_and_compares(two: Callable[..., Running]) -> None:
    appliance = two()

    def run(*words: str) -> str:
        done = appliance.command("model", *words)
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert "colour@2 answers; before it was version 1." in run("activate", "colour", "2")
    assert "colour@1 answers; before it was version 2." in run("rollback", "colour")
    assert "The active version answers every request." in run("traffic", "colour")
    spread = run("traffic", "colour", "--split", "1=90", "--split", "2=10", "--shadow", "2")
    assert spread == "1: 90 %, 2: 10 %\nVersion 2 gets a copy of each request.\n"
    assert said(appliance.predict(RED))[1] in (1, 2)
    assert "shadow" in run("comparison", "colour")
    assert "active version answers" in run("traffic", "colour", "--off")
    assert '"seconds": 60' in run("policy", "colour", "--watch-seconds", "60")
    assert json.loads(run("policy", "colour", "--no-auto-rollback")) == {"auto_rollback": None}
    assert "colour is unloaded." in run("unload", "colour")
    refused = appliance.command("model", "traffic", "colour", "--shadow", "2")
    assert refused.returncode == 1
    assert "No version of colour is active" in refused.stderr


def test_traffic_is_checked_kept_and_compared(two: Callable[..., Running]) -> None:
    appliance = two()
    for wrong in (
        {"traffic": {"1": 60, "2": 60}},
        {"traffic": {"1": -1, "2": 101}},
        {"traffic": {"one": 100}},
        {"traffik": {}},
    ):
        assert put(appliance, f"{COLOUR}/traffic", wrong).status == 422
    assert put(appliance, f"{COLOUR}/traffic", {"shadow": "7"}).problem == "not-found"
    spread = {"traffic": {"1": 0, "2": 100}, "shadow": "2"}
    assert put(appliance, f"{COLOUR}/traffic", spread).json() == spread
    assert said(appliance.predict(RED)) == ("rouge", 2)
    assert appliance.stop() == 0
    appliance = two()
    assert appliance.get(f"{COLOUR}/traffic").json() == spread
    wait_for(lambda: said(appliance.predict(RED)) == ("rouge", 2), "the split")
    report = appliance.get(f"{COLOUR}/comparison").json()
    assert [one["role"] for one in report["versions"]] == ["active", "shadow"]
    assert report["versions"][1]["requests"] >= 1
    assert appliance.get("/api/v1/models/nobody/comparison").problem == "not-found"
    _, key = appliance.new_key(role="device")
    assert appliance.get(f"{COLOUR}/traffic", key=key).problem == "forbidden"


class Clients:
    """Clients that ask without a pause and check every answer."""

    def __init__(self, appliance: Running, count: int) -> None:
        self._appliance = appliance
        self._is_over = threading.Event()
        self._pool = ThreadPoolExecutor(count)
        self._clients = [self._pool.submit(self._ask) for _ in range(count)]

    def _ask(self) -> dict[int, int]:
        counts = {1: 0, 2: 0}
        while not self._is_over.is_set():
            label, version = said(self._appliance.predict(RED))
            assert CONTENT[version] == label
            counts[version] += 1
        return counts

    def end(self) -> dict[int, int]:
        """Return how often each version answered; raise what a client met."""
        self._is_over.set()
        counts = [client.result(HANG_SECONDS) for client in self._clients]
        self._pool.shutdown()
        return {version: sum(one[version] for one in counts) for version in CONTENT}


def test_c89_swaps_under_load_fail_no_request_and_mix_nothing(
    two: Callable[..., Running],
) -> None:
    appliance = two()
    clients = Clients(appliance, 4)
    for number in range(10):
        path = f"{COLOUR}/versions/{2 - number % 2}/activate"
        assert appliance.call("POST", path).status == 200
    counts = clients.end()
    assert min(counts.values()) > 0


def test_c90_a_wrong_model_activated_under_load_leaves_no_gap(
    two: Callable[..., Running],
) -> None:
    appliance = two()
    write_colour_model(appliance.state / "models", version=3, golden_label="green")
    loaded = appliance.post_json(f"{COLOUR}/load", {"version": 3})
    assert loaded.problem == "not-found"  # nobody imported it
    assert appliance.stop() == 0
    appliance = two()
    clients = Clients(appliance, 4)
    for _ in range(5):
        refused = appliance.call("POST", f"{COLOUR}/versions/3/activate")
        assert refused.problem == "model-invalid"
        assert "expected 'green'" in refused.json()["detail"]
    assert clients.end()[2] == 0
    assert appliance.is_ready()


def test_c91_a_rollback_answers_within_two_seconds(two: Callable[..., Running]) -> None:
    appliance = two()
    assert appliance.call("POST", f"{COLOUR}/versions/2/activate").status == 200
    started = time.monotonic()
    assert appliance.call("POST", f"{COLOUR}/rollback").status == 200
    assert said(appliance.predict(RED)) == ("red", 1)
    assert time.monotonic() - started < HANG_SECONDS


def test_a_version_that_fails_requests_is_rolled_back_by_itself(
    two: Callable[..., Running],
) -> None:
    appliance = two()
    rule = {"auto_rollback": {"max_error_rate": 0.1, "min_requests": 5}}
    assert appliance.post_json(f"{COLOUR}/versions/2/activate", rule).status == 200
    for _ in range(6):
        assert appliance.predict(b"no picture").status == 415
    wait_for(lambda: said(appliance.predict(RED)) == ("red", 1), "the rollback")
    assert actions(appliance)[0] == "model.auto_rollback"
    counted = "inference_appliance_auto_rollbacks_total"
    wait_for(lambda: appliance.metric(counted, model="colour") == 1, "the metric")


def test_a_lazy_model_is_ready_and_starts_with_its_first_request(
    two: Callable[..., Running],
) -> None:
    appliance = two(MODELS__PRELOAD="false", LIMITS__WAITING_SECONDS="30")
    assert appliance.is_ready()
    assert appliance.get("/v2/health/ready").status == 200
    assert appliance.get(COLOUR).json()["state"] == "idle"
    assert said(appliance.predict(RED)) == ("red", 1)


# C-53: the kernel kills the front at a system call of an activation, one later each time.

_CALLS = "pwrite64,write,fdatasync,fsync,sendmsg,sendto,ftruncate,unlink,rename"


def activation_killed_at(appliance: Running, number: int, version: int) -> bool:
    """Activate a version while the front dies at its nth system call that changes something.

    Return whether the activation was acknowledged.
    """
    assert STRACE is not None
    command = [STRACE, "-f", "-qq", "-o", "/dev/null", "-e", f"trace={_CALLS}"]
    command += ["-e", f"inject={_CALLS}:signal=KILL:when={number}+"]
    with subprocess.Popen([*command, "-p", str(appliance.process.pid)]) as tracer:
        status = Path(f"/proc/{appliance.process.pid}/status")
        wait_for(
            lambda: (
                appliance.process.poll() is not None or "TracerPid:\t0" not in status.read_text()
            ),
            "the tracer",
        )
        try:
            path = f"{COLOUR}/versions/{version}/activate"
            acknowledged = appliance.call("POST", path).status == 200
        except OSError:
            acknowledged = False
        except Exception:  # the answer was cut off in its middle
            acknowledged = False
        if appliance.process.poll() is None and not acknowledged:
            appliance.process.wait(HANG_SECONDS)
        tracer.send_signal(signal.SIGTERM)
    return acknowledged


@pytest.mark.skipif(STRACE is None, reason="strace is not installed")
@pytest.mark.parametrize("number", [1, 6, 9, 10, 11, 12, 13, 16])
def test_c53_after_a_kill_at_any_call_the_old_or_the_new_version_answers(
    two: Callable[..., Running], number: int
) -> None:
    appliance = two(HISTORY__ENABLED="false", MODELS__CANARY_SECONDS="3600")
    acknowledged = activation_killed_at(appliance, number, 2)
    appliance.kill()
    appliance = two(HISTORY__ENABLED="false", MODELS__CANARY_SECONDS="3600")
    label, version = said(appliance.predict(RED))
    assert CONTENT[version] == label
    if acknowledged:
        assert version == 2
    written = [row for row in actions(appliance) if row == "model.activate"]
    assert len(written) == (1 if version == 2 else 0)
