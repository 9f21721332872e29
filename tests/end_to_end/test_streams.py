"""Streams through everything: every step once, whatever is cut, killed, slow or broken."""

import json
import math
import os
import random
import re
import signal
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import WebSocketException

from tests.end_to_end.devices import Device, Gateway
from tests.end_to_end.running import HANG_SECONDS, ROOT, Running, start, wait_for

STREAMS = "/api/v1/streams"
JSON = {"Content-Type": "application/json"}
#: As many in the night as the issue asks for: APPLIANCE_TEST_DISCONNECTS=1000.
DISCONNECTS = int(os.environ.get("APPLIANCE_TEST_DISCONNECTS", "20"))
RATE_HZ = 50


def walk(seconds: float) -> list[dict[str, float]]:
    """Readings of a walk at 1.8 steps a second after a second of standing."""
    rows = []
    for number in range(round(seconds * RATE_HZ)):
        t = number / RATE_HZ
        swing = 3.0 * math.sin(2 * math.pi * 1.8 * t) if t > 1 else 0.0
        sway = math.sin(math.pi * 1.8 * t) if t > 1 else 0.0
        rows.append({"t": t, "ax": round(sway, 3), "ay": 0.2, "az": round(9.81 + swing, 3)})
    return rows


def cut(rows: list[Any], seed: int) -> Iterator[list[Any]]:
    numbers, at = random.Random(seed), 0
    while at < len(rows):
        size = numbers.randint(1, 60)
        yield rows[at : at + size]
        at += size


def one_shot(running: Running, rows: list[dict[str, float]]) -> dict[str, Any]:
    answer = running.post_json("/api/v1/models/step-detector/predict", {"readings": rows})
    assert answer.status == 200, answer
    result: dict[str, Any] = answer.json()["result"]
    assert result["step_count"] > 10
    return result


def opened(running: Running, **wanted: Any) -> str:
    answer = running.post_json(STREAMS, {"model": "step-detector", **wanted})
    assert answer.status == 201, answer
    return str(answer.json()["id"])


def send(running: Running, stream: str, number: int, rows: list[Any]) -> Any:
    path = f"{STREAMS}/{stream}?sequence={number}"
    answer = running.post_json(path, {"readings": rows})
    assert answer.status == 200, answer
    return answer.json()


def ended(running: Running, stream: str) -> Any:
    answer = running.call("DELETE", f"{STREAMS}/{stream}")
    assert answer.status == 200, answer
    return answer.json()


def insist(
    running: Callable[[], Running], stream: str, number: int, rows: list[Any]
) -> dict[str, Any]:
    """Send a chunk again until it is answered, as a device does."""

    def answered() -> dict[str, Any] | None:
        try:
            path = f"{STREAMS}/{stream}?sequence={number}"
            answer = running().post_json(path, {"readings": rows})
        except OSError:
            return None
        assert answer.status in (200, 429, 503, 504), answer
        return answer.json() if answer.status == 200 else None

    return wait_for(answered, f"the answer to chunk {number}")


@pytest.fixture
def gateway(appliance: Running) -> Iterator[Gateway]:
    started = Gateway(appliance)
    started.begin()
    yield started
    started.kill()


@pytest.mark.parametrize("seed", [1, 2])
def test_random_cuts_over_http_give_exactly_what_one_request_gives(
    appliance: Running, seed: int
) -> None:
    rows = walk(20)
    whole = one_shot(appliance, rows)
    stream, events = opened(appliance), []
    for number, part in enumerate(cut(rows, seed), 1):
        answer = send(appliance, stream, number, part)
        assert send(appliance, stream, number, part) == answer, "repeated"
        events += answer["result"]["events"]
    last = ended(appliance, stream)
    assert events + (last["result"] or {"events": []})["events"] == whole["events"]
    assert last["totals"]["events"] == whole["step_count"]


def test_random_disconnects_lose_and_double_nothing(appliance: Running, gateway: Gateway) -> None:
    numbers, rows = random.Random(7), walk(15)
    whole = one_shot(appliance, rows)
    chunks = list(cut(rows, 3))
    done = 0
    while done < DISCONNECTS:
        losses = set(numbers.sample(range(1, len(chunks) + 1), min(10, len(chunks))))
        done += len(losses)
        device = Device(gateway, chunks)
        last = device.run(lambda number, left=losses: number in left and not left.discard(number))
        assert last["totals"]["events"] == whole["step_count"]
        assert device.all_events(last) == whole["events"]


def test_a_gateway_killed_in_mid_stream_loses_nothing(
    appliance: Running, gateway: Gateway
) -> None:
    rows = walk(10)
    whole = one_shot(appliance, rows)
    kills = {3, 7}

    def disturb(number: int) -> bool:
        if number in kills:
            kills.discard(number)
            gateway.kill()
            gateway.begin()
        return False

    device = Device(gateway, [rows[at : at + 25] for at in range(0, len(rows), 25)])
    last = device.run(disturb)
    assert last["totals"]["events"] == whole["step_count"]
    assert device.all_events(last) == whole["events"]
    assert kills == set()


def test_hosts_killed_in_mid_stream_lose_nothing(appliance: Running) -> None:
    rows = walk(10)
    whole = one_shot(appliance, rows)
    stream, events = opened(appliance), []
    for number, at in enumerate(range(0, len(rows), 25), 1):
        if number in (5, 12):
            host = wait_for(lambda: appliance.host_process_id("step-detector"), "a host")
            os.kill(host, signal.SIGKILL)
        events += insist(lambda: appliance, stream, number, rows[at : at + 25])["result"]["events"]
    last = ended(appliance, stream)
    assert events + (last["result"] or {"events": []})["events"] == whole["events"]


def test_a_front_killed_in_mid_stream_is_a_pause_for_http_and_websockets(
    short_path: Path,
) -> None:
    settings = {"APPLIANCE_MODELS__STARTER": "true"}
    state = short_path / "state"
    running = start(state, settings)
    gateway = Gateway(running)
    gateway.begin()
    try:
        rows = walk(10)
        chunks = [rows[at : at + 25] for at in range(0, len(rows), 25)]
        whole = one_shot(running, rows)
        stream, kills = opened(running), {6}
        device = Device(gateway, chunks)

        def disturb(number: int) -> bool:
            nonlocal running
            insist(lambda: running, stream, number, chunks[number - 1])
            if number in kills:
                kills.discard(number)
                running.kill()
                running = start(state, settings)
            return False

        last = device.run(disturb)
        assert last["totals"]["events"] == whole["step_count"]
        assert device.all_events(last) == whole["events"]
        assert ended(running, stream)["totals"]["events"] == whole["step_count"]
        assert kills == set()
    finally:
        gateway.kill()
        running.kill()


def test_a_gateway_that_is_stopped_tells_its_clients_and_ends_well(
    appliance: Running, gateway: Gateway
) -> None:
    with gateway.connect("/ws/streams", model="step-detector") as client:
        client.recv(HANG_SECONDS)
        assert gateway.kill(signal.SIGTERM) == 0
        with pytest.raises(WebSocketException):
            client.recv(HANG_SECONDS)
        assert client.close_code == 1012
    gateway.begin()


def test_a_client_that_never_reads_holds_up_nobody_else(
    appliance: Running, gateway: Gateway
) -> None:
    with gateway.connect("/ws/streams", model="step-detector") as slow:
        slow.recv(HANG_SECONDS)
        raw = slow.socket
        raw.setblocking(False)
        frame = json.dumps({"readings": [{"t": 1, "ax": 0, "ay": 0, "az": 9.8}]}).encode()
        masked = bytes((0x81, 0x80 | len(frame), 0, 0, 0, 0)) + frame
        assert pushed(raw, masked) < 64 * 1024 * 1024, "it was let go on for ever"
        device = Device(gateway, [walk(4)])
        assert device.run(lambda number: False)["totals"]["chunks"] == 1
        raw.setblocking(True)


def pushed(raw: socket.socket, frame: bytes) -> int:
    """Send a frame again and again until nothing goes for two seconds; return the bytes sent."""
    sent, last = 0, time.monotonic()
    while time.monotonic() - last < 2.0:
        try:
            sent += raw.send(frame * 64)
            last = time.monotonic()
        except BlockingIOError:
            time.sleep(0.01)
    return sent


@pytest.mark.parametrize(
    "value",
    [
        *("NaN", "Infinity", "-Infinity", "1e999", '"12"', "true", "null", "{}"),
        *map(str, (2**70, 2**63, -(2**63) - 1)),
    ],
)
def test_values_that_are_no_readings_are_named_and_change_nothing(
    appliance: Running, value: str
) -> None:
    stream = opened(appliance)
    send(appliance, stream, 1, walk(1))
    body = f'{{"readings":[{{"t":1.5,"ax":{value},"ay":0,"az":9.8}}]}}'.encode()
    answer = appliance.post_json(f"{STREAMS}/{stream}?sequence=2", body)
    assert answer.status == 422, answer
    assert b"NaN" not in answer.body.replace(b"'NaN'", b"")
    assert appliance.get(f"{STREAMS}/{stream}").json()["next_sequence"] == 2
    send(appliance, stream, 2, [{"t": 1.5, "ax": 0, "ay": 0, "az": 9.8}])


@pytest.mark.parametrize(
    ("times", "status"),
    [
        ([0.0, 0.02, 0.04], 200),
        ([4102444800.0, 4102444800.02], 200),
        ([-0.0, 0.02], 200),
        ([0.0, 0.04, 0.02], 422),
        ([0.0, 0.02, 0.02], 200),
    ],
)
def test_times_of_any_year_are_taken_and_those_that_go_back_named(
    appliance: Running, times: list[float], status: int
) -> None:
    stream = opened(appliance)
    rows = [{"t": t, "ax": 0, "ay": 0, "az": 9.8} for t in times]
    answer = appliance.post_json(f"{STREAMS}/{stream}?sequence=1", {"readings": rows})
    assert answer.status == status, answer


def test_fuzzed_csv_is_taken_or_refused_and_never_breaks_anything(appliance: Running) -> None:
    numbers = random.Random(11)
    sound = "t,ax,ay,az\n" + "\n".join(f"{n / 50},0,0,9.8" for n in range(40))
    host = appliance.host_process_id("step-detector")
    for _ in range(60):
        text = bytearray(sound.encode())
        for _ in range(numbers.randint(1, 8)):
            text[numbers.randrange(len(text))] = numbers.choice(b'",;\n\r\t\x00-e9\xff')
        stream = opened(appliance)
        answer = appliance.call(
            "POST", f"{STREAMS}/{stream}", bytes(text), headers={"Content-Type": "text/csv"}
        )
        assert answer.status in (200, 422), (answer, text)
    assert appliance.host_process_id("step-detector") == host


def test_the_example_client_of_the_documentation_counts_the_steps(appliance: Running) -> None:
    text = (ROOT / "docs" / "devices.md").read_text()
    block = re.search(r"```python\n(.*?)```", text, re.DOTALL)
    assert block is not None
    names: dict[str, Any] = {}
    exec(compile(block[1], "docs/devices.md", "exec"), names)
    rows = walk(10)
    stream = names["Stream"](appliance.address, appliance.new_key()[1])
    stream.open(device="left pocket", faults="refuse")
    again = names["Stream"](appliance.address, stream.key, state=dict(stream.state))
    for at in range(0, len(rows), 25):
        answer = stream.send(rows[at : at + 25])
        assert again.send(rows[at : at + 25]) == answer, "as after a restart of the device"
    with pytest.raises(RuntimeError, match="Reading 0"):
        stream.send([{"t": 11, "ax": 500, "ay": 0, "az": 0}])
    assert stream.end()["totals"]["events"] == one_shot(appliance, rows)["step_count"]


def test_the_guides_routes_count_a_walk(appliance: Running) -> None:
    key = appliance.new_key("guide")[1]
    for row in walk(3):
        reading = {
            **{f"accel_{axis}": row[f"a{axis}"] for axis in "xyz"},
            **dict.fromkeys(("gyro_x", "gyro_y", "gyro_z"), 0.0),
            "timestamp": row["t"],
        }
        answer = appliance.post_json("/detect_step", reading, key=key)
        assert answer.status == 200, answer
    reset = appliance.call("POST", "/reset_count", key=key)
    assert reset.json()["previous_step_count"] >= 2


def test_the_command_counts_and_draws_a_recording(appliance: Running, tmp_path: Path) -> None:
    file, picture = tmp_path / "walk.csv", tmp_path / "walk.png"
    rows = [f"{row['t']},{row['ax']},{row['ay']},{row['az']}" for row in walk(12)]
    file.write_text("\n".join(["t,ax,ay,az", *rows]))
    done = appliance.command("steps", str(file), "--plot", str(picture))
    assert done.returncode == 0, done.stderr
    assert re.match(r"walk\.csv: \d+ steps in [\d.]+ s, \d+ a minute", done.stdout)
    assert picture.read_bytes().startswith(b"\x89PNG")
