"""Time as an argument: everything that asks for the time gets a Clock, so tests can turn it."""

import time
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """Two clocks: `monotonic` for durations and deadlines, `wall_seconds` for people to read."""

    def monotonic(self) -> float:
        """Return seconds that never go backwards; only differences mean anything."""

    def wall_seconds(self) -> float:
        """Return seconds since 1970-01-01 UTC, which an admin or NTP may change at any time."""


class SystemClock:
    """The machine's own clocks."""

    def monotonic(self) -> float:
        """Return `time.monotonic()`."""
        return time.monotonic()

    def wall_seconds(self) -> float:
        """Return `time.time()`."""
        return time.time()


class ManualClock:
    """A clock that moves only when told to, for tests."""

    def __init__(self, wall_seconds: float = 1_790_000_000.0) -> None:
        self._monotonic = 1000.0
        self._wall_seconds = wall_seconds

    def monotonic(self) -> float:
        """Return the seconds advanced so far."""
        return self._monotonic

    def wall_seconds(self) -> float:
        """Return the wall time set at the start plus what was advanced."""
        return self._wall_seconds

    def advance(self, seconds: float) -> None:
        """Move both clocks forward by `seconds`."""
        self._monotonic += seconds
        self._wall_seconds += seconds

    def jump(self, seconds: float) -> None:
        """Move only the wall clock, as NTP or an admin would."""
        self._wall_seconds += seconds


def utc_text(wall_seconds: float) -> str:
    """Given seconds since 1970 UTC, return RFC 3339 text with milliseconds and `Z`."""
    moment = datetime.fromtimestamp(wall_seconds, tz=UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03d}Z"
