"""One WebSocket of a stream, through the gateway and the front's own routes."""

import pytest

from tests.stream.conftest import Running, hear, hear_end, say

NEW = "/ws/streams?model=letters"


def events(answer: dict) -> int:
    return answer["totals"]["events"]


def test_each_frame_gets_one_answer_and_the_end_the_rest(gateway: Running) -> None:
    with gateway.connect(NEW + "&device=wrist") as socket:
        hello = hear(socket)
        assert (hello["next_sequence"], hello["device"]) == (1, "wrist")
        for number, frame in enumerate((b"ab", b"cd", b"e"), 1):
            say(socket, frame)
            answer = hear(socket)
            assert (answer["stream"], answer["sequence"]) == (hello["id"], number)
        assert events(answer) == 4
        say(socket, {"end": True})
        assert events(hear(socket)) == 5
        assert hear_end(socket)[0] == 1000


def test_a_device_goes_on_where_the_lost_connection_ended(gateway: Running) -> None:
    with gateway.connect(NEW) as socket:
        stream = hear(socket)["id"]
        say(socket, {"sequence": 1, "az": [20, 20, 20]})
        first = hear(socket)
    with gateway.connect(f"/ws/streams/{stream}") as socket:
        assert hear(socket)["next_sequence"] == 2
        say(socket, {"sequence": 1, "az": [20, 20, 20]})
        assert hear(socket) == first, "a repeated chunk is answered as before"
        say(socket, {"sequence": 2, "az": [20]})
        assert events(hear(socket)) == 3


def test_a_gap_in_the_numbers_closes_with_the_number_that_is_next(gateway: Running) -> None:
    with gateway.connect(NEW) as socket:
        hear(socket)
        say(socket, {"sequence": 2, "az": [20]})
        code, reason = hear_end(socket)
        assert (code, "so 1 is next" in reason) == (4409, True)


def test_many_small_frames_become_few_chunks_and_each_is_answered(gateway: Running) -> None:
    with gateway.connect(NEW) as socket:
        stream = hear(socket)["id"]
        for _ in range(200):
            say(socket, {"readings": [{"az": 20}]})
        answers = [hear(socket) for _ in range(200)]
    last = answers[-1]
    assert events(last) == 199
    merged = [answer for answer in answers if answer.get("merged")]
    assert last["totals"]["chunks"] == 200 - len(merged)
    assert [one["sequence"] for one in answers] == sorted(one["sequence"] for one in answers)
    assert all(answer["stream"] == stream for answer in answers)


def test_one_bad_frame_among_merged_ones_is_refused_alone(gateway: Running) -> None:
    with gateway.connect(NEW) as socket:
        hear(socket)
        for number in range(60):
            rows = [{"az": 20}] if number != 30 else [{"az": 20, "note": "!"}]
            say(socket, {"readings": rows})
        answers = [hear(socket) for _ in range(60)]
        refused = [n for n, answer in enumerate(answers) if "problem" in answer]
        assert refused == [30]
        assert answers[30]["problem"]["status"] == 422
        say(socket, {"end": True})
        assert events(hear(socket)) == 59


@pytest.mark.parametrize(
    ("frame", "status"),
    [
        ("nonsense", 400),
        ("[1,2]", 422),
        ('{"sequence":"one","readings":[]}', 422),
        ('{"sequence":0,"readings":[]}', 422),
        ('{"sequence":1.5,"readings":[]}', 422),
        ('{"sequence":1e999,"readings":[]}', 422),
        ("[" * 5000, 422),
        ('{"a":' * 5000, 400),
        (b"a!b", 422),
    ],
)
def test_a_malformed_frame_is_refused_and_the_stream_goes_on(
    gateway: Running, frame: str | bytes, status: int
) -> None:
    with gateway.connect(NEW) as socket:
        hear(socket)
        say(socket, frame)
        refused = hear(socket)
        assert (refused["problem"]["status"], refused["next_sequence"]) == (status, 1)
        say(socket, b"ab")
        assert events(hear(socket)) == 1


def test_a_device_that_sends_only_faults_is_sent_away(gateway: Running) -> None:
    with gateway.connect(NEW) as socket:
        hear(socket)
        for _ in range(100):
            say(socket, "nonsense")
        assert hear_end(socket)[0] == 1008


def test_a_frame_over_a_mebibyte_closes_the_connection(gateway: Running) -> None:
    with gateway.connect(NEW) as socket:
        hear(socket)
        say(socket, b"x" * (1024 * 1024 + 1))
        assert hear_end(socket)[0] == 1009


def test_frames_of_a_device_that_has_left_already_are_still_done(gateway: Running) -> None:
    with gateway.connect(NEW) as socket:
        stream = hear(socket)["id"]
        say(socket, b"a" * 10)
        hear(socket)
        for _ in range(20):
            say(socket, b"a" * 10)
    path = f"/api/v1/streams/{stream}"
    for _ in range(500):
        totals = gateway.parts.call("GET", path, gateway.key).json["totals"]
        if totals["input_bytes"] == 210:
            break
        with gateway.connect(f"/ws/streams/{stream}") as socket:
            hear(socket)  # takes as long as an event of the gateway
    assert totals["input_bytes"] == 210


def test_a_front_that_is_away_for_a_moment_is_only_a_pause(gateway: Running) -> None:
    with gateway.connect(NEW) as socket:
        hear(socket)
        say(socket, b"ab")
        hear(socket)
        gateway.door.stop()
        gateway.forget_front()
        say(socket, b"cd")
        gateway.open_door()
        assert events(hear(socket)) == 3


def test_a_host_that_dies_is_only_a_pause(gateway: Running) -> None:
    with gateway.connect(NEW) as socket:
        hear(socket)
        gateway.parts.engine.dies_at = {1, 2}
        say(socket, b"ab")
        assert events(hear(socket)) == 1


def test_a_front_that_stays_away_closes_with_try_again(start_gateway) -> None:
    gateway = start_gateway(gateway_patience_seconds=0.3)
    with gateway.connect(NEW) as socket:
        hear(socket)
        gateway.parts.engine.dies_at = set(range(1000))
        say(socket, b"ab")
        assert hear_end(socket)[0] == 1013
