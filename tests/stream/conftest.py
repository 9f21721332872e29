"""A real gateway in a thread, before real routes on a real Unix socket; the model is small."""

import asyncio
import contextlib
import json
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from websockets.sync.client import ClientConnection, connect

from appliance.clock import ManualClock, SystemClock
from appliance.config import Config, Http, Streams
from appliance.stream.app import create_app
from appliance.stream.front import Front
from appliance.stream.gateway import bind, server_settings
from appliance.web.unix_door import for_gateway
from tests.access_parts import issued, opened
from tests.stream_parts import Parts
from tests.web.doors import door_at

HANG_SECONDS = 30.0


class Running:
    """A gateway, and the front behind it, which may be taken away."""

    def __init__(self, directory: Path, parts: Parts, **settings: Any) -> None:
        self.parts = parts
        self.key = issued(parts.ring)
        self._path = directory / "front.sock"
        http = settings.pop("http", Http())
        metrics = settings.pop("metrics", None)
        streams = Streams(**settings)
        self.front = Front(self._path, most_calls=4, timeout_seconds=HANG_SECONDS)
        self.open_door()
        listener = bind("127.0.0.1", 0)
        self.port = listener.getsockname()[1]
        app = create_app(self.front, streams, SystemClock(), metrics=metrics)
        self._server = uvicorn.Server(server_settings(app, Config(streams=streams, http=http)))
        self._thread = threading.Thread(target=asyncio.run, args=(self._serve(listener),))
        self._thread.start()

    async def _serve(self, listener: socket.socket) -> None:
        self._loop = asyncio.get_running_loop()
        await self._server.serve(sockets=[listener])
        self.front.close()
        await asyncio.sleep(0.01)  # closed transports are let go in the loop's next turns

    def forget_front(self) -> None:
        """Close the connections to the front that wait."""
        self._loop.call_soon_threadsafe(self.front.close)

    def open_door(self) -> None:
        self.door = door_at(
            self._path,
            for_gateway(self.parts.app),
            0o660,
            authorised=lambda headers, address: True,
            http=Http(drain_seconds=0.2),
        )
        self.door.start()

    def connect(self, path: str, *, key: str | None = "", **more: Any) -> ClientConnection:
        """Open a WebSocket; `key` goes into the header unless it is None."""
        shown = self.key if key == "" else key
        headers = {} if shown is None else {"X-API-Key": shown}
        return connect(
            f"ws://127.0.0.1:{self.port}{path}",
            additional_headers=headers,
            compression=None,
            open_timeout=HANG_SECONDS,
            close_timeout=HANG_SECONDS,
            **more,
        )

    def stop(self) -> None:
        self._server.should_exit = True
        self._thread.join(HANG_SECONDS)
        self.door.stop()


def say(client: ClientConnection, value: Any) -> None:
    client.send(value if isinstance(value, bytes | str) else json.dumps(value))


def hear(client: ClientConnection) -> Any:
    return json.loads(client.recv(HANG_SECONDS))


def hear_end(client: ClientConnection) -> tuple[int, str]:
    """Read until the gateway closes; return its code and reason."""
    deadline = time.monotonic() + HANG_SECONDS
    with contextlib.suppress(Exception):
        while time.monotonic() < deadline:
            client.recv(HANG_SECONDS)
    assert client.close_code is not None
    return client.close_code, client.close_reason or ""


@pytest.fixture
def start_gateway(tmp_path: Path) -> Iterator[Callable[..., Running]]:
    started: list[Running] = []
    with (
        tempfile.TemporaryDirectory(prefix="ia-") as short,
        opened(tmp_path / "state", ManualClock()) as database,
    ):

        def begin(**settings: Any) -> Running:
            parts = Parts(database, ManualClock())
            started.append(Running(Path(short), parts, **settings))
            return started[-1]

        yield begin
        for running in started:
            running.stop()


@pytest.fixture
def gateway(start_gateway: Callable[..., Running]) -> Running:
    return start_gateway()
