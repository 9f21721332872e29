"""/live, /ready, /health, /metrics and their aliases: what machines and admins watch."""

from collections.abc import Callable
from typing import Annotated

import falcon
import msgspec
from msgspec import Meta

from appliance.actions.health import Health, HealthCheck, Readiness
from appliance.web.operation import Access, operation


class Liveness(msgspec.Struct, frozen=True):
    """The process turns."""

    live: Annotated[bool, Meta(description="Always true when there is an answer.")] = True


class Operations:
    """One resource for everything a monitor asks."""

    def __init__(self, check: HealthCheck, exposition: Callable[[str], tuple[bytes, str]]) -> None:
        self._check = check
        self._exposition = exposition

    @operation(
        summary="Tell whether the process turns",
        access=Access.PUBLIC,
        result=Liveness,
        tag="Operations",
    )
    def on_get_live(self, request: falcon.Request, response: falcon.Response) -> Liveness:
        """Answer."""
        return Liveness()

    @operation(
        summary="Tell whether requests should be sent here",
        description="503 with the reasons when not; their details are told to valid keys only.",
        access=Access.PUBLIC,
        result=Readiness,
        also={503: Readiness},
        tag="Operations",
    )
    def on_get_ready(self, request: falcon.Request, response: falcon.Response) -> Readiness:
        """Answer 200 or 503, with the reasons either way."""
        readiness = self._check.readiness(with_details=_is_known(request))
        if not readiness.ready:
            response.status = 503
            response.set_header("Retry-After", "1")
        return readiness

    @operation(
        summary="Tell everything about the appliance's condition",
        description="Without a key, from the networks of metrics.public, faults come without their"
        " details.",
        access=Access.METRICS,
        result=Health,
        tag="Operations",
    )
    def on_get_health(self, request: falcon.Request, response: falcon.Response) -> Health:
        """Answer in full detail."""
        return self._check.health(with_details=_is_known(request))

    @operation(
        summary="Metrics for Prometheus",
        access=Access.METRICS,
        produces={"text/plain": {"type": "string"}},
        tag="Operations",
    )
    def on_get_metrics(self, request: falcon.Request, response: falcon.Response) -> None:
        """Answer in the exposition format the scraper accepts."""
        response.data, response.content_type = self._exposition(request.accept or "")


def _is_known(request: falcon.Request) -> bool:
    """Return whether the caller has a valid key, or comes through the admin's socket."""
    caller = request.context.get("caller")
    return caller is not None and not caller.is_anonymous
