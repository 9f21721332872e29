"""The guide's /ws/realtime: one reading a message, one reply to each, one session a connection."""

import contextlib
from typing import Literal

import falcon
import msgspec

from appliance.actions import steps_guide
from appliance.actions.steps_guide import ArrivalClock, GuideReading
from appliance.clock import Clock
from appliance.errors import InvalidInput, MalformedRequest, Problem
from appliance.stream.close_codes import CloseCode, HungUp
from appliance.stream.feeding import Feed
from appliance.stream.inbox import Inbox
from appliance.stream.measures import Talk
from appliance.stream.session import MOST_FAULTS_IN_A_ROW

#: Readings that wait together become one chunk of at most so many.
_MOST_MERGED = 64
_WANTED = {"model": steps_guide.MODEL, "params": steps_guide.PARAMS, "device": "/ws/realtime"}

Timed = tuple[GuideReading, float]


class Command(msgspec.Struct, frozen=True):
    """What a client may ask for besides."""

    action: Literal["stats", "reset", "stop"]


class Failed(msgspec.Struct, frozen=True, kw_only=True):
    """The reply to a message that is no reading."""

    error: str
    step_count: int
    status: str = "error"


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """The session so far."""

    status: str
    step_count: int
    readings: int
    session_seconds: float


class RealtimeSession:
    """Takes the readings of one client to a stream of its own.

    Threads: only the event loop's.
    """

    def __init__(self, socket: Talk, feed: Feed, clock: Clock) -> None:
        self._socket = socket
        self._feed = feed
        self._clock = clock
        self._arrivals = ArrivalClock(clock)
        self.inbox: Inbox[Timed | Command] = Inbox(socket, self._read)
        self._steps = 0
        self._readings = 0
        self._faults = 0
        self._began = clock.monotonic()

    async def run(self) -> None:
        """Answer messages until the client is gone; the session ends with its connection."""
        await self._feed.open(_WANTED)
        try:
            while await self.inbox.wait():
                first = self.inbox.waiting[0]
                if isinstance(first, Problem):
                    self.inbox.take(1)
                    await self._fail(first.detail)
                elif isinstance(first, Command):
                    self.inbox.take(1)
                    await self._obey(first)
                else:
                    await self._detect(self._taken())
        finally:
            with contextlib.suppress(HungUp):
                await self._feed.end()

    def _read(self, message: str | bytes) -> Timed | Command:
        try:
            reading = msgspec.json.decode(message, type=GuideReading)
        except msgspec.ValidationError as fault:
            with contextlib.suppress(msgspec.ValidationError):
                return msgspec.json.decode(message, type=Command)
            raise InvalidInput(f"{fault}.") from None
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as fault:
            raise MalformedRequest(f"The message is not JSON: {fault}.") from None
        return reading, steps_guide.time_of(reading, self._arrivals.seconds())

    def _taken(self) -> list[Timed]:
        timed: list[Timed] = []
        for each in self.inbox.waiting:
            if not isinstance(each, tuple) or len(timed) == _MOST_MERGED:
                break
            timed.append(each)
        self.inbox.take(len(timed))
        return timed

    async def _detect(self, timed: list[Timed]) -> None:
        reply = await self._feed.send(steps_guide.chunk_of(timed), "application/json")
        if reply.status != 200:
            for _ in timed:
                await self._fail(reply.problem().detail)
            return
        self._faults = 0
        self._readings += len(timed)
        told = steps_guide.replies(
            reply.body, readings=len(timed), wall_seconds=self._clock.wall_seconds()
        )
        for each in told:
            await self._say(each)
        self._steps = told[-1].step_count

    async def _obey(self, command: Command) -> None:
        if command.action == "stats":
            await self._say(self._summary("stats"))
            return
        self._steps = msgspec.json.decode(await self._feed.end())["totals"]["events"]
        if command.action == "stop":
            await self._say(self._summary("stopped"))
            raise HungUp(CloseCode.DONE)
        await self._feed.open(_WANTED)
        self._steps = self._readings = 0
        self._began = self._clock.monotonic()
        await self._say(self._summary("reset"))

    def _summary(self, status: str) -> Summary:
        return Summary(
            status=status,
            step_count=self._steps,
            readings=self._readings,
            session_seconds=round(self._clock.monotonic() - self._began, 3),
        )

    async def _fail(self, why: str) -> None:
        self._faults += 1
        if self._faults >= MOST_FAULTS_IN_A_ROW:
            raise HungUp(CloseCode.TOO_MANY_FAULTS)
        await self._say(Failed(error=why, step_count=self._steps))

    async def _say(self, reply: msgspec.Struct) -> None:
        with contextlib.suppress(falcon.WebSocketDisconnected):
            await self._socket.send_text(msgspec.json.encode(reply).decode())
