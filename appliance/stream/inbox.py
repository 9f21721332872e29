"""What a client has sent and nobody has taken yet: bounded, so that a fast client has to wait."""

import asyncio
import contextlib
from collections import deque
from typing import Generic, Protocol, TypeVar

import falcon

from appliance.errors import InvalidInput, MalformedRequest, Problem
from appliance.stream.frames import MOST_WAITING, MOST_WAITING_BYTES
from appliance.stream.measures import Talk

T = TypeVar("T")
Read = TypeVar("Read", covariant=True)


class Reader(Protocol[Read]):
    """Makes something of a message."""

    def __call__(self, message: str | bytes) -> Read:
        """Given a message, return what it says; raise MalformedRequest or InvalidInput."""


class Inbox(Generic[T]):
    """Messages of one WebSocket in order, each read, or the problem why it could not be.

    Threads: only the event loop's. `run` is one task, `wait` and `take` another's. Beyond 128
    messages or 2 MiB nothing is read, so TCP holds the client back.
    """

    def __init__(self, socket: Talk, read: Reader[T]) -> None:
        self._socket = socket
        self._read = read
        self.waiting: deque[T | Problem] = deque()
        self._sizes: deque[int] = deque()
        self._bytes = 0
        self._changed = asyncio.Event()
        self._has_room = asyncio.Event()
        self._is_over = False

    async def run(self) -> None:
        """Read until the client is gone."""
        try:
            with contextlib.suppress(falcon.WebSocketDisconnected):
                while True:
                    self._put(await self._socket.receive_media())
                    while len(self.waiting) >= MOST_WAITING or self._bytes >= MOST_WAITING_BYTES:
                        self._has_room.clear()
                        await self._has_room.wait()
        finally:
            self._is_over = True
            self._changed.set()

    async def wait(self) -> bool:
        """Return True when something waits, False when the client is gone and all is taken."""
        while not self.waiting:
            if self._is_over:
                return False
            self._changed.clear()
            await self._changed.wait()
        return True

    def take(self, count: int) -> list[T | Problem]:
        """Given how many, take the first of what waits."""
        taken = [self.waiting.popleft() for _ in range(count)]
        self._bytes -= sum(self._sizes.popleft() for _ in range(count))
        self._has_room.set()
        return taken

    def _put(self, message: object) -> None:
        assert isinstance(message, str | bytes)
        try:
            self.waiting.append(self._read(message))
        except (MalformedRequest, InvalidInput) as problem:
            self.waiting.append(problem)
        self._sizes.append(len(message))
        self._bytes += len(message)
        self._changed.set()
