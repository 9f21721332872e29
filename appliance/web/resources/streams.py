"""/api/v1/streams: open, feed, watch and end the sessions of devices."""

from typing import Annotated, Any

import falcon
import msgspec
from msgspec import Meta

from appliance import errors
from appliance.actions.stream_views import (
    ChunkAnswer,
    OpenedStream,
    StreamPage,
    StreamView,
    WantedStream,
)
from appliance.actions.streams import Chunk, StreamSessions
from appliance.config import Limits
from appliance.tasks.registry import TASKS
from appliance.web import uploads
from appliance.web.operation import Access, operation

_PROBLEMS = (
    errors.NotFound,
    errors.Conflict,
    errors.InvalidInput,
    errors.PayloadTooLarge,
    errors.UnsupportedMedia,
    errors.ModelUnavailable,
    errors.DeadlineExceeded,
    errors.DatabaseUnavailable,
    errors.InsufficientStorage,
)
_BINARY: dict[str, Any] = {"type": "string", "format": "binary"}


class ListQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Which page of streams."""

    cursor: Annotated[
        Annotated[str, Meta(max_length=36)] | None,
        Meta(description="Go on where the last page ended."),
    ] = None
    limit: Annotated[int, Meta(ge=1, le=1000, description="Streams on one page.")] = 100


class ChunkQuery(msgspec.Struct, frozen=True, kw_only=True):
    """The chunk's number."""

    sequence: Annotated[
        Annotated[int, Meta(ge=1, le=1_000_000_000)] | None,
        Meta(
            description="The chunk's number: 1, 2, 3, … A repeated number gets the same answer"
            " again, a skipped one is refused. Without it the chunk is simply the next."
        ),
    ] = None


class StreamsResource:
    """All streams."""

    def __init__(self, sessions: StreamSessions) -> None:
        self._sessions = sessions

    @operation(
        summary="List streams, newest first",
        access=Access.DEVICE,
        query=ListQuery,
        result=StreamPage,
        tag="Streams",
    )
    def on_get(
        self, request: falcon.Request, response: falcon.Response, *, query: ListQuery
    ) -> StreamPage:
        """A device sees its own, operators and admins all."""
        caller = request.context.caller
        return self._sessions.page(caller, before_id=query.cursor, limit=query.limit)

    @operation(
        summary="Open a stream",
        access=Access.DEVICE,
        body=WantedStream,
        result=OpenedStream,
        status=201,
        problems=(errors.NotFound, errors.Overloaded, *_PROBLEMS[-2:]),
        tag="Streams",
    )
    def on_post(
        self, request: falcon.Request, response: falcon.Response, *, body: WantedStream
    ) -> OpenedStream:
        """Open one with the model's active version."""
        opened = self._sessions.open(request.context.caller, body)
        response.location = f"/api/v1/streams/{opened.id}"
        return opened


class StreamResource:
    """One stream."""

    def __init__(self, sessions: StreamSessions, limits: Limits) -> None:
        self._sessions = sessions
        self._limits = limits

    @operation(
        summary="Tell where a stream stands",
        access=Access.DEVICE,
        result=StreamView,
        problems=(errors.NotFound,),
        tag="Streams",
    )
    def on_get(
        self, request: falcon.Request, response: falcon.Response, *, stream_id: str
    ) -> StreamView:
        """Return its state and totals."""
        return self._sessions.view(request.context.caller, stream_id)

    @operation(
        summary="Send a stream its next chunk",
        access=Access.DEVICE,
        query=ChunkQuery,
        consumes={media: dict(_BINARY) for task in TASKS for media in task.media_types},
        result=ChunkAnswer,
        problems=_PROBLEMS,
        tag="Streams",
    )
    def on_post(
        self,
        request: falcon.Request,
        response: falcon.Response,
        *,
        stream_id: str,
        query: ChunkQuery,
    ) -> None:
        """Answer after the chunk's state and answer are durable."""
        upload = uploads.read_input(request, most_bytes=self._limits.input_bytes)
        response.data = self._sessions.feed(
            Chunk(
                caller=request.context.caller,
                stream_id=stream_id,
                sequence=query.sequence,
                content_type=upload.content_type,
                body=upload.body,
                request_id=request.context.request_id,
                received_monotonic=request.context.received_monotonic,
            )
        )
        response.content_type = "application/json"

    @operation(
        summary="End a stream and get what its model held back",
        access=Access.DEVICE,
        result=ChunkAnswer,
        problems=_PROBLEMS,
        tag="Streams",
    )
    def on_delete(
        self, request: falcon.Request, response: falcon.Response, *, stream_id: str
    ) -> None:
        """Answer the last result and the totals; again, the same answer."""
        response.data = self._sessions.end(request.context.caller, stream_id)
        response.content_type = "application/json"
