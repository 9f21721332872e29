"""Streams over HTTP: what a device may send and what it is told."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.clock import ManualClock
from tests.access_parts import issued, opened
from tests.stream_parts import Parts

STREAMS = "/api/v1/streams"


@pytest.fixture
def parts(tmp_path: Path) -> Iterator[Parts]:
    clock = ManualClock()
    with opened(tmp_path / "state", clock) as database:
        yield Parts(database, clock)


@pytest.fixture
def key(parts: Parts) -> str:
    return issued(parts.ring)


def opened_stream(parts: Parts, key: str) -> str:
    answer = parts.call("POST", STREAMS, key, json={"model": "letters"})
    assert answer.status_code == 201
    assert answer.headers["Location"] == f"{STREAMS}/{answer.json['id']}"
    return str(answer.json["id"])


def send(parts: Parts, key: str, stream: str, body: bytes, query: str = ""):
    headers = {"Content-Type": "text/csv"}
    return parts.call("POST", f"{STREAMS}/{stream}{query}", key, body=body, headers=headers)


def test_a_stream_lives_from_opening_to_its_end(parts: Parts, key: str) -> None:
    stream = opened_stream(parts, key)
    answer = send(parts, key, stream, b"abc", "?sequence=1")
    assert (answer.status_code, answer.json["totals"]["events"]) == (200, 2)
    assert send(parts, key, stream, b"abc", "?sequence=1").content == answer.content
    view = parts.call("GET", f"{STREAMS}/{stream}", key)
    assert (view.json["next_sequence"], view.json["ended"]) == (2, None)
    last = parts.call("DELETE", f"{STREAMS}/{stream}", key)
    assert (last.json["ended"], last.json["totals"]["events"]) == (True, 3)
    assert parts.call("DELETE", f"{STREAMS}/{stream}", key).content == last.content
    listed = parts.call("GET", STREAMS, key).json["streams"]
    assert [(one["id"], one["end_reason"]) for one in listed] == [(stream, "asked")]


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("?sequence=3", 409),
        ("?sequence=0", 422),
        ("?sequence=-1", 422),
        ("?sequence=1.5", 422),
        ("?sequence=99999999999999999999", 422),
        ("?sequence=1&sequence=2", 400),
        ("?number=1", 422),
    ],
)
def test_a_number_that_cannot_be_is_refused(
    parts: Parts, key: str, query: str, status: int
) -> None:
    stream = opened_stream(parts, key)
    answer = send(parts, key, stream, b"a", query)
    assert answer.status_code == status
    assert answer.json["detail"]


def test_another_keys_stream_is_not_found(parts: Parts, key: str) -> None:
    stream = opened_stream(parts, key)
    thief = issued(parts.ring, name="thief")
    assert send(parts, thief, stream, b"a").status_code == 404
    assert parts.call("GET", f"{STREAMS}/{stream}", thief).status_code == 404
    assert parts.call("DELETE", f"{STREAMS}/{stream}", thief).status_code == 404
    assert parts.call("GET", STREAMS, thief).json["streams"] == []


def test_without_a_key_nothing_is_open(parts: Parts) -> None:
    assert parts.call("GET", STREAMS, None).status_code == 401
    assert parts.call("POST", STREAMS, None, json={"model": "letters"}).status_code == 401
