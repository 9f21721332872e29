"""Streams: sessions that a device feeds chunk by chunk, and that outlive connections and crashes.

A chunk is answered after its state, its answer and its totals are durable, in one row. So a client
that got no answer sends the same chunk again: either it was not done, and is done now from the
state before it, or it was, and the same bytes come back.
"""

import contextlib
import hashlib
import logging
import threading
from collections.abc import Iterator
from typing import NamedTuple

import msgspec

from appliance.actions.callers import Caller, Role, require_model, require_row_of
from appliance.actions.predict import shaped_params, unrecordable
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
from appliance.config import Config, History
from appliance.engine.engine import Engine
from appliance.errors import (
    Conflict,
    DeadlineExceeded,
    InvalidInput,
    Overloaded,
    Problem,
    RateLimited,
    Unavailable,
)
from appliance.identifiers import new_id
from appliance.store import predictions, streams
from appliance.store.database import Database
from appliance.store.predictions import Prediction
from appliance.store.streams import StoredStream
from appliance.tasks.registry import task_named

_log = logging.getLogger(__name__)
#: Streams that share a lock wait for each other; of 4,096 few ever do.
_STRIPES = 4096
_KEEP_ENDED_SECONDS = 24 * 3600.0
#: An idle stream is looked at again after so long before it ends: were the wall clock to jump by
#: hours, streams in use would otherwise end.
_SECOND_LOOK_SECONDS = 60.0
#: An idle stream whose model cannot be asked for so long ends without what was held back.
_GIVE_UP_SECONDS = 3600.0


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
        self._history = config.history
        self._stripes = [threading.Lock() for _ in range(_STRIPES)]
        #: Streams found idle once: their last chunk's wall time, and when they were found.
        self._idle: dict[str, tuple[float, float]] = {}

    def use_history(self, history: History) -> None:
        """Given the section [history], record as it says from the next chunk on."""
        self._history = history

    def open(self, caller: Caller, wanted: WantedStream) -> OpenedStream:
        """Given a caller and what is wanted, open a stream with the model's active version.

        Raise NotFound for no such model, Forbidden outside the caller's scope, InvalidInput for
        wrong parameters, Overloaded when too many are open.
        """
        require_model(caller, wanted.model)
        status = self._engine.status(wanted.model, None)
        shaped_params(task_named(status.task), wanted.params)
        self._require_room(caller)
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

    def _require_room(self, caller: Caller) -> None:
        most, most_of_key = self._settings.most, self._settings.most_per_key
        of_all, of_key = streams.count_open(self._database, key_id=caller.key_id or "")
        if of_all >= most:
            raise Overloaded(
                f"{most} streams are open, which is the most (streams.most). End some first."
            )
        if of_key >= most_of_key:
            raise RateLimited(
                f"{most_of_key} streams of the key {caller.key_name!r} are open, which is the most"
                " (streams.most_per_key). End some first.",
                retry_after_seconds=60.0,
            )

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
            last, since = self._idle[stream_id]
            if stream.ended_seconds is None and stream.last_seconds == last:
                gives_up = self._clock.monotonic() - since >= _GIVE_UP_SECONDS
                self._end(stream, "idle", gives_up=gives_up)
                return True
        return False

    def _flushed(self, stream: StoredStream, *, gives_up: bool) -> bytes:
        """Return what the model held back; nothing if it cannot be asked and it `gives_up`."""
        try:
            return self._turns.flush(stream)
        except (Unavailable, DeadlineExceeded) as problem:
            if not gives_up:
                raise
            _log.warning(
                "stream ended without its last events",
                extra={"stream": stream.id, "model": stream.model, "reason": problem.detail},
            )
            return b""

    def _own(self, caller: Caller, stream_id: str) -> StoredStream:
        stream = streams.get(self._database, stream_id)
        require_row_of(caller, stream.key_id, thing="stream")
        require_model(caller, stream.model)
        return stream

    def _turn(self, stream: StoredStream, chunk: Chunk, digest: bytes) -> bytes:
        """Take one turn; after a switch of versions flush, and go on from a fresh state."""
        history = self._history
        if history.required and not (history.enabled and self._database.takes_history):
            raise unrecordable()
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
        prediction = None
        if events and self._history.enabled:
            prediction = self._prediction(stream, chunk, answered)
        self._keep(msgspec.structs.replace(advanced, answer=answer), prediction)
        return answer

    def _keep(self, stream: StoredStream, prediction: Prediction | None) -> None:
        """Keep a turn; where history is required, in one transaction with its row there.

        A chunk that is repeated is answered from the stream's row alone, so after a commit without
        the other row nobody would ever write that.
        """
        if self._history.required:
            streams.keep(self._database, stream, prediction=prediction)
            return
        streams.keep(self._database, stream)
        if prediction is not None:
            predictions.record(self._database, prediction)

    def _end(self, stream: StoredStream, reason: str, *, gives_up: bool = False) -> bytes:
        result = self._flushed(stream, gives_up=gives_up)
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

    def _prediction(self, stream: StoredStream, chunk: Chunk, answered: Answered) -> Prediction:
        """Return the history's row of a turn that brought events; the stream's counts the others.

        With every turn recorded, two hundred devices would fill it in a night.
        """
        now = self._clock.monotonic()
        return Prediction(
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
