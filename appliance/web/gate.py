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

#: Larger bodies are taken from known callers only.
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

    Threads: the serving loop; `is_closing` is set there too and read by workers.
    """

    limits: Limits
    lanes: Lanes
    spool: Spool
    host_names: HostNames
    lane_of: Callable[[str, str], Lane]
    body_limit: Callable[[str, str], int] | None
    authorised: Callable[[Mapping[str, str], str], bool]
    is_closing: bool = False

    def admit(self, request: RequestParser, address: str) -> Lane:
        """Given a request whose head is complete, return its lane and make it ready for its body.

        Raise ShuttingDown, PayloadTooLarge, Unauthenticated, Overloaded or what the spool raises.
        """
        if self.is_closing:
            raise ShuttingDown("The appliance is stopping; send this again in a moment.")
        lane = self.lane_of(request.command, request.path)
        if request.has_body:
            self._admit_body(request, address)
        self.admit_to_line(lane)
        return lane

    def admit_to_line(self, lane: Lane) -> None:
        """Given a lane, raise Overloaded when its line is full."""
        if self.lanes.is_full(lane):
            raise self.overload()

    def overload(self) -> Overloaded:
        """Return what to say when a line is full."""
        return Overloaded("All places in the waiting line are taken; send this again shortly.")

    def _admit_body(self, request: RequestParser, address: str) -> None:
        most_bytes = self.limits.body_bytes
        if self.body_limit is not None:
            most_bytes = min(most_bytes, self.body_limit(request.command, request.path))
        if request.content_length > most_bytes:
            raise PayloadTooLarge(
                f"The body has {request.content_length} bytes; {most_bytes} is the most here."
            )
        if request.content_length > ANONYMOUS_BODY_BYTES:
            self.require_caller(request, address)
        request.take_body(self.spool, most_bytes)

    def require_caller(self, request: RequestParser, address: str) -> None:
        """Given a request with a large body, raise Unauthenticated unless its caller is known."""
        if not self.authorised(request.named_headers(), address):
            raise Unauthenticated(
                f"A body of more than {ANONYMOUS_BODY_BYTES} bytes is taken only with a valid API"
                " key; send it as X-API-Key or Authorization: Bearer."
            )
