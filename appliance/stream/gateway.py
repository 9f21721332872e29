"""The WebSocket gateway as a process: uvicorn around the app, told of by systemd."""

import asyncio
import contextlib
import gc
import signal
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from appliance import systemd
from appliance.clock import SystemClock
from appliance.config import Config
from appliance.errors import ConfigInvalid, StateUnusable
from appliance.stream.app import create_app
from appliance.stream.front import Front

#: Largest frame; a second of readings at 200 Hz takes a hundredth of it.
MOST_FRAME_BYTES = 1024 * 1024
_BACKLOG = 128
_HEADER_BYTES = 16 * 1024
_PING_SECONDS = 20.0
#: Longer than the gateway is patient with the front: meanwhile it reads nothing, pongs included.
_PONG_SECONDS = 60.0
_DRAIN_SECONDS = 5
_TICK_SECONDS = 1.0


class DeadlineProtocol(H11Protocol):
    """uvicorn's HTTP, but whoever has sent no whole request in time is cut; uvicorn never does.

    Threads: only the event loop's.
    """

    header_seconds = 10.0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to count."""
        super().connection_made(transport)
        self.loop.call_later(self.header_seconds, self._cut_if_silent, transport)

    def _cut_if_silent(self, transport: asyncio.Transport) -> None:
        has_handed_over = transport.get_protocol() is not self  # after the handshake
        if not has_handed_over and getattr(self, "cycle", None) is None:
            transport.abort()


class Gateway:
    """The running gateway. Threads: all of it in one, with one event loop."""

    def __init__(self, config: Config, *, front_socket: Path, notifier: systemd.Notifier) -> None:
        """Given the configuration and where the front listens, take the port.

        Raise ConfigInvalid or StateUnusable when that cannot be.
        """
        self._config = config
        self._front_socket = front_socket
        self._notifier = notifier
        self._listener = bind(config.streams.gateway_host, config.streams.gateway_port)

    @property
    def address(self) -> tuple[str, int]:
        """The address and port that are listened on."""
        name = self._listener.getsockname()
        return str(name[0]), int(name[1])

    def run(self) -> None:
        """Serve until SIGTERM or SIGINT; clients are then told to connect again (1012)."""
        for number in (signal.SIGTERM, signal.SIGINT):
            # uvicorn has its own while it runs, and raises what it caught once more at its end.
            signal.signal(number, lambda *_: None)
        gc.freeze()  # a full collection of what is imported would hold every device up
        asyncio.run(self._serve())

    async def _serve(self) -> None:
        settings = self._config.streams
        front = Front(
            self._front_socket,
            most_calls=settings.gateway_calls,
            timeout_seconds=self._config.models.deadline_seconds + settings.waiting_seconds + 5.0,
        )
        server = uvicorn.Server(
            server_settings(
                create_app(front, settings, SystemClock(), metrics=self._config.metrics),
                self._config,
            )
        )
        watch = asyncio.create_task(self._watch(server))
        try:
            await server.serve(sockets=[self._listener])
        finally:
            self._notifier.stopping()
            watch.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await watch
            front.close()

    async def _watch(self, server: uvicorn.Server) -> None:
        """Tell systemd when clients are let in, and from then on that the loop turns."""
        watchdog = systemd.Watchdog(self._notifier, systemd.watchdog_interval_seconds())
        is_told = False
        while True:
            if server.started and not is_told:
                is_told = self._notifier.ready(f"WebSockets on port {self.address[1]}") or True
            watchdog.tick(time.monotonic())
            await asyncio.sleep(_TICK_SECONDS)


def server_settings(app: Callable[..., Any], config: Config) -> uvicorn.Config:
    """Given the app and the configuration, return uvicorn's settings."""

    class Protocol(DeadlineProtocol):
        header_seconds = config.http.header_seconds

    return uvicorn.Config(
        app,
        http=Protocol,
        ws="websockets-sansio",
        ws_max_size=MOST_FRAME_BYTES,
        ws_ping_interval=_PING_SECONDS,
        ws_ping_timeout=_PONG_SECONDS,
        ws_per_message_deflate=False,  # a kilobyte could unpack to a megabyte
        lifespan="off",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        h11_max_incomplete_event_size=_HEADER_BYTES,
        timeout_graceful_shutdown=_DRAIN_SECONDS,
    )


def bind(host: str, port: int) -> socket.socket:
    """Given address and port, return a listening socket; raise ConfigInvalid, StateUnusable."""
    try:
        family, kind, _, _, address = socket.getaddrinfo(
            host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind)
    except OSError as fault:
        raise ConfigInvalid(f"streams.gateway_host {host!r} is not an address: {fault}.") from None
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(_BACKLOG)
    except OSError as fault:
        listener.close()
        raise StateUnusable(
            f"Cannot listen on {host} port {port}: {fault.strerror}. Stop the program that has it,"
            " or set streams.gateway_port."
        ) from None
    return listener
