"""What happens around every request: its id, its line in the log, its place in the metrics."""

import re
import time
from collections.abc import Callable
from typing import Protocol

import falcon

from appliance.config import Limits
from appliance.errors import RateLimited
from appliance.identifiers import new_id
from appliance.log import RequestLine

_SANE_ID = re.compile(r"[A-Za-z0-9._:-]{1,64}")


class RequestObserver(Protocol):
    """Whoever wants to know of every finished request."""

    def request_finished(self, *, route: str, method: str, status: int, seconds: float) -> None:
        """Count one request."""

    def rate_limited(self, kind: str) -> None:
        """Count a request refused by the limit of a `key` or an `address`."""


class Requests:
    """Gives every request an id and, when it is answered, tells the observer and the log.

    Threads: one request is handled by one thread; the object holds no state of its own.
    """

    def __init__(
        self,
        observer: RequestObserver,
        line: Callable[[RequestLine], None] | None,
        *,
        most_json_bytes: int = Limits().json_bytes,
    ) -> None:
        self._most_json_bytes = most_json_bytes
        self._observer = observer
        self._line = line

    def process_request(self, request: falcon.Request, response: falcon.Response) -> None:
        """Take the client's request id when it is sane, else make one; echo it."""
        given = request.get_header("X-Request-ID")
        request_id = given if given and _SANE_ID.fullmatch(given) else new_id()
        request.context.request_id = request_id
        request.context.most_json_bytes = self._most_json_bytes
        received = request.env.get("appliance.received_monotonic")
        request.context.received_monotonic = received or time.monotonic()
        response.set_header("X-Request-ID", request_id)
        response.set_header("X-Content-Type-Options", "nosniff")

    def process_response(
        self,
        request: falcon.Request,
        response: falcon.Response,
        resource: object,
        req_succeeded: bool,
    ) -> None:
        """Count and log the answer."""
        context = request.context
        seconds = time.monotonic() - context.received_monotonic
        status = response.status_code
        route = request.uri_template or "unmatched"
        self._observer.request_finished(
            route=route, method=request.method, status=status, seconds=seconds
        )
        if status == RateLimited.status:
            caller = context.get("caller")
            self._observer.rate_limited("key" if getattr(caller, "key_id", None) else "address")
        if self._line is not None:
            caller = context.get("caller")
            self._line(
                RequestLine(
                    request_id=context.request_id,
                    method=request.method[:20],
                    route=route,
                    path=request.path[:300],
                    status=status,
                    duration_ms=round(seconds * 1000, 3),
                    key=getattr(caller, "key_id", None) or "",
                    address=request.env.get("REMOTE_ADDR") or "",
                    problem=response.context.get("problem") or "",
                    received_bytes=request.content_length or 0,
                    user_agent=(request.user_agent or "")[:200],
                )
            )
