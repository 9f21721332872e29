import time

import pytest

from appliance.clock import ManualClock, SystemClock, utc_text


def test_the_system_clock_is_the_machines() -> None:
    clock = SystemClock()
    first = clock.monotonic()
    assert first <= clock.monotonic() <= time.monotonic()
    assert abs(clock.wall_seconds() - time.time()) < 60


def test_a_manual_clock_moves_only_when_told() -> None:
    clock = ManualClock(1000.0)
    assert (clock.monotonic(), clock.wall_seconds()) == (clock.monotonic(), 1000.0)
    start = clock.monotonic()
    clock.advance(5)
    assert (clock.monotonic() - start, clock.wall_seconds()) == (5, 1005)


def test_a_jump_moves_only_the_wall_clock() -> None:
    clock = ManualClock(1000.0)
    start = clock.monotonic()
    clock.jump(-3600)
    assert (clock.monotonic(), clock.wall_seconds()) == (start, -2600)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "1970-01-01T00:00:00.000Z"),
        (1_790_000_000.0625, "2026-09-21T14:13:20.062Z"),
        (-0.5, "1969-12-31T23:59:59.500Z"),
    ],
)
def test_times_are_written_in_utc_whatever_the_time_zone(
    seconds: float, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TZ", "Pacific/Kiritimati")
    time.tzset()
    try:
        assert utc_text(seconds) == text
    finally:
        monkeypatch.undo()
        time.tzset()
