"""Packed bodies, both ways."""

import contextlib
import gzip
import json
import tracemalloc
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.errors import PayloadTooLarge, Problem
from appliance.web.dialects.open_inference_encoding import unpacked
from tests.web.dialects.open_inference_server import (
    BODY_BYTES,
    Served,
    error,
    infer,
    json_request,
)


@pytest.mark.parametrize("coding", ["gzip", "deflate", "GZIP", "x-gzip"])
def test_packed_requests_are_unpacked(v2: Served, coding: str) -> None:
    pack = zlib.compress if coding == "deflate" else gzip.compress
    status, _, body = infer(v2, pack(json_request()), Content_Encoding=coding)
    assert status == 200
    assert json.loads(body)["outputs"][0]["data"] == [0, 2, 4, 6, 8]


@pytest.mark.parametrize(
    ("body", "coding", "status"),
    [
        (b"not packed", "gzip", 400),
        (b"", "gzip", 400),
        (gzip.compress(json_request())[:-9], "gzip", 400),
        (gzip.compress(json_request()) + b"x", "gzip", 400),
        (gzip.compress(json_request()), "deflate", 400),
        (zlib.compress(json_request()), "gzip", 400),
        (gzip.compress(bytes(50 * BODY_BYTES)), "gzip", 413),
        (zlib.compress(bytes(50 * BODY_BYTES)), "deflate", 413),
        (json_request(), "br", 415),
        (gzip.compress(json_request()), "gzip, gzip", 415),
    ],
)
def test_packed_requests_that_are_broken_or_bombs_are_refused(
    v2: Served, body: bytes, coding: str, status: int
) -> None:
    error(infer(v2, body, Content_Encoding=coding), status)


def test_a_body_beyond_the_limit_is_refused(v2: Served) -> None:
    assert "limits.input_bytes" in error(infer(v2, bytes(BODY_BYTES + 1)), 413)


@pytest.mark.parametrize(
    ("accepted", "packed"),
    [
        (None, None),
        ("gzip", "gzip"),
        ("deflate", "deflate"),
        ("gzip;q=1.0", "gzip"),
        ("gzip;q=0", None),
        ("identity", None),
        ("gzip, deflate, br", None),
        ("*", None),
        ("br", None),
    ],
)
def test_answers_are_packed_only_for_clients_that_ask_for_just_that(
    v2: Served, accepted: str | None, packed: str | None
) -> None:
    body = json.dumps(
        {"inputs": [{"name": "x", "shape": [1, 3000], "datatype": "INT8", "data": [7] * 3000}]}
    ).encode()
    headers = {} if accepted is None else {"Accept_Encoding": accepted}
    status, answered, content = infer(v2, body, "mirror-int8", **headers)
    assert (status, answered.get("content-encoding")) == (200, packed)
    assert answered["vary"] == "Accept-Encoding"
    unpack = {"gzip": gzip.decompress, "deflate": zlib.decompress, None: bytes}[packed]
    assert json.loads(unpack(content))["outputs"][0]["shape"] == [1, 3000]


def test_small_answers_are_not_packed(v2: Served) -> None:
    answered = infer(v2, json_request(), Accept_Encoding="gzip")[1]
    assert "content-encoding" not in answered


@given(st.binary(max_size=3000), st.sampled_from(["gzip", "deflate"]))
def test_what_was_packed_is_unpacked(body: bytes, coding: str) -> None:
    packed = gzip.compress(body) if coding == "gzip" else zlib.compress(body)
    assert unpacked(packed, coding, most_bytes=3000) == body


@given(st.binary(max_size=300), st.sampled_from(["gzip", "deflate"]))
def test_no_bytes_make_unpacking_fail_in_another_way_than_a_problem(
    body: bytes, coding: str
) -> None:
    with contextlib.suppress(Problem):
        unpacked(body, coding, most_bytes=1000)


def test_a_bomb_is_refused_after_a_small_part_of_it() -> None:
    bomb = zlib.compress(bytes(100_000_000))
    tracemalloc.start()
    try:
        with pytest.raises(PayloadTooLarge):
            unpacked(bomb, "deflate", most_bytes=1_000_000)
        assert tracemalloc.get_traced_memory()[1] < 8_000_000
    finally:
        tracemalloc.stop()
