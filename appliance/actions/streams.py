"""Streams: sessions that a device feeds chunk by chunk, and that outlive connections and crashes.

A chunk is answered after its state, its answer and its totals are durable, in one row. So a client that got no answer
sends the same chunk again: either it was not done, and is done now from the state before it, or it was, and the same
bytes come back.
"""

import contextlib
import hashlib
import threading
from collections.abc import Iterator
from typing import NamedTuple

import msgspec

from appliance.actions.callers import Caller, Role, require_model, require_row_of
from appliance.actions.predict import shaped_params
from appliance.actions.stream_views import (
    ChunkAnswer,
    OpenedStream,
    StreamPage,
    StreamView,
    Totals,
    WantedStream,
    view_of,
)
from appliance.clock import Clock
from appliance.config import Streams as StreamSettings
from appliance.engine.engine import Engine
from appliance.errors import Conflict, InvalidInput, ModelUnavailable, Overloaded, Problem
from appliance.identifiers import new_id
from appliance.store import predictions, streams
from appliance.store.database import Database
from appliance.store.streams import StoredStream
from appliance.tasks.registry import task_named

_STRIPES = 256
_KEEP_ENDED_SECONDS = 24 * 3600.0


class _Counted(msgspec.Struct):
    """The part of any task's result that streams count."""

    events: list[msgspec.Raw] = []


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

    Threads: any. A stream is fed by one thread at a time: the lock of its stripe is held from reading its row to
    keeping it. Nothing of a stream is held in memory between chunks, so their number costs none.
    """

    def __init__(
        self, engine: Engine, database: Database, clock: Clock, settings: StreamSettings
    ) -> None:
        self._engine = engine
        self._database = database
        self._clock = clock
        self._settings = settings
        self._stripes = [threading.Lock() for _ in range(_STRIPES)]

    def open(self, caller: Caller, wanted: WantedStream) -> OpenedStream:
        """Given a caller and what is wanted, open a stream with the model's active version.

        Raise NotFound for no such model, InvalidInput for wrong parameters, Overloaded when too many are open.
        """
        require_model(caller, wanted.model)
        status = self._engine.status(wanted.model, None)
        shaped_params(task_named(status.task), wanted.params)
        if streams.count_open(self._database) >= self._settings.most:
            raise Overloaded(
                f"{self._settings.most} streams are open, which is the most (streams.most). End some first."
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

        Raise NotFound, Conflict for a number that is not next, InvalidInput for other content under a known number,
        and whatever the model raises; then the stream is as it was.
        """
        with self._exclusively(chunk.stream_id):
            stream = self._own(chunk.caller, chunk.stream_id)
            digest = hashlib.blake2b(chunk.body, digest_size=16).digest()
            if chunk.sequence is not None and self._is_repeated(stream, chunk.sequence, digest):
                return stream.answer
            if stream.ended_seconds is not None:
                raise Conflict("This stream has ended. Open another.")
            stream, restarted = self._on_active_version(stream)
            return self._turn(stream, chunk, digest, is_restarted=restarted)

    def end(self, caller: Caller, stream_id: str, *, reason: str = "asked") -> bytes:
        """Given a stream, flush what the model held back and return the last answer as JSON; again, the same."""
        with self._exclusively(stream_id):
            stream = self._own(caller, stream_id)
            if stream.ended_seconds is not None:
                return stream.answer
            return self._end(stream, reason)

    def view(self, caller: Caller, stream_id: str) -> StreamView:
        """Given a stream, return where it stands; raise NotFound when it is not the caller's."""
        return view_of(self._own(caller, stream_id))

    def page(self, caller: Caller, *, before_id: str | None, limit: int) -> StreamPage:
        """Return one page of streams, newest first: a device's own, or all."""
        own = (caller.key_id or "") if caller.role is Role.DEVICE else None
        found = streams.find(self._database, key_id=own, before_id=before_id, limit=limit)
        cursor = found[-1].id if len(found) == limit else None
        return StreamPage(streams=tuple(view_of(stream) for stream in found), next_cursor=cursor)

    def expire(self) -> int:
        """End the streams that were idle for too long, forget those that ended long ago; return how many ended."""
        now = self._clock.wall_seconds()
        idle = streams.idle_since(self._database, now - self._settings.idle_seconds)
        ended = 0
        for stream_id in idle:
            with contextlib.suppress(Problem), self._exclusively(stream_id):
                stream = streams.get(self._database, stream_id)
                if now - stream.last_seconds >= self._settings.idle_seconds:
                    self._end(stream, "idle")
                    ended += 1
        streams.remove_ended_before(self._database, now - _KEEP_ENDED_SECONDS)
        return ended

    def _own(self, caller: Caller, stream_id: str) -> StoredStream:
        stream = streams.get(self._database, stream_id)
        require_row_of(caller, stream.key_id, thing="stream")
        return stream

    def _is_repeated(self, stream: StoredStream, sequence: int, digest: bytes) -> bool:
        if sequence == stream.sequence + 1:
            return False
        if sequence != stream.sequence or sequence == 0:
            raise Conflict(
                f"Chunk {sequence} does not follow: the last one answered is {stream.sequence},"
                f" so {stream.sequence + 1} is next."
            )
        if digest != stream.chunk_digest:
            raise InvalidInput(
                f"Chunk {sequence} was answered before with other content; a repeated chunk must be the same.",
                pointer="/query/sequence",
            )
        return True

    def _on_active_version(self, stream: StoredStream) -> tuple[StoredStream, bool]:
        """After a model switch, go on with the new version from a fresh state; totals are kept."""
        active = self._engine.active_versions().get(stream.model)
        if active is None:
            raise ModelUnavailable(f"{stream.model} has no active version now.")
        if active == stream.version:
            return stream, False
        restarts = stream.restarts + (1 if stream.chunks else 0)
        return msgspec.structs.replace(
            stream, version=active, state=None, restarts=restarts
        ), stream.chunks > 0

    def _turn(
        self, stream: StoredStream, chunk: Chunk, digest: bytes, *, is_restarted: bool
    ) -> bytes:
        header = {
            "method": "predict",
            "keep": True,
            "params": shaped_params(task_named(stream.task), stream.params),
            "content_type": chunk.content_type,
            "state": stream.state,
        }
        reply, result = self._engine.call(
            stream.model,
            stream.version,
            header,
            chunk.body,
            waiting_since=chunk.received_monotonic,
        )
        totals = Totals(
            chunks=stream.chunks + 1,
            input_bytes=stream.input_bytes + len(chunk.body),
            events=stream.events + _count_events(result),
            restarts=stream.restarts,
        )
        answer = self._answer(stream, stream.sequence + 1, result, totals, is_restarted, False)
        kept = self._advanced(stream, totals, answer, reply["state"])
        streams.keep(self._database, msgspec.structs.replace(kept, chunk_digest=digest))
        self._record(stream, chunk.content_type, len(chunk.body), bytes(result), chunk.request_id)
        return answer

    def _end(self, stream: StoredStream, reason: str) -> bytes:
        result: bytes | bytearray = b""
        if stream.state is not None:
            header = {
                "method": "end",
                "params": shaped_params(task_named(stream.task), stream.params),
                "state": stream.state,
            }
            _, result = self._engine.call(stream.model, stream.version, header, b"")
        totals = Totals(
            chunks=stream.chunks,
            input_bytes=stream.input_bytes,
            events=stream.events + _count_events(result),
            restarts=stream.restarts,
        )
        answer = self._answer(stream, stream.sequence, result or b"null", totals, False, True)
        kept = self._advanced(stream, totals, answer, None, sequence=stream.sequence)
        now = self._clock.wall_seconds()
        streams.keep(
            self._database, msgspec.structs.replace(kept, ended_seconds=now, end_reason=reason)
        )
        return answer

    def _answer(
        self,
        stream: StoredStream,
        sequence: int,
        result: bytes | bytearray,
        totals: Totals,
        is_restarted: bool,
        is_ended: bool,
    ) -> bytes:
        return msgspec.json.encode(
            ChunkAnswer(
                stream=stream.id,
                sequence=sequence,
                model=stream.model,
                version=stream.version,
                restarted=is_restarted,
                ended=is_ended,
                result=msgspec.Raw(bytes(result)),
                totals=totals,
            )
        )

    def _advanced(
        self,
        stream: StoredStream,
        totals: Totals,
        answer: bytes,
        state: bytes | None,
        *,
        sequence: int | None = None,
    ) -> StoredStream:
        return msgspec.structs.replace(
            stream,
            last_seconds=self._clock.wall_seconds(),
            sequence=stream.sequence + 1 if sequence is None else sequence,
            state=state,
            answer=answer,
            chunks=totals.chunks,
            input_bytes=totals.input_bytes,
            events=totals.events,
        )

    def _record(
        self, stream: StoredStream, content_type: str, size: int, result: bytes, request_id: str
    ) -> None:
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
                content_type=content_type[:100],
                input_bytes=size,
                result=result,
                duration_ms=0.0,
                request_id=request_id,
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


def _count_events(result: bytes | bytearray) -> int:
    return len(msgspec.json.decode(result, type=_Counted).events) if result else 0
