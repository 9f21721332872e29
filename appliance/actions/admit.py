"""Admit a request: find out who calls, count it against their limit, and say what is wrong.

It knows nothing of HTTP but the texts of a few headers, so that the server's channel, the WSGI
middleware and the tests all ask the very same gate.
"""

from collections.abc import Mapping

import msgspec

from appliance import config
from appliance.actions import authenticate
from appliance.actions.callers import Caller, Role, anonymous
from appliance.actions.key_ring import KeyRing
from appliance.actions.limit import Allowance, Limiter, refusal
from appliance.actions.networks import block_of, is_inside, is_loopback, networks_of
from appliance.clock import Clock
from appliance.errors import Problem, Unauthenticated

#: Longest address text that is looked at; IPv6 with a zone has at most 62 characters.
_MOST_ADDRESS_CHARS = 64


class Admission(msgspec.Struct, frozen=True):
    """Who calls, what is left of their limit, and the fault of the key they showed, if any.

    The fault is not raised at once because what is public stays public: a load balancer that
    sends a stale key still gets its answer from /live.
    """

    caller: Caller
    allowance: Allowance
    policy: str
    fault: Problem | None = None

    def raise_if_spent(self) -> None:
        """Raise RateLimited when the caller's bucket was empty."""
        if not self.allowance.is_allowed:
            who = self.caller.address if self.caller.key_id is None else self.caller.key_name
            raise refusal(self.allowance, whose=f"{who!r}")


class Gate:
    """The one place where keys, limits and networks meet.

    Threads: any; the parts it holds each say how they are guarded.
    """

    def __init__(
        self, ring: KeyRing, clock: Clock, *, access: config.Access, metrics: config.Metrics
    ) -> None:
        self._ring = ring
        self._clock = clock
        self.use_access(access)
        self.use_metrics(metrics)

    def use_access(self, access: config.Access) -> None:
        """Given the section [access], judge by it from now on; every caller starts afresh."""
        clock = self._clock
        self._is_key_required = access.required
        self._keyed = Limiter(
            clock, requests_per_second=access.requests_per_second, burst=access.burst
        )
        self._anonymous = Limiter(
            clock,
            requests_per_second=access.anonymous_requests_per_second,
            burst=access.anonymous_burst,
        )
        self._failed = Limiter(
            clock,
            requests_per_second=access.failed_keys_per_second,
            burst=access.failed_keys_burst,
        )

    @property
    def guesses_policy(self) -> str:
        """Value of the `RateLimit-Policy` header for addresses that show wrong keys."""
        return self._failed.policy

    def use_metrics(self, metrics: config.Metrics) -> None:
        """Given the section [metrics], let its networks read metrics from now on."""
        self._metrics_networks = networks_of(metrics.public)

    def admit(
        self,
        *,
        x_api_key: str | None,
        authorization: str | None,
        address: str,
        is_cross_site: bool = False,
    ) -> Admission:
        """Given the credentials and the socket peer of a request, return who calls.

        A key that is not valid makes the caller anonymous and is told in `fault`: Unauthenticated,
        or RateLimited when this address has shown too many of them. Whether the caller's own limit
        is spent is told in `allowance`; see `raise_if_spent`.
        """
        address = address[:_MOST_ADDRESS_CHARS]
        fault: Problem | None = None
        text: str | None = None
        try:
            text = authenticate.credential(x_api_key=x_api_key, authorization=authorization)
            if text is not None:
                caller = authenticate.authenticate(self._ring, text, address=address)
                return self._counted(caller, self._keyed, f"key {caller.key_id}")
        except Unauthenticated as problem:
            fault = self._counted_failure(problem, text, address)
        if fault is None and not self._is_key_required and not is_cross_site:
            caller = keyless(address)
            if not caller.is_anonymous:
                return self._counted(caller, self._keyed, block_of(address))
        return self._counted(anonymous(address), self._anonymous, block_of(address), fault=fault)

    def authorised(self, headers: Mapping[str, str], address: str) -> bool:
        """Given headers under waitress's names (`X_API_KEY`), return if a large body may come.

        It asks only whether the key is valid; role, scope and limit are judged when the request
        is complete. A wrong key counts here, as the server then refuses without asking the gate.
        """
        text: str | None = None
        try:
            text = authenticate.credential(
                x_api_key=headers.get("X_API_KEY"), authorization=headers.get("AUTHORIZATION")
            )
            if text is None:
                return not self._is_key_required and not keyless(address).is_anonymous
            authenticate.authenticate(self._ring, text, address=address)
        except Unauthenticated as problem:
            self._counted_failure(problem, text, address)
            return False
        return True

    def may_read_metrics(self, address: str) -> bool:
        """Given a peer's address, return whether it may scrape metrics without a key."""
        return is_inside(address, self._metrics_networks)

    def _counted_failure(
        self, problem: Unauthenticated, text: str | None, address: str
    ) -> Problem:
        """Count a guess; who has a whole secret, though it be revoked or expired, guesses not."""
        if text is not None and authenticate.entry_of(self._ring, text) is not None:
            return problem
        allowance = self._failed.take(block_of(address))
        if allowance.is_allowed:
            return problem
        return refusal(allowance, whose=f"{address!r}, with keys that are not valid,")

    def _counted(
        self, caller: Caller, limiter: Limiter, subject: str, *, fault: Problem | None = None
    ) -> Admission:
        return Admission(caller, limiter.take(subject), limiter.policy, fault)


def keyless(address: str) -> Caller:
    """Given a peer's address, return its caller where `access.required` is off.

    Only the machine itself is let in, as operator: keys and the audit stay with a real key.
    """
    if is_loopback(address):
        return Caller(key_name="loopback", address=address, role=Role.OPERATOR)
    return anonymous(address)
