"""Whether the wall clock can be believed."""

import pytest

from appliance.clock import ManualClock
from appliance.store.wall_clock import AWAY_SECONDS, JUMP_SECONDS, STEADY_SECONDS, WallClock

NOW = 1_790_000_000.0
YEAR = 365 * 86400.0


def _run(watch: WallClock, clock: ManualClock, seconds: float) -> None:
    for _ in range(int(seconds // 600)):
        clock.advance(600)
        watch.observe()


def test_a_steady_clock_is_believed_and_noted() -> None:
    clock = ManualClock(NOW)
    watch = WallClock(clock, last_seen_seconds=NOW - 100)
    _run(watch, clock, 3600)
    assert not watch.is_suspect
    assert watch.observe() == NOW + 3600


@pytest.mark.parametrize("start", [0.0, 100_000.0, NOW - 61])
def test_a_start_before_the_last_seen_time_is_suspect(start: float) -> None:
    watch = WallClock(ManualClock(start), last_seen_seconds=NOW)
    assert watch.is_suspect
    assert watch.observe() is None


def test_a_start_in_1970_without_a_past_is_suspect() -> None:
    assert WallClock(ManualClock(0.0), last_seen_seconds=None).is_suspect


def test_a_clock_that_is_put_right_is_believed_again() -> None:
    clock = ManualClock(0.0)
    watch = WallClock(clock, last_seen_seconds=NOW)
    clock.jump(NOW + 30)
    assert watch.observe() == NOW + 30
    assert not watch.is_suspect


def test_a_year_ahead_for_five_minutes_is_suspect_until_it_comes_back() -> None:
    clock = ManualClock(NOW)
    watch = WallClock(clock, last_seen_seconds=NOW)
    clock.jump(YEAR)
    assert watch.observe() is None
    clock.advance(300)
    assert watch.observe() is None
    clock.jump(-YEAR)
    assert watch.observe() == NOW + 300


def test_a_jump_that_stays_is_believed_after_a_day() -> None:
    clock = ManualClock(NOW)
    watch = WallClock(clock, last_seen_seconds=NOW)
    clock.jump(YEAR)
    watch.observe()
    _run(watch, clock, STEADY_SECONDS - 1200)
    assert watch.is_suspect
    _run(watch, clock, 2400)
    assert not watch.is_suspect


def test_daylight_slewing_and_small_steps_are_no_reason() -> None:
    clock = ManualClock(NOW)
    watch = WallClock(clock, last_seen_seconds=NOW)
    clock.jump(-30)
    assert watch.observe() is not None
    clock.jump(1800)
    assert watch.observe() is not None


@pytest.mark.parametrize("off_seconds", [0.0, 3 * 3600.0, AWAY_SECONDS - 1])
def test_a_machine_that_was_off_for_days_is_believed_at_once(off_seconds: float) -> None:
    watch = WallClock(ManualClock(NOW + off_seconds), last_seen_seconds=NOW)
    assert not watch.is_suspect
    assert watch.observe() == NOW + off_seconds


def test_a_restart_a_year_ahead_is_suspect_until_the_clock_is_put_right() -> None:
    clock = ManualClock(NOW + YEAR)
    watch = WallClock(clock, last_seen_seconds=NOW)
    assert watch.is_suspect
    clock.advance(300)
    assert watch.observe() is None
    off_seconds = 2 * 86400.0
    clock.jump(off_seconds - YEAR)
    assert watch.observe() == NOW + 300 + off_seconds
    assert not watch.is_suspect


def test_a_machine_that_was_off_for_a_year_is_believed_after_a_day() -> None:
    clock = ManualClock(NOW + YEAR)
    watch = WallClock(clock, last_seen_seconds=NOW)
    _run(watch, clock, STEADY_SECONDS - 1200)
    assert watch.is_suspect
    _run(watch, clock, 2400)
    assert not watch.is_suspect


def test_a_restart_does_not_make_a_leap_believed() -> None:
    """What was noted before the leap is still what the next start compares with."""
    clock = ManualClock(NOW)
    noted = WallClock(clock, last_seen_seconds=NOW).observe()
    clock.jump(YEAR)
    again = WallClock(clock, last_seen_seconds=noted)
    assert again.is_suspect
    assert again.observe() is None


def test_a_clock_that_leaps_on_after_such_a_start_stays_suspect() -> None:
    clock = ManualClock(NOW + YEAR)
    watch = WallClock(clock, last_seen_seconds=NOW)
    clock.advance(STEADY_SECONDS - 60)
    clock.jump(YEAR)
    assert watch.observe() is None
    clock.advance(120)
    assert watch.observe() is None
    clock.jump(-2 * YEAR)
    assert watch.observe() is not None


def test_a_clock_put_right_to_a_year_ahead_is_suspect() -> None:
    clock = ManualClock(0.0)
    watch = WallClock(clock, last_seen_seconds=NOW)
    clock.jump(NOW + YEAR)
    assert watch.observe() is None
    assert watch.is_suspect


def test_a_jump_is_suspect_before_it_was_observed_and_observing_agrees() -> None:
    clock = ManualClock(NOW)
    watch = WallClock(clock, last_seen_seconds=NOW)
    clock.advance(7200)
    assert not watch.is_suspect_now()
    clock.jump(YEAR)
    assert not watch.is_suspect
    assert watch.is_suspect_now()
    watch.observe()
    assert watch.is_suspect_now()
    clock.jump(-YEAR)
    watch.observe()
    assert not watch.is_suspect_now()


def test_the_times_are_those_that_the_manual_tells() -> None:
    """An hour's jump, seven days away, a steady day: docs/operating.md, "What to do when"."""
    assert (JUMP_SECONDS, AWAY_SECONDS, STEADY_SECONDS) == (3600, 7 * 86400, 86400)
