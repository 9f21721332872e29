import contextlib
import socket
import threading
import time
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance import frames

Pair = tuple[socket.socket, socket.socket]


@pytest.fixture
def pair() -> Iterator[Pair]:
    left, right = socket.socketpair()
    with left, right:
        left.settimeout(10)
        right.settimeout(10)
        yield left, right


headers = st.dictionaries(
    st.text(max_size=20),
    st.one_of(st.none(), st.booleans(), st.integers(-(2**63), 2**63), st.text(max_size=50)),
    max_size=5,
)


@settings(deadline=None, max_examples=100)
@given(headers, st.binary(max_size=1000))
def test_a_frame_comes_out_as_it_went_in(header: dict[str, object], body: bytes) -> None:
    left, right = socket.socketpair()
    with left, right:
        frames.send(left, header, body)
        assert frames.receive(right) == (header, bytearray(body))


def test_a_body_larger_than_the_sockets_buffer_passes_whole(pair: Pair) -> None:
    left, right = pair
    body = bytes(range(256)) * 20_000
    sender = threading.Thread(target=frames.send, args=(left, {"n": 1}, memoryview(body)))
    sender.start()
    header, found = frames.receive(right)
    sender.join(10)
    assert header == {"n": 1}
    assert found == body


def test_frames_follow_one_another(pair: Pair) -> None:
    left, right = pair
    for number in range(3):
        frames.send(left, number, b"x" * number)
    assert [frames.receive(right) for _ in range(3)] == [(0, b""), (1, b"x"), (2, b"xx")]


def test_a_closed_connection_is_told(pair: Pair) -> None:
    left, right = pair
    left.close()
    with pytest.raises(frames.FrameClosed):
        frames.receive(right)


def test_a_frame_that_breaks_off_is_told(pair: Pair) -> None:
    left, right = pair
    left.sendall(frames._PREFIX.pack(5, 100) + b"\xa4abcd" + b"only so far")
    left.close()
    with pytest.raises(frames.FrameClosed):
        frames.receive(right)


@pytest.mark.parametrize(
    "prefix", [(frames.MAX_HEADER_BYTES + 1, 0), (1, frames.MAX_BODY_BYTES + 1), (2**32 - 1, 1)]
)
def test_lengths_beyond_the_caps_are_refused_before_any_memory_is_taken(
    pair: Pair, prefix: tuple[int, int]
) -> None:
    left, right = pair
    left.sendall(frames._PREFIX.pack(*prefix))
    with pytest.raises(ValueError, match="beyond the cap"):
        frames.receive(right)


@settings(deadline=None, max_examples=200)
@given(st.binary(max_size=200))
def test_random_bytes_are_a_frame_or_an_error_that_is_expected(junk: bytes) -> None:
    left, right = socket.socketpair()
    with left, right:
        left.sendall(junk)
        left.close()
        with contextlib.suppress(frames.FrameClosed, ValueError):
            frames.receive(right)


def test_a_frame_that_trickles_in_is_given_up(pair: Pair) -> None:
    left, right = pair
    left.sendall(b"\x01")
    with pytest.raises(TimeoutError):
        frames.receive(right, give_up_at=time.monotonic() - 1)


def test_the_kernels_timeout_ends_a_wait(pair: Pair) -> None:
    _, right = pair
    right.settimeout(None)
    right.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, frames.timeval(0.05))
    with pytest.raises(BlockingIOError):
        frames.receive(right)


def test_a_timeout_is_never_zero_which_would_mean_for_ever() -> None:
    assert frames.timeval(1e-9) == frames.timeval(1e-6)
    assert frames.timeval(2.5) == frames.struct.pack("@ll", 2, 500_000)


def test_an_inbox_receives_frames_of_any_length_one_after_the_other(pair: Pair) -> None:
    left, right = pair
    inbox = frames.Inbox(right)
    bodies = [b"first" * 30_001, b"", b"second", b"\x01" * 2_000_000, b"third" * 9]
    sender = threading.Thread(
        target=lambda: [frames.send(left, {"n": n}, body) for n, body in enumerate(bodies)]
    )
    sender.start()
    for number, body in enumerate(bodies):
        header, found = inbox.receive()
        assert (header, bytes(found)) == ({"n": number}, body)
    sender.join(10)


def test_the_end_of_a_body_in_an_inbox_is_aligned(pair: Pair) -> None:
    left, right = pair
    inbox = frames.Inbox(right)
    for text in (b"{}", b'{"a":1}', b""):
        frames.send(left, 0, text + np.arange(40, dtype="<f8").tobytes())
        _, body = inbox.receive()
        tensor = np.frombuffer(body[len(text) :], "<f8")
        assert tensor.flags.aligned
        assert tensor.tolist() == list(range(40))


def test_an_inbox_tells_a_closed_connection(pair: Pair) -> None:
    left, right = pair
    left.close()
    with pytest.raises(frames.FrameClosed):
        frames.Inbox(right).receive()
