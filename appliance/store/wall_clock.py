"""Whether the wall clock can be believed, so that a wrong one never deletes history.

Rules (reliability R23): suspect when it runs behind the last time noted in the database, or when
it jumps against the monotonic clock. Only retention asks; durations never use the wall clock.
"""

from appliance.clock import Clock

#: How far the clock may be behind the noted time, in seconds: leap seconds and NTP slewing.
BEHIND_SECONDS = 60.0
JUMP_SECONDS = 3600.0
#: A clock that jumped forward and then ran steadily this long, in seconds, is believed.
STEADY_SECONDS = 24 * 3600.0
#: 2026-01-01 UTC in seconds since 1970. This program did not exist before, so the clock is wrong.
EARLIEST_SECONDS = 1_767_225_600.0


class WallClock:
    """Compares the wall clock with the monotonic one and with the time noted last.

    Threads: `observe` is called by the writer's thread only; `is_suspect` may be read by any.
    """

    def __init__(self, clock: Clock, *, last_seen_seconds: float | None) -> None:
        self._clock = clock
        self._last_seen = last_seen_seconds
        self._previous_wall = clock.wall_seconds()
        self._previous_monotonic = clock.monotonic()
        self._jumped_at: float | None = None
        #: The wall time the machine would have had without its jump, at `_jumped_at`.
        self._expected = 0.0
        self.is_suspect = self._is_behind(self._previous_wall)

    def observe(self) -> float | None:
        """Look at both clocks; return the wall time to note, or None while it is suspect."""
        wall, monotonic = self._clock.wall_seconds(), self._clock.monotonic()
        self._look_for_jump(wall, monotonic)
        self._previous_wall, self._previous_monotonic = wall, monotonic
        self.is_suspect = self._is_behind(wall) or self._jumped_at is not None
        if self.is_suspect:
            return None
        self._last_seen = max(wall, self._last_seen or wall)
        return self._last_seen

    def _look_for_jump(self, wall: float, monotonic: float) -> None:
        expected = self._previous_wall + monotonic - self._previous_monotonic
        if self._jumped_at is None:
            # A clock that was behind and leaps is being put right, which is not suspect.
            if abs(wall - expected) > JUMP_SECONDS and not self._is_behind(self._previous_wall):
                self._jumped_at, self._expected = monotonic, expected
            return
        without_jump = self._expected + monotonic - self._jumped_at
        if abs(wall - without_jump) <= JUMP_SECONDS:
            self._jumped_at = None  # it came back
        elif abs(wall - expected) > JUMP_SECONDS:
            self._jumped_at, self._expected = monotonic, without_jump
        elif monotonic - self._jumped_at >= STEADY_SECONDS:
            self._jumped_at = None

    def _is_behind(self, wall: float) -> bool:
        return wall < max(self._last_seen or 0.0, EARLIEST_SECONDS) - BEHIND_SECONDS
