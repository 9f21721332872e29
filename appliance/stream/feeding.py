"""Feeding one stream of the front: chunk after chunk, each until it is answered.

A chunk has a number, so sending it again is harmless; that is done for as long as the front does
not answer, is overloaded or asks to slow down. Meanwhile nothing is read from the client.
"""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlencode

import msgspec

from appliance.errors import Unavailable
from appliance.stream.close_codes import CloseCode, HungUp, close_code_of
from appliance.stream.front import Front, Reply

STREAMS = "/api/v1/streams"
_AGAIN = frozenset({429, 503, 504})
_FIRST_PAUSE_SECONDS = 0.05
_LONGEST_PAUSE_SECONDS = 1.0


class View(msgspec.Struct):
    """What the gateway needs to know of a stream."""

    id: str
    model: str
    next_sequence: int
    ended: str | None


class Feed:
    """One client's way to its stream. Threads: only the event loop's."""

    def __init__(
        self,
        front: Front,
        headers: Mapping[str, str],
        *,
        patience_seconds: float,
        on_retry: Callable[[], None] = lambda: None,
    ) -> None:
        """Given the front, and the client's key and address as headers, prepare to ask.

        `on_retry` is told of each call that has to be repeated.
        """
        self._on_retry = on_retry
        self._front = front
        self._headers = dict(headers)
        self._patience_seconds = patience_seconds
        self.stream_id = ""
        self.next_sequence = 1

    async def open(self, wanted: Mapping[str, Any]) -> bytes:
        """Given a new stream's fields, open it and return its view; raise HungUp if refused."""
        headers = {"Content-Type": "application/json"}
        return await self._attach("POST", STREAMS, headers, msgspec.json.encode(wanted))

    async def resume(self, stream_id: str) -> bytes:
        """Given a stream's id, go on with it and return its view; raise HungUp if refused."""
        return await self._attach("GET", f"{STREAMS}/{stream_id}", {}, b"")

    async def send(self, body: bytes, content_type: str, sequence: int | None = None) -> Reply:
        """Given the next chunk, return the reply, which may refuse its content.

        Raise HungUp when the stream cannot go on.
        """
        number = self.next_sequence if sequence is None else sequence
        target = f"{STREAMS}/{self.stream_id}?{urlencode({'sequence': number})}"
        reply = await self._insist("POST", target, {"Content-Type": content_type}, body)
        if reply.status == 200:
            self.next_sequence = number + 1
        elif reply.status not in (400, 413, 415, 422):
            raise _hung_up(reply)
        return reply

    async def end(self) -> bytes:
        """End the stream and return its last answer; raise HungUp if refused."""
        reply = await self._insist("DELETE", f"{STREAMS}/{self.stream_id}", {}, b"")
        if reply.status != 200:
            raise _hung_up(reply)
        return reply.body

    async def _attach(
        self, method: str, target: str, headers: Mapping[str, str], body: bytes
    ) -> bytes:
        reply = await self._insist(method, target, headers, body)
        if reply.status not in (200, 201):
            raise _hung_up(reply)
        view = msgspec.json.decode(reply.body, type=View)
        if view.ended is not None:
            raise HungUp(CloseCode.CONFLICT, "This stream has ended. Open another.")
        self.stream_id, self.next_sequence = view.id, view.next_sequence
        return reply.body

    async def _insist(
        self, method: str, target: str, headers: Mapping[str, str], body: bytes
    ) -> Reply:
        loop = asyncio.get_running_loop()
        give_up_at = loop.time() + self._patience_seconds
        pause_seconds = _FIRST_PAUSE_SECONDS
        while True:
            why, asked_seconds = "The appliance does not answer.", 0.0
            try:
                reply = await self._front.call(method, target, {**self._headers, **headers}, body)
            except Unavailable:
                pass
            else:
                if reply.status not in _AGAIN:
                    return reply
                why, asked_seconds = reply.problem().detail, reply.retry_after_seconds
            if loop.time() + asked_seconds >= give_up_at:
                raise HungUp(CloseCode.TRY_AGAIN, why)
            self._on_retry()
            await asyncio.sleep(max(pause_seconds, asked_seconds))
            pause_seconds = min(2 * pause_seconds, _LONGEST_PAUSE_SECONDS)


def _hung_up(reply: Reply) -> HungUp:
    problem = reply.problem()
    return HungUp(close_code_of(reply.status), problem.detail or problem.title)
