"""The gateway's Falcon app: three routes for WebSockets, and what watches the process."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, Protocol

import falcon
import falcon.asgi
import msgspec
from falcon.media import BinaryBaseHandlerWS, TextBaseHandlerWS

from appliance.actions.networks import Network, is_inside, networks_of
from appliance.clock import Clock
from appliance.config import Metrics, Streams
from appliance.errors import Forbidden
from appliance.stream.close_codes import CloseCode, HungUp
from appliance.stream.feeding import Feed
from appliance.stream.front import Front
from appliance.stream.inbox import Inbox
from appliance.stream.measures import MEDIA_TYPE, CountedSocket, Measures
from appliance.stream.realtime import RealtimeSession
from appliance.stream.seats import Seats
from appliance.stream.session import Session

_log = logging.getLogger(__name__)
_KEY_HEADERS = ("X-API-Key", "Authorization")
_MOST_KEY_CHARS = 512


class _FirstMessage(msgspec.Struct):
    key: str


class _Text(TextBaseHandlerWS):
    """Text as it is: it is read once, by what knows its meaning."""

    def deserialize(self, payload: str) -> object:
        """Return the text."""
        return payload


class _Binary(BinaryBaseHandlerWS):
    """Bytes as they are."""

    def deserialize(self, payload: bytes) -> object:
        """Return the bytes."""
        return payload


class Conversation(Protocol):
    """What is done with one WebSocket once its key is known."""

    @property
    def inbox(self) -> Inbox[Any]:
        """Where its messages arrive."""

    async def run(self) -> None:
        """Answer until the client is gone; raise HungUp to close."""


class Sockets:
    """Lets WebSockets in: a seat, a key, then the conversation. Threads: only the event loop's."""

    def __init__(
        self, front: Front, seats: Seats, settings: Streams, clock: Clock, measures: Measures
    ) -> None:
        self._measures = measures
        self._front = front
        self._seats = seats
        self._settings = settings
        self._clock = clock

    async def on_websocket(
        self, request: falcon.asgi.Request, socket: falcon.asgi.WebSocket, stream_id: str = ""
    ) -> None:
        """Serve /ws/streams/{id} and /ws/streams?model=…"""
        talk = CountedSocket(socket, self._measures)

        async def begin(feed: Feed) -> Conversation:
            if stream_id:
                _no_parameters(request)
                hello = await feed.resume(stream_id)
                self._measures.reconnects += 1
            else:
                hello = await feed.open(_wanted(request))
            await talk.send_text(hello.decode())
            return Session(talk, feed)

        await self._serve(request, socket, begin)

    async def on_websocket_realtime(
        self, request: falcon.asgi.Request, socket: falcon.asgi.WebSocket
    ) -> None:
        """Serve /ws/realtime."""

        async def begin(feed: Feed) -> Conversation:
            _no_parameters(request)
            return RealtimeSession(CountedSocket(socket, self._measures), feed, self._clock)

        await self._serve(request, socket, begin)

    async def _serve(
        self,
        request: falcon.asgi.Request,
        socket: falcon.asgi.WebSocket,
        begin: Callable[[Feed], Any],
    ) -> None:
        address = (request.remote_addr or "").removeprefix("::ffff:")
        why: HungUp | None = None
        try:
            await socket.accept()
            self._measures.opened += 1
            with self._seats.seated():
                await self._converse(request, socket, begin, address)
        except HungUp as end:
            why = end
            with contextlib.suppress(falcon.WebSocketDisconnected):
                await socket.close(end.code, end.reason)
        except falcon.WebSocketDisconnected:
            pass
        finally:
            self._measures.closed(why.code if why else None)
            told = why or HungUp(CloseCode.DONE, "The client is gone.")
            _log.info(
                "websocket closed",
                extra={"address": address, "code": int(told.code), "reason": told.reason},
            )

    async def _converse(
        self,
        request: falcon.asgi.Request,
        socket: falcon.asgi.WebSocket,
        begin: Callable[[Feed], Any],
        address: str,
    ) -> None:
        with self._seats.waiting_for_key(address):
            key = await self._key(request, socket)
        with self._seats.of_key("".join(key.values())):
            feed = Feed(
                self._front,
                {**key, "X-Gateway-Address": address},
                patience_seconds=self._settings.gateway_patience_seconds,
                on_retry=self._note_retry,
            )
            conversation: Conversation = await begin(feed)
            async with _running(conversation.inbox):
                await conversation.run()

    def _note_retry(self) -> None:
        self._measures.front_retries += 1

    async def _key(
        self, request: falcon.asgi.Request, socket: falcon.asgi.WebSocket
    ) -> dict[str, str]:
        """Return the header that carries the client's key: its own, or one from its first message.

        A key is always needed: a page of another site could otherwise open WebSockets to a
        gateway on the machine of whoever looks at it.
        """
        shown = {name: request.get_header(name) for name in _KEY_HEADERS}
        given = {name: _sane(value) for name, value in shown.items() if value}
        if given:
            return given
        try:
            async with asyncio.timeout(self._settings.gateway_key_seconds):
                message = await socket.receive_media()
        except TimeoutError:
            raise HungUp(CloseCode.KEY_TOO_LATE) from None
        assert isinstance(message, str | bytes)
        try:
            first = msgspec.json.decode(message, type=_FirstMessage)
        except (msgspec.DecodeError, UnicodeDecodeError):
            raise HungUp(
                CloseCode.NO_KEY, 'Show a key: as X-API-Key, or {"key": …} as the first message.'
            ) from None
        return {"X-API-Key": _sane(first.key)}


class Alive:
    """GET /live, for whoever watches the process."""

    def __init__(self, seats: Seats) -> None:
        self._seats = seats

    async def on_get(self, request: falcon.asgi.Request, response: falcon.asgi.Response) -> None:
        """Say how many are connected."""
        response.set_header("Connection", "close")
        response.content_type = "application/json"
        response.data = msgspec.json.encode({"live": True, "connections": self._seats.taken})


class Scraped:
    """GET /metrics, for the networks that may read the appliance's own."""

    def __init__(self, measures: Measures, networks: tuple[Network, ...]) -> None:
        self._measures = measures
        self._networks = networks

    async def on_get(self, request: falcon.asgi.Request, response: falcon.asgi.Response) -> None:
        """Answer in the text format."""
        response.set_header("Connection", "close")
        if not is_inside(request.remote_addr or "", self._networks):
            problem = Forbidden(
                "The gateway's metrics are told to the networks of metrics.public only."
            )
            response.status = problem.status
            response.content_type = "application/problem+json"
            response.data = msgspec.json.encode(problem.document())
            return
        response.content_type = MEDIA_TYPE
        response.data = self._measures.exposition()


def create_app(
    front: Front, settings: Streams, clock: Clock, *, metrics: Metrics | None = None
) -> "falcon.asgi.App[falcon.asgi.Request, falcon.asgi.Response]":
    """Given the way to the front, and who may read metrics, return the ASGI application."""
    seats = Seats(
        most=settings.gateway_connections, most_per_key=settings.gateway_connections_per_key
    )
    measures = Measures()
    measures.count_open = lambda: seats.taken
    sockets = Sockets(front, seats, settings, clock, measures)
    app: falcon.asgi.App[falcon.asgi.Request, falcon.asgi.Response] = falcon.asgi.App()
    app.ws_options.max_receive_queue = 0  # the inbox is the queue
    handlers = app.ws_options.media_handlers
    handlers[falcon.WebSocketPayloadType.TEXT] = _Text()
    handlers[falcon.WebSocketPayloadType.BINARY] = _Binary()
    app.add_route("/ws/streams", sockets)
    app.add_route("/ws/streams/{stream_id:uuid}", _ById(sockets))
    app.add_route("/ws/realtime", sockets, suffix="realtime")
    app.add_route("/live", Alive(seats))
    app.add_route("/metrics", Scraped(measures, networks_of((metrics or Metrics()).public)))
    return app


class _ById:
    """/ws/streams/{id}; what is no id is not found before anybody is asked."""

    def __init__(self, sockets: Sockets) -> None:
        self._sockets = sockets

    async def on_websocket(
        self, request: falcon.asgi.Request, socket: falcon.asgi.WebSocket, stream_id: object
    ) -> None:
        """Serve a known stream."""
        await self._sockets.on_websocket(request, socket, str(stream_id))


@asynccontextmanager
async def _running(inbox: Inbox[Any]) -> AsyncIterator[None]:
    """Read into the inbox while the block runs."""
    reader = asyncio.create_task(inbox.run())
    try:
        yield
    finally:
        reader.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await reader


def _sane(text: str) -> str:
    """Return a key that may stand in a header; raise HungUp for what cannot be one."""
    if len(text) > _MOST_KEY_CHARS or not (text.isascii() and text.isprintable()):
        raise HungUp(CloseCode.NO_KEY)
    return text


def _wanted(request: falcon.asgi.Request) -> dict[str, Any]:
    """Return the stream that the address asks for: `model`, `device`, the rest are parameters."""
    values: dict[str, Any] = dict(request.params)
    if any(name.lower() in ("key", "api_key", "x-api-key", "access_token") for name in values):
        raise HungUp(CloseCode.NO_KEY, "A key never goes into the address, where logs keep it.")
    if "model" not in values or any(isinstance(value, list) for value in values.values()):
        raise HungUp(CloseCode.MALFORMED, "Name one model, and each parameter once: ?model=…")
    wanted: dict[str, Any] = {"model": values.pop("model"), "params": values}
    if "device" in values:
        wanted["device"] = values.pop("device")
    return wanted


def _no_parameters(request: falcon.asgi.Request) -> None:
    if request.params:
        raise HungUp(CloseCode.MALFORMED, "This address takes no parameters.")
