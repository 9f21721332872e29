"""The HTTP server: waitress' parser, channels and tasks behind a loop that defends itself.

`Server.run` serves in the calling thread; predictions and everything else run in two lanes of
worker threads. Nothing a client does or omits may stop the loop, fill the memory or hold the disk.
"""

import logging
import socket
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from appliance.clock import Clock, SystemClock
from appliance.config import Http, Limits
from appliance.errors import ShuttingDown, StateUnusable
from appliance.web.body import Spool
from appliance.web.census import Census, is_loopback
from appliance.web.channel import Channel
from appliance.web.door import Door, bind
from appliance.web.front import Front
from appliance.web.gate import Events, Gate, ProblemBytes
from appliance.web.host_names import HostNames
from appliance.web.lanes import Lane, Lanes
from appliance.web.loop import Loop

__all__ = ["Connections", "Lane", "Server", "bind"]

_log = logging.getLogger(__name__)
_TICK_SECONDS = 1.0
_DRAIN_TURN_SECONDS = 0.1
#: How long a stop waits for requests whose connection had been taken when it began.
_LATE_SECONDS = 2.0
#: Loop and workers hand requests to each other all the time; with Python's 5 ms a thread that is
#: ready waits that long for the interpreter (measured: a third fewer requests at one client).
_SWITCH_SECONDS = 0.001
#: Control requests that may wait; they are short, so a longer line only hides a fault.
_CONTROL_WAITING = 256


class Connections(msgspec.Struct, frozen=True, kw_only=True):
    """How busy the server is."""

    open: int
    waiting_inference: int
    waiting_control: int
    spooled_bytes: int


class Server:
    """A listener, its connections and the threads behind them.

    Threads: built and run by one thread, the serving loop; `stop` may be called by a signal
    handler or any thread, `connections` by any thread.
    """

    def __init__(
        self,
        application: Callable[..., Any],
        http: Http,
        limits: Limits,
        *,
        listener: socket.socket,
        spool: Spool,
        lane_of: Callable[[str, str], Lane],
        problem_bytes: ProblemBytes,
        on_event: Events,
        authorised: Callable[[Mapping[str, str], str], bool],
        body_limit: Callable[[str, str], int] | None = None,
        unknown_body: Callable[[str], int] | None = None,
        require_room: Callable[[], None] | None = None,
        clock: Clock | None = None,
        is_local: Callable[[str], bool] = is_loopback,
        keeps_listener: bool = False,
    ) -> None:
        """Given the application and its rules, prepare to serve on a socket of `bind`.

        `authorised` sees header names in lower case and the peer's address; it is asked in the
        loop and must not block, and so is `require_room`, which raises when uploads may not go
        to disk. `keeps_listener` leaves the listener open for a successor.
        """
        clock = clock or SystemClock()
        _make_directory(spool.directory)
        self._lanes = Lanes(
            threads={Lane.INFERENCE: http.threads, Lane.CONTROL: http.control_threads},
            most_waiting={Lane.INFERENCE: limits.waiting, Lane.CONTROL: _CONTROL_WAITING},
        )
        self._gate = Gate(
            limits=limits,
            lanes=self._lanes,
            spool=spool,
            host_names=HostNames(http.host_names),
            lane_of=lane_of,
            body_limit=body_limit,
            authorised=authorised,
            unknown_body=unknown_body,
            require_room=require_room,
        )
        self._loop = Loop()
        self._census = Census(
            most=http.connections,
            most_per_address=http.connections_per_address,
            is_local=is_local,
        )
        self._front = Front(
            application,
            http,
            self._gate,
            loop=self._loop,
            census=self._census,
            clock=clock,
            problem_bytes=problem_bytes,
            on_event=on_event,
            port=0 if listener.family == socket.AF_UNIX else listener.getsockname()[1],
        )
        self._clock = clock
        self._check_seconds = min(
            _TICK_SECONDS,
            http.header_seconds / 4,
            http.body_grace_seconds / 4,
            http.idle_seconds / 4,
        )
        self._door = Door(listener, self._front)
        self._keeps_listener = keeps_listener
        self._drain_seconds: float | None = None
        self._drained_at = self._closing_at = 0.0

    def connections(self) -> Connections:
        """Return how busy the server is now."""
        return Connections(
            open=self._census.open,
            waiting_inference=self._lanes.waiting(Lane.INFERENCE),
            waiting_control=self._lanes.waiting(Lane.CONTROL),
            spooled_bytes=self._gate.spool.taken_bytes,
        )

    def stop(self, drain_seconds: float) -> None:
        """Given how long running requests may take, have `run` return; safe in a signal handler.

        No new connections are taken. New requests get 503 from now on; where a successor will
        take the listener over, what is on its way is still answered for a moment, because those
        who connected in time have done nothing that should fail.
        """
        self._drain_seconds = drain_seconds
        self._loop.wake()

    def run(self, tick: Callable[[], None]) -> None:
        """Serve until `stop`, and call `tick` about once a second from the loop that serves."""
        self._lanes.start()
        self._door.open()
        next_tick = next_check = self._clock.monotonic()
        wait_seconds = 0.0
        switch_seconds = sys.getswitchinterval()
        sys.setswitchinterval(_SWITCH_SECONDS)
        try:
            while not self._is_done():
                happened = self._loop.wait(min(wait_seconds, self._turn_seconds()))
                now = self._front.now = self._clock.monotonic()
                self._loop.act(happened)
                wait_seconds = self._front.release_held()
                if now >= next_check:
                    next_check = now + self._check_seconds
                    self._check(now)
                if now >= next_tick:
                    next_tick = now + _TICK_SECONDS
                    _call_tick(tick)
        finally:
            sys.setswitchinterval(switch_seconds)
            self._close()

    def _turn_seconds(self) -> float:
        return min(self._check_seconds, _DRAIN_TURN_SECONDS if self._gate.is_draining else 1.0)

    def _is_done(self) -> bool:
        if self._drain_seconds is None:
            return False
        now = self._clock.monotonic()
        if not self._gate.is_draining:
            self._begin_drain(now, self._drain_seconds)
        channels = self._channels()
        if not self._gate.is_closing:
            if now < self._closing_at and any(channel.is_expecting for channel in channels):
                return False
            self._refuse_from_now_on()
        is_idle = not any(channel.is_working for channel in channels)
        return is_idle or now >= self._drained_at

    def _begin_drain(self, now: float, drain_seconds: float) -> None:
        self._drained_at = now + drain_seconds
        self._closing_at = now + min(drain_seconds, _LATE_SECONDS if self._keeps_listener else 0.0)
        self._gate.is_draining = True
        self._door.close(keeps_listener=self._keeps_listener)

    def _refuse_from_now_on(self) -> None:
        self._gate.is_closing = True
        for channel in self._channels():
            if channel.is_receiving:
                channel.refuse(ShuttingDown("The appliance is stopping; send this again."))
                channel.refresh()

    def _check(self, now: float) -> None:
        self._door.check()
        for channel in self._channels():
            try:
                channel.check(now)
            except Exception:
                _log.exception("a connection met an error nobody caught")
                channel.handle_close()

    def _channels(self) -> list[Channel]:
        return list(self._front.active_channels.values())

    def _close(self) -> None:
        self._door.close(keeps_listener=self._keeps_listener)
        for channel in self._channels():
            channel.handle_close()
        self._lanes.stop()
        self._loop.close()


def _make_directory(directory: Path) -> None:
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as fault:
        raise StateUnusable(
            f"The directory for uploads, {directory}, cannot be made: {fault.strerror}."
        ) from None


def _call_tick(tick: Callable[[], None]) -> None:
    try:
        tick()
    except Exception:
        _log.exception("the serving loop's tick failed")
