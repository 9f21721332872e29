"""The guide's WebSocket: one reading a message, one reply to each."""

import pytest

from tests.stream.conftest import Running, hear, hear_end, say

STILL = {"accel_x": 0, "accel_y": 0, "accel_z": 9.8, "gyro_x": 0, "gyro_y": 0, "gyro_z": 0}
STEP = {**STILL, "accel_z": 20.0}
PATH = "/ws/realtime"


def test_each_reading_gets_a_reply_and_each_step_is_told_once(gateway: Running) -> None:
    with gateway.connect(PATH) as socket:
        for number in range(100):
            say(socket, {**(STEP if number % 4 == 0 else STILL), "timestamp": number / 50})
        replies = [hear(socket) for _ in range(100)]
        assert sum(reply["step_end"] for reply in replies) == 24
        assert replies[-1]["step_count"] == 24
        say(socket, {"action": "stats"})
        assert (hear(socket)["readings"]) == 100
        say(socket, {"action": "stop"})
        assert hear(socket)["step_count"] == 25
        assert hear_end(socket)[0] == 1000


def test_a_reset_begins_to_count_anew(gateway: Running) -> None:
    with gateway.connect(PATH) as socket:
        for _ in range(3):
            say(socket, STEP)
            hear(socket)
        say(socket, {"action": "reset"})
        assert hear(socket) | {"session_seconds": 0} == {
            "status": "reset",
            "step_count": 0,
            "readings": 0,
            "session_seconds": 0,
        }
        say(socket, STILL)
        assert hear(socket)["step_count"] == 0


@pytest.mark.parametrize(
    "message",
    [
        "{}",
        "nonsense",
        '{"action":"explode"}',
        {**STILL, "accel_x": 51},
        {**STILL, "gyro_x": None},
        b"\x00\x01",
    ],
)
def test_what_is_no_reading_is_told_and_the_session_goes_on(
    gateway: Running, message: object
) -> None:
    with gateway.connect(PATH) as socket:
        say(socket, message)
        failed = hear(socket)
        assert (failed["status"], bool(failed["error"])) == ("error", True)
        say(socket, STILL)
        assert hear(socket)["status"] == "success"


def test_the_session_ends_with_its_connection(gateway: Running) -> None:
    with gateway.connect(PATH) as socket:
        say(socket, STEP)
        hear(socket)
    for _ in range(500):
        listed = gateway.parts.call("GET", "/api/v1/streams", gateway.key).json["streams"]
        if listed[0]["ended"] is not None:
            break
        with gateway.connect(PATH) as socket:
            say(socket, "x")
            hear(socket)
        listed = listed[-1:]
    ended = gateway.parts.call("GET", "/api/v1/streams", gateway.key).json["streams"]
    assert any(one["ended"] is not None for one in ended)
