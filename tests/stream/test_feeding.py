"""A chunk is sent until it is answered, and only what ends a stream ends a feed."""

import asyncio
import json
from collections.abc import Mapping

import pytest

from appliance.errors import Unavailable
from appliance.stream.close_codes import HungUp
from appliance.stream.feeding import Feed
from appliance.stream.front import Reply


class Scripted:
    """A front that answers as it was told to, and remembers what it was asked."""

    def __init__(self, *answers: int) -> None:
        self._answers = list(answers)
        self.asked: list[str] = []

    async def call(
        self, method: str, target: str, headers: Mapping[str, str], body: bytes = b""
    ) -> Reply:
        self.asked.append(f"{method} {target}")
        status = self._answers.pop(0)
        if status == 0:
            raise Unavailable("Nobody answers.")
        view = {"id": "a", "model": "m", "next_sequence": 5, "ended": None}
        view |= {"type": "/problems/x", "title": "X", "status": status, "detail": "So."}
        return Reply(status, json.dumps(view).encode())


def feed(front: Scripted, *, patience_seconds: float = 20.0) -> Feed:
    return Feed(front, {}, patience_seconds=patience_seconds)  # type: ignore[arg-type]


def test_a_chunk_is_sent_again_under_its_number_until_it_is_answered() -> None:
    front = Scripted(201, 0, 503, 429, 504, 200, 200)
    one = feed(front)

    async def main() -> None:
        await one.open({"model": "m"})
        await one.send(b"x", "text/csv")
        await one.send(b"y", "text/csv")

    asyncio.run(main())
    assert front.asked[1:6] == ["POST /api/v1/streams/a?sequence=5"] * 5
    assert front.asked[6] == "POST /api/v1/streams/a?sequence=6"


@pytest.mark.parametrize("status", [400, 413, 415, 422])
def test_content_that_is_refused_does_not_count(status: int) -> None:
    one = feed(Scripted(status))
    assert asyncio.run(one.send(b"x", "text/csv")).status == status
    assert one.next_sequence == 1


@pytest.mark.parametrize(
    ("status", "code"), [(401, 4401), (404, 4404), (409, 4409), (500, 1011), (507, 4507)]
)
def test_what_a_stream_cannot_go_on_after_hangs_up(status: int, code: int) -> None:
    with pytest.raises(HungUp) as end:
        asyncio.run(feed(Scripted(status)).send(b"x", "text/csv"))
    assert (int(end.value.code), end.value.reason) == (code, "So.")


def test_patience_has_an_end() -> None:
    with pytest.raises(HungUp) as end:
        asyncio.run(feed(Scripted(0, 0, 0), patience_seconds=0.0).end())
    assert int(end.value.code) == 1013
