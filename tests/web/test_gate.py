from pathlib import Path

import pytest

from appliance import errors
from appliance.config import Http, Limits
from appliance.web.body import Spool
from appliance.web.front import adjustments
from appliance.web.gate import ANONYMOUS_BODY_BYTES, Gate
from appliance.web.host_names import HostNames
from appliance.web.lanes import Lane, Lanes
from appliance.web.request_parser import RequestParser


def gate(**settings):
    asked = []

    def authorised(headers, address):
        asked.append((headers, address))
        return "x-api-key" in headers

    described = {
        "limits": Limits(body_bytes=1_000_000, spool_bytes=2_000_000),
        "lanes": Lanes(threads=dict.fromkeys(Lane, 1), most_waiting=dict.fromkeys(Lane, 1)),
        "spool": Spool(Path("/nowhere"), 2_000_000),
        "host_names": HostNames(()),
        "lane_of": lambda method, path: Lane.INFERENCE if path == "/p" else Lane.CONTROL,
        "body_limit": None,
        "authorised": authorised,
    }
    made = Gate(**(described | settings))
    return made, asked


def request(path, length=0, key=""):
    parser = RequestParser(adjustments(Http(), 1000), HostNames(()))
    lines = [f"POST {path} HTTP/1.1", "Host: localhost", f"Content-Length: {length}"]
    parser.received("\r\n".join([*lines, *([key] if key else []), "", ""]).encode())
    return parser


def test_requests_go_to_their_lane():
    rules, asked = gate()
    assert rules.admit(request("/p", 5), "10.0.0.1") is Lane.INFERENCE
    assert rules.admit(request("/x"), "10.0.0.1") is Lane.CONTROL
    assert asked == [], "small bodies are taken from anyone"


def test_large_bodies_are_taken_from_known_callers_only():
    rules, asked = gate()
    with pytest.raises(errors.Unauthenticated):
        rules.admit(request("/p", ANONYMOUS_BODY_BYTES + 1), "10.0.0.1")
    known = request("/p", ANONYMOUS_BODY_BYTES + 1, "X-API-Key: k")
    assert rules.admit(known, "10.0.0.2") is Lane.INFERENCE
    assert asked[1][0]["x-api-key"] == "k"
    assert asked[1][1] == "10.0.0.2"


def test_the_smaller_limit_counts():
    rules, _ = gate(body_limit=lambda method, path: 100 if path == "/p" else 1 << 40)
    with pytest.raises(errors.PayloadTooLarge, match="100"):
        rules.admit(request("/p", 101), "")
    with pytest.raises(errors.PayloadTooLarge, match="1000000"):
        rules.admit(request("/x", 1_000_001), "")


def test_a_full_line_refuses_and_takes_no_budget_for_long():
    rules, _ = gate()
    for _ in range(2):
        assert rules.lanes.submit(Lane.INFERENCE, lambda: None)
    refused = request("/p", 600_000, "X-API-Key: k")
    with pytest.raises(errors.Overloaded):
        rules.admit(refused, "")
    refused.discard_body()
    assert rules.spool.taken_bytes == 0
    assert rules.admit(request("/x"), "") is Lane.CONTROL


def test_nothing_is_let_in_while_stopping():
    rules, _ = gate()
    rules.is_closing = True
    with pytest.raises(errors.ShuttingDown):
        rules.admit(request("/x"), "")


def test_a_rule_that_fails_is_a_problem_not_a_hang(serve, caplog):
    def fails(method, path):
        raise ValueError("no such route table")

    serving = serve(body_limit=fails)
    with serving.client() as client:
        assert client.ask("/echo", b"x").slug == "internal"
    assert "no such route table" in caplog.text


def test_where_the_key_is_in_the_body_a_larger_one_is_taken():
    rules, asked = gate(unknown_body=lambda path: 200_000 if path == "/p" else 0)
    assert rules.admit(request("/p", 200_000), "10.0.0.1") is Lane.INFERENCE
    assert asked == []
    with pytest.raises(errors.Unauthenticated, match="200000"):
        rules.admit(request("/p", 200_001), "10.0.0.1")
    assert rules.unknown_bytes("/x") == ANONYMOUS_BODY_BYTES, "never less than anywhere else"
