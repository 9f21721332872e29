"""What the gateway counts, and how Prometheus reads it.

Ten numbers need no library: the gateway is to stay small, and the text format is a line for each.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from typing import NamedTuple, Protocol

import falcon.asgi

from appliance.stream.close_codes import CloseCode

#: Prometheus text exposition format 0.0.4.
MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_PREFIX = "inference_appliance_gateway_"
#: The label of connections that ended without a word of the gateway.
_GONE = "client"
_KEY_FAULTS = (CloseCode.NO_KEY, CloseCode.KEY_TOO_LATE)


class _Family(NamedTuple):
    kind: str
    help: str


_FAMILIES: dict[str, _Family] = {
    "up": _Family("gauge", "1: the gateway answers."),
    "connections": _Family("gauge", "WebSockets that are open."),
    "connections_opened_total": _Family("counter", "WebSockets that were accepted."),
    "connections_closed_total": _Family(
        "counter", "WebSockets that ended, by close code; 'client' when the client went away."
    ),
    "reconnects_total": _Family("counter", "Streams that a client went on with."),
    "key_failures_total": _Family("counter", "WebSockets closed for want of a valid key."),
    "messages_received_total": _Family("counter", "Messages of clients."),
    "messages_sent_total": _Family("counter", "Messages to clients."),
    "received_bytes_total": _Family("counter", "Bytes in messages of clients."),
    "front_retries_total": _Family(
        "counter", "Calls of the appliance that had to be repeated: no answer, 429, 503 or 504."
    ),
}


class Talk(Protocol):
    """The part of a WebSocket that conversations use."""

    async def receive_media(self) -> object:
        """Return the next message; raise WebSocketDisconnected."""

    async def send_text(self, payload: str) -> None:
        """Send a message; raise WebSocketDisconnected."""


class Measures:
    """Counts since the gateway began. Threads: only the event loop's."""

    def __init__(self) -> None:
        #: How many WebSockets are open; set by whoever knows.
        self.count_open: Callable[[], int] = lambda: 0
        self.opened = 0
        self.reconnects = 0
        self.messages_received = 0
        self.messages_sent = 0
        self.received_bytes = 0
        self.front_retries = 0
        self._closed: Counter[str] = Counter(
            {_GONE: 0, **{str(int(code)): 0 for code in CloseCode}}
        )

    def closed(self, code: CloseCode | None) -> None:
        """Given the code a WebSocket was closed with, None when the client was gone, count it."""
        self._closed[_GONE if code is None else str(int(code))] += 1

    def exposition(self) -> bytes:
        """Return everything in Prometheus' text format."""
        return "".join(self._lines()).encode()

    def _lines(self) -> Iterator[str]:
        values = {
            "up": 1,
            "connections": self.count_open(),
            "connections_opened_total": self.opened,
            "reconnects_total": self.reconnects,
            "key_failures_total": sum(self._closed[str(int(code))] for code in _KEY_FAULTS),
            "messages_received_total": self.messages_received,
            "messages_sent_total": self.messages_sent,
            "received_bytes_total": self.received_bytes,
            "front_retries_total": self.front_retries,
        }
        for name, family in _FAMILIES.items():
            yield f"# HELP {_PREFIX}{name} {family.help}\n# TYPE {_PREFIX}{name} {family.kind}\n"
            if name in values:
                yield f"{_PREFIX}{name} {values[name]}\n"
                continue
            for code, count in sorted(self._closed.items()):
                yield f'{_PREFIX}{name}{{code="{code}"}} {count}\n'


class CountedSocket:
    """A WebSocket whose messages are counted. Threads: only the event loop's."""

    def __init__(self, socket: falcon.asgi.WebSocket, measures: Measures) -> None:
        self._socket = socket
        self._measures = measures

    async def receive_media(self) -> object:
        """Return the next message; raise WebSocketDisconnected."""
        message: object = await self._socket.receive_media()
        self._measures.messages_received += 1
        if isinstance(message, str | bytes):
            self._measures.received_bytes += len(message)
        return message

    async def send_text(self, payload: str) -> None:
        """Send a message; raise WebSocketDisconnected."""
        await self._socket.send_text(payload)
        self._measures.messages_sent += 1
