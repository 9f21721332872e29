"""Frames between processes."""

import socket
import struct
import threading
import time
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance import frames


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    one, other = socket.socketpair()
    for end in (one, other):
        end.settimeout(20)
    yield one, other
    one.close()
    other.close()


Pair = tuple[socket.socket, socket.socket]


def test_header_and_body_arrive_as_they_were_sent(pair: Pair) -> None:
    one, other = pair
    frames.send(one, {"call": "infer", "n": [1, 2.5, None, b"x"]}, b"\x00\xffbody")
    frames.send(one, "next")
    assert frames.receive(other) == ({"call": "infer", "n": [1, 2.5, None, b"x"]}, b"\x00\xffbody")
    assert frames.receive(other) == ("next", b"")


def test_a_body_larger_than_any_buffer_arrives_whole(pair: Pair) -> None:
    one, other = pair
    body = bytes(range(256)) * 40_000
    sender = threading.Thread(target=frames.send, args=(one, 1, memoryview(body)))
    sender.start()
    assert frames.receive(other) == (1, body)
    sender.join()


@given(st.binary(max_size=2000))
def test_any_body_survives(body: bytes) -> None:
    one, other = socket.socketpair()
    with one, other:
        frames.send(one, {}, body)
        assert frames.receive(other)[1] == body


def test_a_closed_connection_is_told_apart_from_a_fault(pair: Pair) -> None:
    one, other = pair
    one.sendall(b"\x01\x00")
    one.close()
    with pytest.raises(frames.FrameClosed):
        frames.receive(other)


@pytest.mark.parametrize(
    "prefix",
    [
        struct.pack("<IQ", frames.MAX_HEADER_BYTES + 1, 0),
        struct.pack("<IQ", 1, frames.MAX_BODY_BYTES + 1),
        b"\xff" * 12,
    ],
)
def test_a_length_beyond_the_caps_takes_no_memory(pair: Pair, prefix: bytes) -> None:
    one, other = pair
    one.sendall(prefix)
    with pytest.raises(ValueError, match="beyond the cap"):
        frames.receive(other)


def test_a_header_that_is_no_msgpack_is_refused(pair: Pair) -> None:
    one, other = pair
    one.sendall(struct.pack("<IQ", 1, 0) + b"\xc1")
    with pytest.raises(ValueError, match=r"."):
        frames.receive(other)


def test_a_frame_that_trickles_in_is_given_up(pair: Pair) -> None:
    one, other = pair
    other.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, frames.timeval(0.2))
    other.settimeout(None)
    is_over = threading.Event()

    def trickle() -> None:
        while not is_over.wait(0.005):
            try:
                one.send(b"\x00")
            except OSError:
                return

    one.sendall(struct.pack("<IQ", 100_000, 0))
    sender = threading.Thread(target=trickle)
    sender.start()
    try:
        with pytest.raises((TimeoutError, BlockingIOError)):
            frames.receive(other, give_up_at=time.monotonic())
    finally:
        is_over.set()
        sender.join()


def test_a_duration_becomes_what_the_kernel_wants_and_never_for_ever() -> None:
    assert struct.unpack("@ll", frames.timeval(1.5)) == (1, 500_000)
    assert struct.unpack("@ll", frames.timeval(0)) == (0, 1)
