"""Streams: sessions that a device feeds chunk by chunk, and that outlive connections and crashes.

A chunk is answered after its state, its answer and its totals are durable, in one row. So a client
that got no answer sends the same chunk again: either it was not done, and is done now from the
state before it, or it was, and the same bytes come back.
"""

import contextlib
import hashlib
import threading
from collections.abc import Iterator
from typing import NamedTuple

import msgspec

from appliance.actions.callers import Caller, Role, require_model, require_row_of
from appliance.actions.predict import shaped_params
from appliance.actions.stream_turns import Answered, Turns, count_events
from appliance.actions.stream_views import (
    ChunkAnswer,
    OpenedStream,
    StreamPage,
    StreamView,
    Totals,
    WantedStream,
    totals_of,
    view_of,
)
from appliance.clock import Clock
from appliance.config import Config
from appliance.engine.engine import Engine
from appliance.errors import Conflict, InvalidInput, Overloaded, Problem
from appliance.identifiers import new_id
from appliance.store import predictions, streams
from appliance.store.database import Database
from appliance.store.streams import StoredStream
from appliance.tasks.registry import task_named

#: Streams that share a lock wait for each other; of 4,096 few ever do.
_STRIPES = 4096
_KEEP_ENDED_SECONDS = 24 * 3600.0
#: An idle stream is looked at again after so long before it ends: were the wall clock to jump by
#: hours, streams in use would otherwise end.
_SECOND_LOOK_SECONDS = 60.0


class Chunk(NamedTuple):
    """One payload of a stream; without a number it is simply the next."""

    caller: Caller
    stream_id: str
    sequence: int | None
    content_type: str
    body: bytes
    request_id: str
    received_monotonic: float


class StreamSessions:
    """Opens, feeds and ends streams.

    Threads: any. A stream is fed by one thread at a time: the lock of its stripe is held from
    reading its row to keeping it. Nothing of a stream is held in memory between chunks, so their
    number costs none; `_idle` is the maintenance thread's.
    """

    def __init__(self, engine: Engine, database: Database, clock: Clock, config: Config) -> None:
        self._engine = engine
        self._turns = Turns(engine)
        self._database = database
        self._clock = clock
        self._settings = config.streams
        self._is_recorded = config.history.enabled
        self._stripes = [threading.Lock() for _ in range(_STRIPES)]
        #: Streams found idle once: their last chunk's wall time, and when they were found.
        self._idle: dict[str, tuple[float, float]] = {}

    def open(self, caller: Caller, wanted: WantedStream) -> OpenedStream:
        """Given a caller and what is wanted, open a stream with the model's active version.

        Raise NotFound for no such model, Forbidden outside the caller's scope, InvalidInput for
        wrong parameters, Overloaded when too many are open.
        """
        require_model(caller, wanted.model)
        status = self._engine.status(wanted.model, None)
        shaped_params(task_named(status.task), wanted.params)
        most = self._settings.most
        if streams.count_open(self._database) >= most:
            raise Overloaded(
                f"{most} streams are open, which is the most (streams.most). End some first."
            )
        now = self._clock.wall_seconds()
        stream = StoredStream(
            id=new_id(),
            model=status.name,
            version=status.version,
            task=status.task,
            params=wanted.params,
            device=wanted.device,
            key_id=caller.key_id or "",
            key_name=caller.key_name,
            created_seconds=now,
            last_seconds=now,
        )
        streams.keep(self._database, stream)
        return OpenedStream(**msgspec.structs.asdict(view_of(stream)))

    def feed(self, chunk: Chunk) -> bytes:
        """Given a chunk, return its answer as JSON, the same bytes if it was answered before.

        Raise NotFound, Conflict for a number that is not next, InvalidInput for other content
        under a known number, and whatever the model raises; then the stream is as it was.
        """
        with self._exclusively(chunk.stream_id):
            stream = self._own(chunk.caller, chunk.stream_id)
            digest = hashlib.blake2b(chunk.body, digest_size=16).digest()
            if chunk.sequence is not None and _is_repeated(stream, chunk.sequence, digest):
                return stream.answer
            if stream.ended_seconds is not None:
                raise Conflict("This stream has ended. Open another.")
            return self._turn(stream, chunk, digest)

    def end(self, caller: Caller, stream_id: str, *, reason: str = "asked") -> bytes:
        """Given a stream, flush what the model held back and return the last answer as JSON.

        Asked again, return the same. Raise NotFound, Unavailable or DeadlineExceeded.
        """
        with self._exclusively(stream_id):
            stream = self._own(caller, stream_id)
            if stream.ended_seconds is not None:
                return stream.end_answer
            return self._end(stream, reason)

    def view(self, caller: Caller, stream_id: str) -> StreamView:
        """Given a stream, return where it stands; raise NotFound when it is not the caller's."""
        return view_of(self._own(caller, stream_id))

    def open_of(self, caller: Caller, device: str) -> StreamView | None:
        """Given a caller and a device's name, return the newest such stream that has not ended."""
        found = streams.find_open(self._database, key_id=caller.key_id or "", device=device)
        return None if found is None else view_of(found)

    def page(self, caller: Caller, *, before_id: str | None, limit: int) -> StreamPage:
        """Return one page of streams, newest first: a device's own, or all."""
        own = (caller.key_id or "") if caller.role is Role.DEVICE else None
        found = streams.find(
            self._database, key_id=own, models=caller.models, before_id=before_id, limit=limit
        )
        cursor = found[-1].id if len(found) == limit else None
        return StreamPage(streams=tuple(view_of(stream) for stream in found), next_cursor=cursor)

    def expire(self) -> int:
        """End streams that were idle for too long, forget those that ended long ago.

        Return how many ended. A stream ends when two looks found it idle and nothing came between.
        """
        now, wall = self._clock.monotonic(), self._clock.wall_seconds()
        idle = streams.idle_since(self._database, wall - self._settings.idle_seconds)
        known = self._idle
        self._idle = {
            stream_id: known[stream_id] if known.get(stream_id, (0,))[0] == last else (last, now)
            for stream_id, last in idle.items()
        }
        due = [
            stream_id
            for stream_id, (_, since) in self._idle.items()
            if now - since >= min(_SECOND_LOOK_SECONDS, self._settings.idle_seconds)
        ]
        ended = sum(self._expire_one(stream_id) for stream_id in due)
        streams.remove_ended_before(self._database, wall - _KEEP_ENDED_SECONDS)
        return ended

    def _expire_one(self, stream_id: str) -> bool:
        with contextlib.suppress(Problem), self._exclusively(stream_id):
            stream = streams.get(self._database, stream_id)
            if stream.ended_seconds is None and stream.last_seconds == self._idle[stream_id][0]:
                self._end(stream, "idle")
                return True
        return False

    def _own(self, caller: Caller, stream_id: str) -> StoredStream:
        stream = streams.get(self._database, stream_id)
        require_row_of(caller, stream.key_id, thing="stream")
        require_model(caller, stream.model)
        return stream

    def _turn(self, stream: StoredStream, chunk: Chunk, digest: bytes) -> bytes:
        """Take one turn; after a switch of versions flush, and go on from a fresh state."""
        version = self._turns.current(stream)
        flushed, is_restarted = b"", version != stream.version and stream.chunks > 0
        if is_restarted:
            flushed = self._turns.flush(stream)
        if version != stream.version:
            stream = msgspec.structs.replace(
                stream, version=version, state=None, restarts=stream.restarts + is_restarted
            )
        answered = self._turns.take(stream, chunk)
        events = answered.events + count_events(flushed)
        advanced = msgspec.structs.replace(
            stream,
            last_seconds=self._clock.wall_seconds(),
            sequence=stream.sequence + 1,
            chunk_digest=digest,
            state=answered.state,
            chunks=stream.chunks + 1,
            input_bytes=stream.input_bytes + len(chunk.body),
            events=stream.events + events,
        )
        answer = _answer(advanced, answered.result, flushed=flushed, is_restarted=is_restarted)
        streams.keep(self._database, msgspec.structs.replace(advanced, answer=answer))
        if events and self._is_recorded:
            self._record(stream, chunk, answered)
        return answer

    def _end(self, stream: StoredStream, reason: str) -> bytes:
        result = self._turns.flush(stream)
        now = self._clock.wall_seconds()
        ended = msgspec.structs.replace(
            stream,
            last_seconds=now,
            ended_seconds=now,
            end_reason=reason,
            state=None,
            events=stream.events + count_events(result),
        )
        answer = _answer(ended, result)
        streams.keep(self._database, msgspec.structs.replace(ended, end_answer=answer))
        return answer

    def _record(self, stream: StoredStream, chunk: Chunk, answered: Answered) -> None:
        """Put a turn that brought events into the history; the stream's row counts the others.

        With every turn recorded, two hundred devices would fill it in a night.
        """
        now = self._clock.monotonic()
        predictions.record(
            self._database,
            predictions.Prediction(
                id=new_id(),
                received_seconds=self._clock.wall_seconds(),
                model=stream.model,
                version=stream.version,
                task=stream.task,
                key_id=stream.key_id,
                key_name=stream.key_name,
                label=answered.label,
                confidence=answered.confidence,
                content_type=chunk.content_type[:100],
                input_bytes=len(chunk.body),
                result=answered.result,
                duration_ms=round((now - chunk.received_monotonic) * 1000, 3),
                request_id=chunk.request_id,
                session_id=stream.id,
            ),
        )

    @contextlib.contextmanager
    def _exclusively(self, stream_id: str) -> Iterator[None]:
        lock = self._stripes[hash(stream_id) % _STRIPES]
        if not lock.acquire(timeout=self._settings.waiting_seconds):
            raise Overloaded("Another chunk of this stream is still being worked on. Try again.")
        try:
            yield
        finally:
            lock.release()


def _is_repeated(stream: StoredStream, sequence: int, digest: bytes) -> bool:
    if sequence == stream.sequence + 1:
        return False
    if sequence != stream.sequence or sequence == 0:
        raise Conflict(
            f"Chunk {sequence} does not follow: the last one answered is {stream.sequence},"
            f" so {stream.sequence + 1} is next."
        )
    if digest != stream.chunk_digest:
        raise InvalidInput(
            f"Chunk {sequence} was answered before with other content; a repeated chunk must be"
            " the same.",
            pointer="/query/sequence",
        )
    return True


def _answer(
    stream: StoredStream, result: bytes, *, flushed: bytes = b"", is_restarted: bool = False
) -> bytes:
    """Given a stream after a turn and the model's words, return the answer as JSON."""
    totals: Totals = totals_of(stream)
    return msgspec.json.encode(
        ChunkAnswer(
            stream=stream.id,
            sequence=stream.sequence,
            model=stream.model,
            version=stream.version,
            restarted=is_restarted,
            ended=stream.ended_seconds is not None,
            result=msgspec.Raw(result or b"null"),
            flushed=msgspec.Raw(flushed or b"null"),
            totals=totals,
        )
    )
