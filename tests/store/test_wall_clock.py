"""Whether the wall clock can be believed."""

import pytest

from appliance.clock import ManualClock
from appliance.store.wall_clock import STEADY_SECONDS, WallClock

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
