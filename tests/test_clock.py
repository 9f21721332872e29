"""Clocks."""

from appliance.clock import ManualClock, SystemClock, utc_text


def test_a_manual_clock_moves_only_when_told() -> None:
    clock = ManualClock(wall_seconds=100.0)
    start = clock.monotonic()
    clock.advance(2.5)
    assert (clock.monotonic() - start, clock.wall_seconds()) == (2.5, 102.5)


def test_a_jump_of_the_wall_clock_leaves_durations_alone() -> None:
    clock = ManualClock(wall_seconds=100.0)
    start = clock.monotonic()
    clock.jump(-3600)
    assert (clock.monotonic() - start, clock.wall_seconds()) == (0.0, -3500.0)


def test_the_system_clock_never_goes_backwards() -> None:
    clock = SystemClock()
    moments = [clock.monotonic() for _ in range(100)]
    assert moments == sorted(moments)
    assert clock.wall_seconds() > 1_700_000_000


def test_moments_are_written_as_rfc_3339_in_utc() -> None:
    assert utc_text(0.0) == "1970-01-01T00:00:00.000Z"
    assert utc_text(1_790_000_000.0625) == "2026-09-21T14:13:20.062Z"
