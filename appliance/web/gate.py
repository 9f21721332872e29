"""What is decided about a request when its head is there and its body has not been taken yet."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from appliance.config import Limits
from appliance.errors import Overloaded, PayloadTooLarge, Problem, ShuttingDown, Unauthenticated
from appliance.web.body import Spool
from appliance.web.host_names import HostNames
from appliance.web.lanes import Lane, Lanes
from appliance.web.request_parser import RequestParser

#: Larger bodies are taken from known callers only, but where a route says otherwise.
ANONYMOUS_BODY_BYTES = 64 * 1024


#: Given a problem, the request's path and its id: the status, media type and body of the answer.
ProblemBytes = Callable[[Problem, str, str], tuple[int, str, bytes]]


class Events(Protocol):
    """Where the server reports what it did by itself; called in its loop, so it must not block."""

    def __call__(
        self,
        name: str,
        /,
        *,
        reason: str,
        address: str,
        status: str = "",
        request_id: str = "",
        path: str = "",
    ) -> None:
        """Note that `name` happened: `rejected`, `turned_away` or `cut`.

        A request that was `rejected` comes with status, request id and path, and may be told of
        by a worker thread as well.
        """


@dataclass(kw_only=True)
class Gate:
    """The rules by which requests are let in.

    Threads: the serving loop; `is_draining` is set there too and read by workers.
    """

    limits: Limits
    lanes: Lanes
    spool: Spool
    host_names: HostNames
    lane_of: Callable[[str, str], Lane]
    body_limit: Callable[[str, str], int] | None
    authorised: Callable[[Mapping[str, str], str], bool]
    #: Bytes taken at a path before the caller is known, for clients whose key is in the body.
    unknown_body: Callable[[str], int] | None = None
    #: Raises InsufficientStorage when the disk is too full for uploads; inputs of predictions,
    #: which are gone as soon as they are answered, are taken as long as they fit.
    require_room: Callable[[], None] | None = None
    #: Answers close their connection: the server is about to end.
    is_draining: bool = False
    #: New requests are refused too.
    is_closing: bool = False

    def admit(self, request: RequestParser, address: str) -> Lane:
        """Given a request whose head is complete, return its lane and make it ready for its body.

        Raise ShuttingDown, PayloadTooLarge, Unauthenticated, Overloaded or what the spool raises.
        """
        if self.is_closing:
            raise ShuttingDown("The appliance is stopping; send this again in a moment.")
        lane = self.lane_of(request.command, request.path)
        if request.has_body:
            self._admit_body(request, address, lane)
        self.admit_to_line(lane)
        return lane

    def admit_to_line(self, lane: Lane) -> None:
        """Given a lane, raise Overloaded when its line is full."""
        if self.lanes.is_full(lane):
            raise self.overload()

    def overload(self) -> Overloaded:
        """Return what to say when a line is full."""
        return Overloaded("All places in the waiting line are taken; send this again shortly.")

    def _admit_body(self, request: RequestParser, address: str, lane: Lane) -> None:
        most_bytes = self.limits.body_bytes
        if self.body_limit is not None:
            most_bytes = min(most_bytes, self.body_limit(request.command, request.path))
        if request.content_length > most_bytes:
            raise PayloadTooLarge(
                f"The body has {request.content_length} bytes; {most_bytes} is the most here"
                " (section [limits] of the configuration)."
            )
        if request.content_length > self.unknown_bytes(request.path):
            self.require_caller(request, address)
        is_input = lane is Lane.INFERENCE
        request.take_body(
            self.spool,
            most_bytes,
            require_room=None if is_input else self.require_room,
            is_input=is_input,
        )

    def unknown_bytes(self, path: str) -> int:
        """Given a path, return how many bytes of a body are taken from an unknown caller."""
        most = 0 if self.unknown_body is None else self.unknown_body(path)
        return max(most, ANONYMOUS_BODY_BYTES)

    def require_caller(self, request: RequestParser, address: str) -> None:
        """Given a request with a large body, raise Unauthenticated unless its caller is known."""
        if not self.authorised(request.named_headers(), address):
            raise Unauthenticated(
                f"A body of more than {self.unknown_bytes(request.path)} bytes is taken only with"
                " a valid API key; send it as X-API-Key or Authorization: Bearer."
            )
