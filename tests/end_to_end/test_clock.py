"""The machine's clock jumps under the whole process: libfaketime (reliability tests 95 to 98)."""

import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.end_to_end.running import HANG_SECONDS, Running, start, wait_for
from tests.end_to_end.test_streams import ended, one_shot, opened, send, walk
from tests.tiny_models import picture, write_colour_model

LIBRARIES = sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))
#: A little more than what the appliance takes for a jump.
HOUR_SECONDS = 3660
DAY_SECONDS = 86400

pytestmark = pytest.mark.skipif(
    not LIBRARIES, reason="libfaketime is not installed (apt-get install faketime)"
)


class Machine:
    """A machine whose wall clock can be set; its monotonic clock goes on, as a real one does."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._offset = directory / "clock"
        self.set_off(0)
        self.state = directory / "state"
        write_colour_model(self.state / "models")
        self.state.chmod(0o700)
        self.started: list[Running] = []

    def set_off(self, seconds: int) -> None:
        """Let the clock differ from the true time by so much, for every process, at once."""
        fresh = self._offset.with_suffix(".new")
        fresh.write_text(f"{seconds:+d}\n")
        fresh.rename(self._offset)

    def start(self, **settings: object) -> Running:
        """Start an appliance that goes by this clock."""
        shaped = {f"APPLIANCE_{name}": str(value) for name, value in settings.items()}
        clock = {
            "LD_PRELOAD": str(LIBRARIES[0]),
            "FAKETIME_TIMESTAMP_FILE": str(self._offset),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "DONT_FAKE_MONOTONIC": "1",
        }
        self.started.append(start(self.state, {**shaped, **clock}))
        return self.started[-1]


@pytest.fixture
def machine(short_path: Path) -> Iterator[Machine]:
    made = Machine(short_path)
    yield made
    for running in made.started:
        if running.process.poll() is None:
            running.kill()


def clock_of(appliance: Running) -> dict[str, str]:
    found: dict[str, str] = appliance.get("/health").json()["clock"]
    return found


def is_suspect(appliance: Running) -> Callable[[], bool]:
    return lambda: clock_of(appliance)["state"] == "suspect"


@pytest.mark.parametrize("jump_seconds", [-HOUR_SECONDS, HOUR_SECONDS])
def test_c95_c96_an_hour_either_way_disturbs_no_request(
    machine: Machine, jump_seconds: int
) -> None:
    appliance = machine.start(
        HTTP__IDLE_SECONDS=1, HTTP__BODY_GRACE_SECONDS=60, STREAMS__IDLE_SECONDS=600
    )
    before = clock_of(appliance)["now"]
    body = picture()
    head = (
        f"POST /api/v1/models/colour/predict HTTP/1.1\r\nHost: localhost\r\n"
        f"X-API-Key: {appliance.key}\r\nContent-Type: image/png\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    ).encode()
    address = ("127.0.0.1", appliance.port)
    with (
        socket.create_connection(address, HANG_SECONDS) as slow,
        socket.create_connection(address, HANG_SECONDS) as idle,
    ):
        slow.sendall(head + body[:10])
        machine.set_off(jump_seconds)
        wait_for(is_suspect(appliance), "a suspect clock")
        moved = clock_of(appliance)["now"]
        assert (moved > before) == (jump_seconds > 0), (before, moved)
        assert idle.recv(100) == b"", "an idle connection is still cut"
        slow.sendall(body[10:])
        assert slow.recv(1000).startswith(b"HTTP/1.1 200 "), "an upload in progress is not"
    for _ in range(20):
        answer = appliance.predict(body)
        assert answer.status == 200, answer
        assert all(value >= 0 for value in answer.json()["timing"].values())
    rows = appliance.get("/api/v1/predictions?limit=1000").json()["predictions"]
    assert all(row["duration_ms"] >= 0 for row in rows)
    assert appliance.is_ready()
    assert appliance.stop() == 0


def test_c97_a_start_in_1970_serves_and_says_that_the_clock_is_wrong(machine: Machine) -> None:
    first = machine.start()
    assert first.predict(picture()).status == 200
    assert first.stop() == 0
    machine.set_off(-int(time.time()) + DAY_SECONDS)
    appliance = machine.start()
    assert clock_of(appliance)["now"].startswith("1970-01-02")
    assert clock_of(appliance)["state"] == "suspect"
    assert appliance.predict(picture()).status == 200
    _, key = appliance.new_key()
    assert appliance.predict(picture(), key=key).status == 200


def test_c95_c97_a_stream_counts_on_through_jumps_and_a_restart_in_1970(machine: Machine) -> None:
    rows = walk(10)
    chunks = [rows[at : at + 100] for at in range(0, len(rows), 100)]
    appliance = machine.start(MODELS__STARTER="true", STREAMS__IDLE_SECONDS=600)
    whole, stream = one_shot(appliance, rows), opened(appliance)
    events = send(appliance, stream, 1, chunks[0])["result"]["events"]
    for number, jump_seconds in ((2, HOUR_SECONDS), (3, -HOUR_SECONDS)):
        machine.set_off(jump_seconds)
        wait_for(is_suspect(appliance), "a suspect clock")
        events += send(appliance, stream, number, chunks[number - 1])["result"]["events"]
    assert appliance.stop() == 0
    machine.set_off(-int(time.time()) + DAY_SECONDS)
    appliance = machine.start(MODELS__STARTER="true", STREAMS__IDLE_SECONDS=600)
    for number in (4, 5):
        events += send(appliance, stream, number, chunks[number - 1])["result"]["events"]
    last = ended(appliance, stream)
    assert events + (last["result"] or {"events": []})["events"] == whole["events"]
    assert last["totals"]["events"] == whole["step_count"]


def test_c98_a_year_ahead_and_back_deletes_nothing_and_kills_no_key(machine: Machine) -> None:
    appliance = machine.start(HISTORY__KEEP_DAYS=30)
    assert appliance.predict(picture()).status == 200
    _, key = appliance.new_key(expires_in_days=30)
    assert appliance.predict(picture(), key=key).status == 200
    machine.set_off(365 * DAY_SECONDS)
    wait_for(is_suspect(appliance), "a suspect clock")
    assert appliance.predict(picture(), key=key).status == 401
    machine.set_off(0)
    wait_for(lambda: clock_of(appliance)["state"] == "ok", "a clock that is believed again")
    assert appliance.predict(picture(), key=key).status == 200
    rows = appliance.get("/api/v1/predictions?limit=1000").json()["predictions"]
    assert len(rows) >= 2, "those from before the jump are still there"


def test_c98_a_restart_a_year_ahead_deletes_nothing_either(machine: Machine) -> None:
    first = machine.start(HISTORY__KEEP_DAYS=30)
    prediction = first.predict(picture()).json()["id"]
    assert first.stop() == 0
    machine.set_off(365 * DAY_SECONDS)
    second = machine.start(HISTORY__KEEP_DAYS=30)
    assert clock_of(second)["state"] == "suspect"
    assert second.predict(picture()).status == 200
    wait_for(lambda: "retention paused" in second.log(), "a round of retention")
    assert second.get(f"/api/v1/predictions/{prediction}").status == 200
    machine.set_off(0)
    wait_for(lambda: clock_of(second)["state"] == "ok", "a clock that is believed again")
