"""Limit how often one caller may ask, so that a device in a retry storm cannot starve the rest.

Every caller has a token bucket, kept as one number: the moment at which it would be full again
(the generic cell rate algorithm, ITU-T I.371, in its virtual scheduling form). A check is then one
dictionary access. Only the monotonic clock counts, so a jump of the wall clock changes nothing.
"""

import math
import random
import threading
from collections import OrderedDict

import msgspec

from appliance.clock import Clock
from appliance.errors import RateLimited

#: At 200 bytes each, 3 MiB; the least recently seen caller is forgotten first.
MOST_BUCKETS = 16_384


class Allowance(msgspec.Struct, frozen=True):
    """The answer of a limiter: what is left, and for a refusal how long to wait, in seconds."""

    is_allowed: bool
    remaining: int
    reset_seconds: int
    wait_seconds: float = 0.0


class Limiter:
    """Token buckets with one rate and burst, one for each subject.

    Threads: any; a lock is held for the few instructions of one check.
    """

    def __init__(
        self, clock: Clock, *, requests_per_second: float, burst: int, most: int = MOST_BUCKETS
    ) -> None:
        self._now = clock.monotonic
        self._burst = burst
        self._interval = 1.0 / requests_per_second
        self._capacity_seconds = burst * self._interval
        self._most = most
        self._full_at: OrderedDict[str, float] = OrderedDict()
        self._lock = threading.Lock()
        window_seconds = max(1, math.ceil(self._capacity_seconds - 1e-9))
        #: Value of the `RateLimit-Policy` header: quota `q` in each window of `w` seconds.
        self.policy = f'"default";q={burst};w={window_seconds}'

    def take(self, subject: str) -> Allowance:
        """Given who asks, take one token from their bucket and return what is left in it."""
        with self._lock:
            now = self._now()
            full_at = max(self._full_at.get(subject, now), now)
            used_seconds = full_at - now + self._interval
            spare_seconds = self._capacity_seconds - used_seconds
            is_allowed = spare_seconds > -1e-9
            if is_allowed:
                self._keep(subject, now + used_seconds)
        if is_allowed:
            remaining = int(spare_seconds / self._interval + 1e-6)
            return Allowance(True, remaining, math.ceil(used_seconds))
        return Allowance(False, 0, math.ceil(full_at - now), -spare_seconds)

    def __len__(self) -> int:
        return len(self._full_at)

    def _keep(self, subject: str, full_at: float) -> None:
        buckets = self._full_at
        buckets[subject] = full_at
        buckets.move_to_end(subject)
        if len(buckets) > self._most:
            buckets.popitem(last=False)


def refusal(allowance: Allowance, *, whose: str) -> RateLimited:
    """Given a refused allowance, return the problem to raise.

    The wait gets up to a quarter, and a quarter second, on top at random: devices that were
    refused in the same moment would otherwise all come back in the same moment.
    """
    wait_seconds = allowance.wait_seconds
    wait_seconds += random.uniform(0.0, 0.25 + wait_seconds * 0.25)
    return RateLimited(
        f"{whose} sent more requests than the limit allows. Wait for the time in Retry-After, then"
        " send more slowly; the limits are in the section [access] of the configuration.",
        retry_after_seconds=wait_seconds,
    )
