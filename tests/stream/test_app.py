"""Who is let in, and what those who are not are told."""

import http.client
import json

import pytest

from appliance.actions.callers import Role
from tests.access_parts import issued
from tests.stream.conftest import HANG_SECONDS, Running, hear, hear_end, say

NEW = "/ws/streams?model=letters"


def test_a_key_may_come_as_the_first_message(gateway: Running) -> None:
    with gateway.connect(NEW, key=None) as socket:
        say(socket, {"key": gateway.key})
        assert hear(socket)["key_name"] == "a device"


@pytest.mark.parametrize(
    "message", ["{}", '{"key":7}', "hello", b"\xff\x00", '{"key":"a\\r\\nX-API-Key: b"}', "[]"]
)
def test_a_first_message_without_a_key_is_the_last(gateway: Running, message: str | bytes) -> None:
    with gateway.connect(NEW, key=None) as socket:
        say(socket, message)
        assert hear_end(socket)[0] == 4401


def test_a_wrong_key_a_foreign_stream_and_an_unknown_model_have_codes(gateway: Running) -> None:
    with gateway.connect(NEW, key="iak_wrong") as socket:
        assert hear_end(socket)[0] == 4401
    with gateway.connect(NEW) as socket:
        stream = hear(socket)["id"]
    for key, code in ((issued(gateway.parts.ring, name="thief"), 4404), (gateway.key, None)):
        with gateway.connect(f"/ws/streams/{stream}", key=key) as socket:
            if code is None:
                assert hear(socket)["id"] == stream
            else:
                assert hear_end(socket)[0] == code
    with gateway.connect("/ws/streams?model=nothing") as socket:
        assert hear_end(socket)[0] == 4404
    scoped = issued(gateway.parts.ring, name="scoped", models=["other"])
    with gateway.connect(NEW, key=scoped) as socket:
        assert hear_end(socket)[0] == 4403


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("/ws/streams", 4400),
        ("/ws/streams?model=a&model=b", 4400),
        ("/ws/streams?model=letters&colour=red", 4422),
        ("/ws/streams?model=letters&api_key=iak_x", 4401),
        ("/ws/realtime?model=letters", 4400),
        ("/ws/streams/00000000-0000-0000-0000-000000000000", 4404),
    ],
)
def test_an_address_that_cannot_be_is_told_by_its_code(
    gateway: Running, path: str, code: int
) -> None:
    with gateway.connect(path) as socket:
        assert hear_end(socket)[0] == code


def test_a_key_that_comes_too_late_is_not_waited_for(start_gateway) -> None:
    gateway = start_gateway(gateway_key_seconds=0.1)
    with gateway.connect(NEW, key=None) as socket:
        assert hear_end(socket)[0] == 4408


def test_an_ended_stream_is_a_conflict(gateway: Running) -> None:
    with gateway.connect(NEW) as socket:
        stream = hear(socket)["id"]
        say(socket, {"end": True})
        hear(socket)
    with gateway.connect(f"/ws/streams/{stream}") as socket:
        assert hear_end(socket)[0] == 4409


def test_connections_are_limited_in_all_and_for_each_key(start_gateway) -> None:
    gateway = start_gateway(gateway_connections=3, gateway_connections_per_key=2)
    other = issued(gateway.parts.ring, Role.OPERATOR)
    with gateway.connect(NEW) as first, gateway.connect(NEW) as second:
        hear(first)
        hear(second)
        with gateway.connect(NEW) as third:
            assert hear_end(third)[0] == 4429
        with gateway.connect(NEW, key=other) as third:
            hear(third)
            with gateway.connect(NEW, key=other) as fourth:
                assert hear_end(fourth)[0] == 1013


def test_it_says_that_it_is_alive_and_closes(gateway: Running) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=HANG_SECONDS)
    connection.request("GET", "/live")
    answer = connection.getresponse()
    assert json.loads(answer.read()) == {"live": True, "connections": 0}
    assert answer.getheader("Connection") == "close"
    connection.close()
