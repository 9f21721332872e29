"""Settings that no other test turns: each does what its sentence in the configuration says."""

import json
import os
import re
import signal
import socketserver
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from websockets.sync.client import connect

from appliance.host.confinement import die_with_parent
from tests.end_to_end.conftest import Start
from tests.end_to_end.running import (
    HANG_SECONDS,
    ROOT,
    Answer,
    Running,
    environment,
    wait_for,
)
from tests.end_to_end.test_model_imports import GOOD, install
from tests.tiny_models import picture
from tests.web.routed import a_file, form


def vision(running: Running, padding: int, *, in_form: bool) -> Answer:
    fields = [("Content-Disposition: form-data; name=api_key", running.key.encode())]
    parts = (*(fields if in_form else ()), a_file(b"x" * padding, field="image"))
    body, headers = form(*parts)
    return running.call(
        "POST",
        "/v1/vision/detection",
        body,
        key=None if in_form else running.key,
        headers=headers,
    )


def test_form_key_bytes_bound_the_forms_that_strangers_may_send(start_one: Start) -> None:
    running = start_one(DIALECTS__FORM_KEY_BYTES=100_000)
    # There is no detector here: 404 is told to those who were let in.
    assert vision(running, 90_000, in_form=True).status == 404
    assert vision(running, 110_000, in_form=True).status == 401
    assert vision(running, 110_000, in_form=False).status == 404


def test_no_form_of_a_stranger_is_taken_where_form_key_bytes_are_0(start_one: Start) -> None:
    running = start_one(DIALECTS__FORM_KEY_BYTES=0)
    assert vision(running, 90_000, in_form=True).status == 401
    assert vision(running, 90_000, in_form=False).status == 404


def test_database_bytes_bound_the_database_and_predictions_go_on(start_one: Start) -> None:
    running = start_one(STATE__DATABASE_BYTES=400_000)
    refused: dict[str, Any] = {}
    for number in range(400):
        models = [f"model-{number}-{other}".ljust(64, "x") for other in range(64)]
        wanted = {"name": f"camera {number}", "role": "device", "models": models}
        answer = running.post_json("/api/v1/keys", wanted)
        if answer.status != 201:
            refused = answer.json()
            break
    assert refused["status"] == 507, refused
    assert "state.database_bytes" in refused["detail"], refused
    assert (running.state / "appliance.db").stat().st_size <= 400_000
    answer = running.predict(picture("red"))
    assert (answer.status, answer.json()["result"]["predictions"][0]["label"]) == (200, "red")


def test_queue_bytes_bound_what_waits_for_the_writer(start_one: Start) -> None:
    """Beyond them an answer says that it was not recorded, and still comes."""
    running = start_one(HISTORY__QUEUE_BYTES=1, LIMITS__WAITING=64)
    recorded: list[bool] = []

    def ask() -> None:
        for _ in range(40):
            recorded.append(running.predict(picture("red")).json()["recorded"])

    threads = [threading.Thread(target=ask) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(HANG_SECONDS)
    assert len(recorded) == 240
    assert set(recorded) == {True, False}, "one row always fits, and two never do"


def test_deadline_misses_decide_when_a_host_is_replaced(start_one: Start) -> None:
    running = start_one(MODELS__DEADLINE_MISSES=3, MODELS__DEADLINE_SECONDS=0.5)
    host = wait_for(running.host_process_id, "a host")
    os.kill(host, signal.SIGSTOP)
    for _ in range(2):
        assert running.predict(picture("red")).problem == "deadline-exceeded"
    assert running.host_process_id() == host, "two of three misses"
    assert running.predict(picture("red")).problem == "deadline-exceeded"
    other = wait_for(
        lambda: (found := running.host_process_id()) != host and found, "another host"
    )
    assert other != host
    running.wait_until_ready()
    assert running.predict(picture("red")).status == 200


def test_import_seconds_end_an_import_that_takes_too_long(start_one: Start) -> None:
    running = start_one(MODELS__IMPORT_SECONDS=0.05)
    status, told = install(running, GOOD, scale="1")
    assert status == 422
    assert "models.import_seconds" in told["detail"], told
    assert running.predict(picture("red")).status == 200, "what is served never notices"


def test_import_memory_bytes_end_an_import_that_needs_more(start_one: Start) -> None:
    running = start_one(MODELS__IMPORT_MEMORY_BYTES=200_000_000)
    status, told = install(running, GOOD, scale="1")
    assert status == 422
    assert "models.import_memory_bytes" in told["detail"], told
    assert running.predict(picture("red")).status == 200, "what is served never notices"


class _SlowFront(socketserver.ThreadingUnixStreamServer):
    """Stands where the appliance would; counts how many calls it has at once."""

    daemon_threads = True

    def __init__(self, path: Path, *, enough: int) -> None:
        super().__init__(str(path), _Calls)
        self.lock = threading.Lock()
        self.active = self.most = self.answered = 0
        self.enough = enough
        self.is_met = threading.Event()


class _Calls(socketserver.StreamRequestHandler):
    server: _SlowFront

    def handle(self) -> None:
        while self._next():
            pass

    def _next(self) -> bool:
        length = 0
        while (line := self.rfile.readline().strip().lower()) or not length:
            if not line:
                return False
            if line.startswith(b"content-length:"):
                length = int(line.partition(b":")[2])
        self.rfile.read(length)
        front = self.server
        with front.lock:
            front.active += 1
            front.most = max(front.most, front.active)
            if front.active >= front.enough:
                front.is_met.set()
        front.is_met.wait(1.0)  # time for another call to come beside this one
        with front.lock:
            front.active -= 1
            front.answered += 1
        self.wfile.write(b"HTTP/1.1 422 No\r\nContent-Length: 2\r\n\r\n{}")
        return True


@contextmanager
def gateway(runtime: Path, calls: int) -> Iterator[int]:
    """Run the gateway's process; yield its port."""
    settings = {
        "APPLIANCE_STATE__DIR": str(runtime),
        "APPLIANCE_STATE__RUNTIME_DIR": str(runtime),
        "APPLIANCE_STREAMS__GATEWAY_HOST": "127.0.0.1",
        "APPLIANCE_STREAMS__GATEWAY_PORT": "0",
        "APPLIANCE_STREAMS__GATEWAY_CALLS": str(calls),
    }
    output = runtime / "gateway.log"
    with output.open("wb") as sink:
        process = subprocess.Popen(
            [sys.executable, "-m", "appliance", "stream-gateway"],
            env=environment(settings),
            cwd=ROOT,
            stdout=sink,
            stderr=sink,
            preexec_fn=die_with_parent,
        )
    try:
        found = wait_for(
            lambda: re.search(r"ws://127\.0\.0\.1:(\d+)", output.read_text()), "the gateway"
        )
        yield int(found[1])
    finally:
        process.kill()
        process.wait(HANG_SECONDS)


@pytest.mark.parametrize("calls", [1, 3])
def test_gateway_calls_bound_what_the_appliance_gets_at_once(short_path: Path, calls: int) -> None:
    with (
        _SlowFront(short_path / "front.sock", enough=max(2, calls)) as front,
        gateway(short_path, calls) as port,
        ExitStack() as clients,
    ):
        threading.Thread(target=front.serve_forever, daemon=True).start()
        for number in range(4):
            client = clients.enter_context(
                connect(
                    f"ws://127.0.0.1:{port}/ws/streams?model=m{number}",
                    additional_headers={"X-API-Key": "iak_x"},
                    compression=None,
                )
            )
            client.send(json.dumps({"t": 0}))
        wait_for(lambda: front.answered >= 4, "four answers")
        assert front.most == calls
        front.shutdown()
