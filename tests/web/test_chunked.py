import contextlib
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.errors import MalformedRequest
from appliance.web.body import Body, Spool
from appliance.web.chunked import ChunkedBody


def receiver(tmp_path=None):
    return ChunkedBody(Body(Spool(tmp_path, 10_000_000)))


def encoded(pieces):
    return b"".join(b"%x\r\n%b\r\n" % (len(p), p) for p in pieces if p) + b"0\r\n\r\n"


def fed(data, piece_bytes):
    body = receiver()
    taken = 0
    for place in range(0, len(data), piece_bytes):
        taken += body.received(data[place : place + piece_bytes])
        if body.completed:
            break
    return body, taken


@given(st.lists(st.binary(max_size=30), max_size=10), st.integers(1, 60), st.binary(max_size=5))
def test_any_content_in_any_pieces_comes_out_whole(pieces, piece_bytes, behind):
    data = encoded(pieces)
    body, taken = fed(data + behind, piece_bytes)
    assert body.completed
    assert taken == len(data)
    assert body.getfile().read() == b"".join(pieces)


@pytest.mark.parametrize(
    "data",
    [
        b"5\nhello\r\n0\r\n\r\n",
        b"5\r\nhello0\r\n\r\n",
        b"5\r\nhelloXX0\r\n\r\n",
        b"-5\r\nhello\r\n",
        b"+5\r\nhello\r\n",
        b"0x5\r\nhello\r\n",
        b"\r\n5\r\nhello\r\n",
        b" 5\r\nhello\r\n",
        b"g\r\n",
        b"5;\x00\r\nhello\r\n",
        b"5;a\nb\r\nhello\r\n",
        b"1" * 16 + b"\r\n",
        b"5;" + b"x" * 300 + b"\r\nhello\r\n",
        b"1" * 300,
        b"0\r\n" + b"X: " + b"y" * 9000 + b"\r\n\r\n",
        b"0\r\n" + b"X: y\r\n" * 2000 + b"\r\n",
    ],
)
@pytest.mark.parametrize("piece_bytes", [1, 3, 100_000])
def test_wrong_framing_is_refused_in_any_pieces(data, piece_bytes):
    with pytest.raises(MalformedRequest):
        fed(data, piece_bytes)


def test_extensions_and_trailers_are_dropped():
    body, _ = fed(b"5;a=b\r\nhello\r\n0;x\r\nT: 1\r\n\r\n", 4)
    assert body.completed
    assert body.getfile().read() == b"hello"


def test_half_a_million_one_byte_chunks_are_quick_and_small():
    data = b"1\r\nx\r\n" * 500_000 + b"0\r\n\r\n"
    before = time.process_time()
    body, _ = fed(data, 65536)
    assert len(body) == 500_000
    assert time.process_time() - before < 20


@given(st.binary(max_size=100), st.integers(1, 20))
def test_no_bytes_make_it_fail_otherwise_than_by_a_problem(data, piece_bytes):
    with contextlib.suppress(MalformedRequest):
        fed(data, piece_bytes)
