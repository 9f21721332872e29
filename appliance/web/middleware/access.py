"""Access to every route: who calls is found before routing, what they may do right after it."""

import math
import re
from collections.abc import Callable, Mapping
from typing import Any

import falcon

from appliance.actions.admit import Admission, Gate
from appliance.actions.callers import (
    Caller,
    Role,
    anonymous,
    local_admin,
    require_model,
    require_role,
)
from appliance.actions.key_format import PREFIX
from appliance.errors import RateLimited, Unauthenticated
from appliance.web.operation import Access, operation_of

#: Names under which other products take keys in the address; none of ours is called so.
_KEY_PARAMETER = re.compile(r"(?:^|[&;])(?:x[-_])?(?:api[-_]?key|access_token)=", re.IGNORECASE)
_ROLES = {
    Access.METRICS: Role.DEVICE,  # any key will do
    Access.DEVICE: Role.DEVICE,
    Access.OPERATOR: Role.OPERATOR,
    Access.ADMIN: Role.ADMIN,
}


#: Given a request, the key inside its body, for clients that can send it nowhere else.
KeyInBody = Callable[[falcon.Request], str | None]


class AccessMiddleware:
    """Falcon middleware that sets `request.context.caller` or refuses.

    `suffixes` maps the templates of routes added with a suffix to that suffix, as Falcon does not
    tell it; `key_in_body` is asked where the headers hold no key. Only routed resources are
    judged: Falcon calls no `process_resource` for sinks and static routes, so those would stand
    open and must not be used.
    """

    def __init__(
        self,
        gate: Gate,
        suffixes: Mapping[str, str] | None = None,
        *,
        key_in_body: KeyInBody | None = None,
    ) -> None:
        self._gate = gate
        self._key_in_body = key_in_body
        self._suffixes = dict(suffixes or {})
        #: Only described operations are kept, so their number is that of the routes. Threads: any;
        #: two may compute the same answer at once.
        self._known: dict[tuple[str | None, str], Access] = {}

    def process_request(self, request: falcon.Request, response: falcon.Response) -> None:
        """Given a request, find its caller and count it; raise RateLimited or Unauthenticated."""
        environ = request.env
        context = request.context
        context.admission = None
        if environ.get("appliance.admin_socket") is True:
            context.caller = local_admin()
            return
        # Falcon's remote_addr is 127.0.0.1 where the server names no peer: that would be a gift.
        address = environ.get("REMOTE_ADDR") or "unknown"
        context.caller = anonymous(address)
        _refuse_key_in_address(environ.get("QUERY_STRING", ""), response)
        x_api_key = environ.get("HTTP_X_API_KEY")
        authorization = environ.get("HTTP_AUTHORIZATION")
        if x_api_key is None and authorization is None and self._key_in_body is not None:
            x_api_key = self._key_in_body(request)
        is_keyless = x_api_key is None and authorization is None
        admission = self._gate.admit(
            x_api_key=x_api_key,
            authorization=authorization,
            address=address,
            is_cross_site=is_keyless and _is_cross_site(environ),
        )
        context.caller = admission.caller
        context.admission = admission
        _tell_limit(response, admission)
        admission.raise_if_spent()

    def process_resource(
        self,
        request: falcon.Request,
        response: falcon.Response,
        resource: object,
        params: dict[str, Any],
    ) -> None:
        """Given the routed resource, return if the caller may go on; raise the refusal if not."""
        needed = self._needed(request, resource)
        caller: Caller = request.context.caller
        if needed is None or self._is_open(needed, caller):
            return
        admission: Admission | None = request.context.admission
        try:
            if admission is not None and admission.fault is not None:
                if isinstance(admission.fault, RateLimited):
                    self._tell_guesses_are_spent(response, admission.fault)
                raise admission.fault
            require_role(caller, _ROLES[needed])
        except Unauthenticated:
            is_wrong_key = admission is not None and admission.fault is not None
            _challenge(response, is_wrong_key=is_wrong_key)
            raise
        if "model" in params:
            require_model(caller, params["model"])

    def _tell_guesses_are_spent(self, response: falcon.Response, fault: RateLimited) -> None:
        """Tell of the limit of wrong keys, which is another than that of requests."""
        wait_seconds = math.ceil(fault.retry_after_seconds or 1.0)
        response.set_header("RateLimit-Policy", self._gate.guesses_policy)
        response.set_header("RateLimit", f'"default";r=0;t={wait_seconds}')

    def _needed(self, request: falcon.Request, resource: object) -> Access | None:
        """Return what the operation asks for; None where Falcon itself will answer 405."""
        route = (request.uri_template, request.method)
        known = self._known.get(route)
        if known is not None:
            return known
        suffix = self._suffixes.get(request.uri_template or "")
        operation = operation_of(resource, request.method, suffix)
        if operation is not None:
            self._known[route] = operation.access
            return operation.access
        name = f"on_{request.method.lower()}"
        # A responder that nobody described must not stand open by oversight, whatever its suffix.
        is_answered = any(each == name or each.startswith(name + "_") for each in dir(resource))
        return Access.ADMIN if is_answered else None

    def _is_open(self, needed: Access, caller: Caller) -> bool:
        if needed is Access.METRICS:
            return not caller.is_anonymous or self._gate.may_read_metrics(caller.address)
        return needed is Access.PUBLIC


def _refuse_key_in_address(query: str, response: falcon.Response) -> None:
    if query and (PREFIX in query or _KEY_PARAMETER.search(query)):
        _challenge(response, is_wrong_key=True)
        raise Unauthenticated(
            "An API key never goes into the address, where logs and histories keep it. Send it as"
            " X-API-Key or Authorization: Bearer, and have this one revoked: it has been seen."
        )


def _is_cross_site(environ: Mapping[str, Any]) -> bool:
    """Return whether a browser sends this for a page of another site.

    Where loopback needs no key, any web page open in a browser on the appliance's own machine
    could otherwise act as operator.
    """
    origin = environ.get("HTTP_ORIGIN")
    if origin is not None and origin.partition("://")[2] != environ.get("HTTP_HOST"):
        return True
    return environ.get("HTTP_SEC_FETCH_SITE", "none") not in ("none", "same-origin")


def _tell_limit(response: falcon.Response, admission: Admission) -> None:
    """Set the fields of draft-ietf-httpapi-ratelimit-headers-10."""
    allowance = admission.allowance
    response.set_header("RateLimit-Policy", admission.policy)
    response.set_header(
        "RateLimit", f'"default";r={allowance.remaining};t={allowance.reset_seconds}'
    )


def _challenge(response: falcon.Response, *, is_wrong_key: bool) -> None:
    """Set the challenge of RFC 6750 section 3; a wrong key is told apart from a missing one."""
    challenge = 'Bearer error="invalid_token"' if is_wrong_key else "Bearer"
    response.set_header("WWW-Authenticate", challenge)
