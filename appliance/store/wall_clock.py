"""Whether the wall clock can be believed, so that a wrong one never deletes history.

Rules (reliability R23): suspect when it runs behind the last time noted in the database, when it
jumps against the monotonic clock, or when a start finds it far ahead of the noted time, for which
nothing but the clock itself speaks. Only retention asks; durations never use the wall clock.
"""

from appliance.clock import Clock

#: How far the clock may be behind the noted time, in seconds: leap seconds and NTP slewing.
BEHIND_SECONDS = 60.0
JUMP_SECONDS = 3600.0
#: A machine may have been off so long for a holiday. After more a wrong clock is likelier, and
#: where it is right nothing is lost by deleting a day later.
AWAY_SECONDS = 7 * 86400.0
#: A clock that jumped forward and then ran steadily this long, in seconds, is believed.
STEADY_SECONDS = 24 * 3600.0
#: 2026-01-01 UTC in seconds since 1970. This program did not exist before, so the clock is wrong.
EARLIEST_SECONDS = 1_767_225_600.0


class WallClock:
    """Compares the wall clock with the monotonic one and with the time noted last.

    Threads: `observe` is called by the writer's thread only; all else may be asked by any.
    """

    def __init__(self, clock: Clock, *, last_seen_seconds: float | None) -> None:
        self._clock = clock
        self._last_seen = last_seen_seconds
        self._previous_wall = clock.wall_seconds()
        self._previous_monotonic = clock.monotonic()
        self._jumped_at: float | None = None
        #: The wall time the machine would have had without its jump, at `_jumped_at`, and how much
        #: later than that it may be: as long as the machine may have been off.
        self._expected = 0.0
        self._leeway_seconds = JUMP_SECONDS
        self._look_for_absence(self._previous_wall, self._previous_monotonic)
        self.is_suspect = self._is_behind(self._previous_wall) or self._jumped_at is not None

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

    def is_suspect_now(self) -> bool:
        """Return whether it is suspect, or has jumped since it was last observed.

        Whoever deletes by time asks this after reading the time: between two observations a jump
        would else take the whole history with it.
        """
        previous, then = self._previous_wall, self._previous_monotonic
        expected = previous + self._clock.monotonic() - then
        return self.is_suspect or abs(self._clock.wall_seconds() - expected) > JUMP_SECONDS

    def _look_for_jump(self, wall: float, monotonic: float) -> None:
        expected = self._previous_wall + monotonic - self._previous_monotonic
        if self._jumped_at is None:
            if abs(wall - expected) <= JUMP_SECONDS:
                return
            if self._is_behind(self._previous_wall):
                # It is being put right, which is not suspect unless it leads too far.
                self._look_for_absence(wall, monotonic)
            else:
                self._jumped_at, self._expected = monotonic, expected
                self._leeway_seconds = JUMP_SECONDS
            return
        without_jump = self._expected + monotonic - self._jumped_at
        if -JUMP_SECONDS <= wall - without_jump <= self._leeway_seconds:
            self._jumped_at = None  # it came back
        elif abs(wall - expected) > JUMP_SECONDS:
            self._jumped_at, self._expected = monotonic, without_jump
        elif monotonic - self._jumped_at >= STEADY_SECONDS:
            self._jumped_at = None

    def _look_for_absence(self, wall: float, monotonic: float) -> None:
        if self._last_seen is not None and wall - self._last_seen > AWAY_SECONDS:
            self._jumped_at, self._expected = monotonic, self._last_seen
            self._leeway_seconds = AWAY_SECONDS

    def _is_behind(self, wall: float) -> bool:
        return wall < max(self._last_seen or 0.0, EARLIEST_SECONDS) - BEHIND_SECONDS
