"""Devices that send streams over WebSockets, and the gateway they send them to."""

import json
import re
import signal
import subprocess
import sys
import time
import urllib.parse
from collections.abc import Callable
from typing import Any

from websockets.exceptions import WebSocketException
from websockets.sync.client import ClientConnection, connect

from tests.end_to_end.running import HANG_SECONDS, ROOT, Running, environment, wait_for


class Gateway:
    """A gateway process; `kill` and `begin` again as often as wanted."""

    def __init__(self, running: Running) -> None:
        self._settings = {**running.settings, "APPLIANCE_STREAMS__GATEWAY_HOST": "127.0.0.1"}
        self._log = running.state.parent / "gateway.log"
        self.key = running.key
        self.port = 0

    def begin(self) -> None:
        settings = {**self._settings, "APPLIANCE_STREAMS__GATEWAY_PORT": str(self.port)}
        with self._log.open("wb") as sink:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "appliance", "stream-gateway"],
                env=environment(settings),
                cwd=ROOT,
                stderr=sink,
            )
        found = wait_for(
            lambda: re.search(r"ws://127\.0\.0\.1:(\d+)", self._log.read_text()), "the gateway"
        )
        self.port = int(found[1])

    def kill(self, number: int = signal.SIGKILL) -> int:
        self.process.send_signal(number)
        return self.process.wait(HANG_SECONDS)

    def connect(self, path: str, **query: str) -> ClientConnection:
        address = f"ws://127.0.0.1:{self.port}{path}"
        if query:
            address += "?" + urllib.parse.urlencode(query)
        return connect(
            address,
            additional_headers={"X-API-Key": self.key},
            compression=None,
            open_timeout=HANG_SECONDS,
        )


class Device:
    """A device that keeps what was not answered and connects again after every loss."""

    def __init__(self, gateway: Gateway, chunks: list[list[Any]]) -> None:
        self._gateway = gateway
        self._chunks = chunks
        self.stream = ""
        self.events: dict[int, list[Any]] = {}

    def run(self, disturb: Callable[[int], bool]) -> dict[str, Any]:
        """Send every chunk; `disturb` is asked at each and returns True to drop the connection."""
        deadline = time.monotonic() + 2 * HANG_SECONDS
        while time.monotonic() < deadline:
            try:
                return self._attempt(disturb)
            except (OSError, WebSocketException):
                time.sleep(0.02)  # a device waits as well
        raise AssertionError("the device did not get through")

    def _attempt(self, disturb: Callable[[int], bool]) -> dict[str, Any]:
        path = f"/ws/streams/{self.stream}" if self.stream else "/ws/streams"
        query = {} if self.stream else {"model": "step-detector"}
        with self._gateway.connect(path, **query) as client:
            hello = json.loads(client.recv(HANG_SECONDS))
            self.stream = hello["id"]
            first = max(1, hello["next_sequence"] - 1)  # the last answer may have been lost
            for number in range(first, len(self._chunks) + 1):
                client.send(json.dumps({"sequence": number, "readings": self._chunks[number - 1]}))
                if disturb(number):
                    client.socket.close()
                    raise OSError
                answer = json.loads(client.recv(HANG_SECONDS))
                assert answer["sequence"] == number
                self.events[number] = answer["result"]["events"]
            client.send('{"end":true}')
            last: dict[str, Any] = json.loads(client.recv(HANG_SECONDS))
            return last

    def all_events(self, last: dict[str, Any]) -> list[Any]:
        found = [event for number in sorted(self.events) for event in self.events[number]]
        return found + ((last["result"] or {}).get("events") or [])
