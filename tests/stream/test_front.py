"""Calls to the front over its Unix socket: kept connections, and every way they can break."""

import asyncio
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from appliance.errors import Unavailable
from appliance.stream.front import Front, Reply

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@pytest.fixture
def path() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="ia-") as directory:
        yield Path(directory) / "front.sock"


def run(
    path: Path,
    answers: list[bytes],
    asking: Callable[[Front], Awaitable[None]],
    *,
    timeout_seconds: float = 20.0,
) -> list[int]:
    """Serve these answers, each to one request; return the requests of each connection."""
    counts: list[int] = []
    left = list(answers)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        place = len(counts)
        counts.append(0)
        while left and (await reader.readline()):
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
            await reader.readexactly(length)
            counts[place] += 1
            answer = left.pop(0)
            writer.write(answer)
            await writer.drain()
            if b"break" in answer:
                break
        writer.close()

    async def main() -> None:
        server = await asyncio.start_unix_server(serve, str(path))
        front = Front(path, most_calls=2, timeout_seconds=timeout_seconds)
        await asking(front)
        front.close()
        server.close()
        await asyncio.sleep(0.01)  # closed transports are let go in the loop's next turns

    asyncio.run(main())
    return counts


def test_one_connection_serves_many_calls(path: Path) -> None:
    async def ask(front: Front) -> None:
        for _ in range(3):
            assert await front.call("GET", "/", {"X-A": "b"}, b"body") == Reply(200, b"ok")

    assert run(path, [OK] * 3, ask) == [3]


def test_a_connection_that_the_front_closes_is_not_used_again(path: Path) -> None:
    closing = OK.replace(b"200 OK\r\n", b"200 OK\r\nConnection: close\r\n")

    async def ask(front: Front) -> None:
        for _ in range(2):
            assert (await front.call("GET", "/", {})).body == b"ok"

    assert run(path, [closing, OK], ask) == [1, 1]


@pytest.mark.parametrize(
    "answer",
    [
        b"break",
        b"break nonsense\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nbreak",
        b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\nbreak",
        b"HTTP/1.1 200 OK\r\nX: " + b"break" * 50_000,
    ],
)
def test_an_answer_that_breaks_off_is_unavailable_and_the_next_call_works(
    path: Path, answer: bytes
) -> None:
    async def ask(front: Front) -> None:
        with pytest.raises(Unavailable):
            await front.call("GET", "/", {})
        assert (await front.call("GET", "/", {})).status == 200

    run(path, [answer, OK], ask)


def test_a_front_that_says_nothing_is_given_up(path: Path) -> None:
    async def ask(front: Front) -> None:
        with pytest.raises(Unavailable, match="does not answer"):
            await front.call("GET", "/", {})

    run(path, [b""], ask, timeout_seconds=0.1)


def test_a_front_that_is_not_there_is_unavailable(path: Path) -> None:
    async def main() -> None:
        with pytest.raises(Unavailable):
            await Front(path, most_calls=1, timeout_seconds=5).call("GET", "/", {})

    asyncio.run(main())


def test_a_refusal_tells_its_problem_and_when_to_come_again() -> None:
    body = b'{"type":"/problems/x","title":"X","status":503,"detail":"Busy."}'
    assert Reply(503, body, 2.0).problem().detail == "Busy."
    assert Reply(502, b"<html>").problem().status == 502
