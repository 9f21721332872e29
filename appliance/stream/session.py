"""One WebSocket of /ws/streams: frames in, one answer to each out.

The first message of the gateway says where the stream stands, so that a device that lost its
connection knows from which chunk on to send again.
"""

import contextlib

import falcon
import msgspec

from appliance.errors import FieldError, Problem, ProblemDocument
from appliance.stream.close_codes import CloseCode, HungUp
from appliance.stream.feeding import Feed
from appliance.stream.frames import BINARY, Frame, count_to_merge, merge, read_frame
from appliance.stream.front import Reply
from appliance.stream.inbox import Inbox
from appliance.stream.measures import Talk

#: A device that sends nothing but faults for so long is broken.
MOST_FAULTS_IN_A_ROW = 100


class Merged(msgspec.Struct, frozen=True):
    """The answer to a frame that went into the same chunk as the one after it."""

    stream: str
    sequence: int
    merged: bool = True


class Refused(msgspec.Struct, frozen=True):
    """The answer to a frame that was refused; the stream is as it was before."""

    stream: str
    next_sequence: int
    problem: ProblemDocument


class Session:
    """Takes the frames of one client to its stream. Threads: only the event loop's."""

    def __init__(self, socket: Talk, feed: Feed) -> None:
        self._socket = socket
        self._feed = feed
        self.inbox: Inbox[Frame] = Inbox(socket, read_frame)
        self._faults = 0
        #: Size of a binary frame that was accepted alone.
        self._binary_bytes = 0

    async def run(self) -> None:
        """Answer frames until the client is gone or has ended the stream; raise HungUp."""
        while await self.inbox.wait():
            first = self.inbox.waiting[0]
            if isinstance(first, Problem):
                self.inbox.take(1)
                await self._refuse(first.document())
            elif first.is_end:
                await self._say(await self._feed.end())
                raise HungUp(CloseCode.DONE)
            else:
                await self._answer([*self._taken()])

    def _taken(self) -> list[Frame]:
        """Take as many of the waiting frames as make one chunk."""
        frames: list[Frame] = []
        for each in self.inbox.waiting:
            if isinstance(each, Problem):
                break
            frames.append(each)
        count = count_to_merge(frames, binary_bytes=self._binary_bytes)
        self.inbox.take(count)
        return frames[:count]

    async def _answer(self, frames: list[Frame]) -> None:
        sequence = frames[0].sequence
        reply = await self._feed.send(merge(frames), frames[0].content_type, sequence)
        if reply.status == 200:
            await self._accept(frames, reply)
        elif len(frames) > 1:
            for frame in frames:  # only those that are at fault themselves are refused
                await self._answer([frame])
        else:
            await self._refuse(reply.problem())

    async def _accept(self, frames: list[Frame], reply: Reply) -> None:
        self._faults = 0
        if len(frames) == 1 and frames[0].content_type == BINARY:
            self._binary_bytes = len(frames[0].body)
        if len(frames) > 1:
            merged = Merged(self._feed.stream_id, self._feed.next_sequence - 1)
            words = msgspec.json.encode(merged)
            for _ in frames[1:]:
                await self._say(words)
        await self._say(reply.body)

    async def _refuse(self, problem: ProblemDocument) -> None:
        self._faults += 1
        if self._faults >= MOST_FAULTS_IN_A_ROW:
            raise HungUp(CloseCode.TOO_MANY_FAULTS)
        shown = msgspec.structs.replace(
            problem, errors=tuple(FieldError(e.detail, e.pointer) for e in problem.errors[:8])
        )
        refused = Refused(self._feed.stream_id, self._feed.next_sequence, shown)
        await self._say(msgspec.json.encode(refused))

    async def _say(self, words: bytes) -> None:
        """Send an answer; a client that is gone has yet sent what waits, so that is still done."""
        with contextlib.suppress(falcon.WebSocketDisconnected):
            await self._socket.send_text(words.decode())
