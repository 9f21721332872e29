import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance import errors
from appliance.config import Http
from appliance.web.body import Spool
from appliance.web.front import adjustments
from appliance.web.host_names import HostNames
from appliance.web.request_parser import RequestParser

NAMES = HostNames(("box.example",), machine=frozenset({"localhost"}))
ADJUSTMENTS = adjustments(Http(), 1000)


def parsed(data, tmp_path=None, piece_bytes=1 << 20):
    """Feed `data` in pieces; return the parser and what it did not take."""
    parser = RequestParser(ADJUSTMENTS, NAMES)
    rest = b""
    place = 0
    while (place < len(data) or rest) and not parser.completed:
        rest += data[place : place + piece_bytes]
        place += piece_bytes
        had_head = parser.headers_finished
        rest = rest[parser.received(rest) :]
        if parser.headers_finished and not had_head and parser.has_body:
            parser.take_body(Spool(tmp_path, 10_000_000), 1000)
    return parser, rest + data[place:]


def head(*fields, line="GET / HTTP/1.1", host="Host: localhost"):
    return "\r\n".join([line, *([host] if host else []), *fields, "", ""]).encode("latin-1")


def refusal(data):
    with pytest.raises(errors.Problem) as raised:
        parsed(data)
    return type(raised.value)


@pytest.mark.parametrize("piece_bytes", [1, 2, 3, 7, 50, 1000])
def test_a_request_means_the_same_in_any_pieces(tmp_path, piece_bytes):
    data = head("X-A: 1", "Content-Length: 5", line="POST /a%20b?c=d HTTP/1.1") + b"helloGET"
    parser, rest = parsed(data, tmp_path, piece_bytes)
    assert (parser.command, parser.path, parser.query) == ("POST", "/a b", "c=d")
    assert parser.headers["X_A"] == "1"
    assert parser.get_body_stream().read() == b"hello"
    assert rest.startswith(b"GET"[: len(rest)])


@pytest.mark.parametrize("piece_bytes", [1, 2, 5, 1000])
def test_a_chunked_request_gets_a_length(tmp_path, piece_bytes):
    data = head("Transfer-Encoding: chunked", line="POST / HTTP/1.1")
    parser, rest = parsed(data + b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\nX", tmp_path, piece_bytes)
    assert parser.get_body_stream().read() == b"abcde"
    assert parser.headers["CONTENT_LENGTH"] == "5"
    assert "TRANSFER_ENCODING" not in parser.headers
    assert rest == b"X"


@pytest.mark.parametrize(
    "fields",
    [
        ("Transfer-Encoding: chunked", "Content-Length: 5"),
        ("Content-Length: 5", "Transfer-Encoding: chunked"),
        ("Content-Length: 5", "Content-Length: 5"),
        ("Content-Length: 5", "content-length: 6"),
        ("Content-Length: 5, 5",),
        ("Content-Length: +5",),
        ("Content-Length: -5",),
        ("Content-Length: 0x5",),
        ("Content-Length: 5 5",),
        ("Content-Length: \xb2",),
        ("Content-Length: ",),
        ("Content-Length: 1_0",),
        ("Content-Length: 9999999999999999999",),
        ("Transfer-Encoding: chunked", "Transfer-Encoding: chunked"),
        ("Transfer-Encoding: xchunked",),
        ("Transfer-Encoding: chunked, chunked",),
        ("Transfer-Encoding: gzip, chunked",),
        ("Transfer-Encoding: identity",),
        ("Transfer-Encoding: chunked\x0b",),
        ("Transfer-Encoding : chunked",),
        ("Transfer-Encoding:",),
        (" Transfer-Encoding: chunked",),
        ("X: a", " folded"),
        ("X: a", "\tfolded"),
        ("X: a\nTransfer-Encoding: chunked",),
        ("X: a\rTransfer-Encoding: chunked",),
        ("X: a\x00b",),
        ("X: a\x7fb",),
        ("X\x00: a",),
        ("X y: a",),
        (": a",),
        ("no colon",),
        ("Host: localhost",),
        ("Content-Type: a/b", "Content-Type: c/d"),
        ("Authorization: Bearer a", "Authorization: Bearer b"),
    ],
)
def test_ambiguous_heads_are_refused(fields):
    assert refusal(head(*fields, line="POST / HTTP/1.1")) is errors.MalformedRequest


@pytest.mark.parametrize(
    "line",
    [
        "GET /",
        "GET / HTTP/2.0",
        "GET / HTTP/0.9",
        "GET / http/1.1",
        "GET  / HTTP/1.1",
        "GET / HTTP/1.1 ",
        " GET / HTTP/1.1",
        "get / HTTP/1.1",
        "GET / x HTTP/1.1",
        "GET x HTTP/1.1",
        "GET ?a HTTP/1.1",
        "GET * HTTP/1.1",
        "GET /#a HTTP/1.1",
        "GET /%00 HTTP/1.1",
        "GET /%0d%0aX HTTP/1.1",
        "GET /a\tb HTTP/1.1",
        "GET http:///x HTTP/1.1",
        "GET ftp://localhost/x HTTP/1.1",
        "GET http://[::1/x HTTP/1.1",
        "GET http://other.example/x HTTP/1.1",
        "\x16\x03\x01\x02",
        "G\x00T / HTTP/1.1",
        "",
    ],
)
def test_malformed_request_lines_are_refused(line):
    assert refusal(head(line=line)) is errors.MalformedRequest


def test_connect_is_not_offered():
    assert refusal(head(line="CONNECT a.example:443 HTTP/1.1")) is errors.NotImplementedHere


def test_unknown_methods_are_left_to_the_application():
    parser, _ = parsed(head(line="FROBNICATE /x HTTP/1.1"))
    assert (parser.command, parser.completed) == ("FROBNICATE", True)


def test_options_may_ask_about_the_whole_server():
    assert parsed(head(line="OPTIONS * HTTP/1.1"))[0].path == "*"


def test_leading_slashes_are_folded_before_routing():
    assert parsed(head(line="GET ///live HTTP/1.1"))[0].path == "/live"


def test_an_absolute_target_to_this_host_is_taken():
    assert parsed(head(line="GET http://localhost/x?y HTTP/1.1"))[0].path == "/x"


@pytest.mark.parametrize("host", ["Host: evil.example", "Host: localhost.evil.example"])
def test_other_hosts_are_misdirected(host):
    assert refusal(head(host=host)) is errors.MisdirectedRequest


@pytest.mark.parametrize("host", ["", "Host:", "Host: a b", "Host: a@b", "Host: localhost:99999"])
def test_a_host_is_needed(host):
    assert refusal(head(host=host)) is errors.MalformedRequest


def test_old_clients_need_no_host():
    parser, _ = parsed(head(line="GET / HTTP/1.0", host=""))
    assert parser.completed
    assert not parser.keeps_alive


@pytest.mark.parametrize(
    ("version", "connection", "keeps_alive"),
    [
        ("1.1", "keep-alive", True),
        ("1.1", "Close", False),
        ("1.1", "trailers, close", False),
        ("1.0", "keep-alive", True),
        ("1.0", "x", False),
    ],
)
def test_the_connection_header_decides_on_keeping_it(version, connection, keeps_alive):
    parser, _ = parsed(head(f"Connection: {connection}", line=f"GET / HTTP/{version}"))
    assert parser.keeps_alive is keeps_alive


def test_large_heads_are_refused_as_soon_as_they_are_too_large():
    parser = RequestParser(ADJUSTMENTS, NAMES)
    parser.received(b"GET /v2/x HTTP/1.1\r\nX: ")
    for _ in range(16):
        parser.received(b"a" * 1000)
    with pytest.raises(errors.HeadersTooLarge):
        parser.received(b"a" * 1000)
    assert parser.path == "/v2/x", "known for the shape of the answer"


def test_many_fields_are_refused():
    assert refusal(head(*(["A: b"] * 101))) is errors.HeadersTooLarge


def test_blank_lines_before_a_request_are_few():
    assert parsed(b"\r\n\r\n" + head())[0].completed
    parser = RequestParser(ADJUSTMENTS, NAMES)
    for _ in range(4):
        parser.received(b"\r\n")
    with pytest.raises(errors.MalformedRequest):
        parser.received(b"\r\n")


def test_names_with_underscores_are_dropped():
    parser, _ = parsed(head("X_API_Key: fake", "Content_Length: 5"))
    assert parser.headers == {"HOST": "localhost"}
    assert parser.completed


def test_a_chunked_body_over_the_limit_is_refused_by_its_announcement(tmp_path):
    data = head("Transfer-Encoding: chunked", line="POST / HTTP/1.1") + b"ffffff\r\n"
    with pytest.raises(errors.PayloadTooLarge):
        parsed(data, tmp_path)


@pytest.mark.parametrize(
    ("given_id", "kept"), [("abc-1.2:3_4", "abc-1.2:3_4"), ("a" * 65, ""), ("a b", ""), ("<", "")]
)
def test_a_request_id_is_echoed_only_when_sane(given_id, kept):
    assert parsed(head(f"X-Request-ID: {given_id}"))[0].request_id == kept


@given(st.binary(max_size=200))
def test_no_bytes_make_it_fail_otherwise_than_by_a_problem(data):
    parser = RequestParser(ADJUSTMENTS, NAMES)
    with contextlib.suppress(errors.Problem):
        parser.received(data)


FRAGMENTS = [
    b"GET ", b"POST / HTTP/1.1\r\n", b"Host: localhost\r\n", b"Content-Length: 3\r\n", b"\r\n",
    b"Transfer-Encoding: chunked\r\n", b"0\r\n\r\n", b"abc", b"\n", b" ", b"3\r\nabc\r\n", b"\x00",
]  # fmt: skip


@given(st.lists(st.sampled_from(FRAGMENTS), max_size=12), st.integers(1, 20))
def test_pieces_never_change_the_verdict(fragments, piece_bytes):
    data = b"".join(fragments)

    def verdict(count):
        try:
            parser, rest = parsed(data, None, count)
        except errors.Problem as problem:
            return problem.slug
        return parser.completed, parser.completed and rest

    assert verdict(piece_bytes) == verdict(1 << 20)
