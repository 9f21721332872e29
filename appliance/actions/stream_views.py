"""What callers say and see of streams."""

from typing import Annotated

import msgspec
from msgspec import Meta

from appliance.clock import utc_text
from appliance.library.manifest import Name
from appliance.plain_text import pattern, require_plain
from appliance.store.streams import StoredStream


class WantedStream(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What opens a stream; `params` are the model's own parameters, as text."""

    model: Name
    params: Annotated[
        dict[Annotated[str, Meta(max_length=64)], Annotated[str, Meta(max_length=256)]],
        Meta(max_length=32),
    ] = {}
    device: Annotated[
        str,
        Meta(
            max_length=120,
            description="Its name, for people.",
            extra_json_schema={"pattern": pattern(least=0, most=120)},
        ),
    ] = ""

    def __post_init__(self) -> None:
        """Raise ValueError for a name that hides something."""
        require_plain(self.device, "device")


class Totals(msgspec.Struct, frozen=True, kw_only=True):
    """Sums over the whole stream; `restarts` counts model switches on the way."""

    chunks: int
    input_bytes: int
    events: int
    restarts: int


class StreamView(msgspec.Struct, frozen=True, kw_only=True):
    """Where a stream stands; `next_sequence` is the number of the chunk it waits for."""

    id: str
    model: str
    version: int
    task: str
    params: dict[str, str]
    device: str
    key_name: str
    created: str
    last: str
    ended: str | None
    end_reason: str
    next_sequence: int
    totals: Totals


class OpenedStream(StreamView, frozen=True, kw_only=True):
    """A stream just opened."""


class StreamPage(msgspec.Struct, frozen=True, kw_only=True):
    """Streams, newest first; `next_cursor` is null on the last page."""

    streams: tuple[StreamView, ...]
    next_cursor: str | None


class ChunkAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """The answer to one chunk.

    `result` is the task's own, counted since the stream began or was `restarted` by a model
    switch, and null when nothing was left at the end; `flushed` is what the version before a
    switch held back; `totals` cover the whole stream.
    """

    stream: str
    sequence: int
    model: str
    version: int
    restarted: bool
    ended: bool
    result: msgspec.Raw
    flushed: msgspec.Raw
    totals: Totals


def view_of(stream: StoredStream) -> StreamView:
    """Given a stream as kept, return it as callers see it."""
    ended = stream.ended_seconds
    return StreamView(
        id=stream.id,
        model=stream.model,
        version=stream.version,
        task=stream.task,
        params=stream.params,
        device=stream.device,
        key_name=stream.key_name,
        created=utc_text(stream.created_seconds),
        last=utc_text(stream.last_seconds),
        ended=None if ended is None else utc_text(ended),
        end_reason=stream.end_reason,
        next_sequence=stream.sequence + 1,
        totals=totals_of(stream),
    )


def totals_of(stream: StoredStream) -> Totals:
    """Given a stream as kept, return its sums."""
    return Totals(
        chunks=stream.chunks,
        input_bytes=stream.input_bytes,
        events=stream.events,
        restarts=stream.restarts,
    )
