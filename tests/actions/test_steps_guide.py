"""The guide's readings and replies."""

import msgspec
import pytest

from appliance.actions.steps_guide import (
    ArrivalClock,
    GuideReading,
    chunk_of,
    replies,
    time_of,
)
from appliance.clock import ManualClock

FIELDS = {"accel_x": 1, "accel_y": 2, "accel_z": 3, "gyro_x": 4, "gyro_y": 5, "gyro_z": 6}


def reading(**changes: object) -> GuideReading:
    return msgspec.convert({**FIELDS, **changes}, GuideReading)


def answer(steps: int, total: int) -> bytes:
    events = [{"kind": "step", "confidence": 0.8}] * steps
    return msgspec.json.encode(
        {"result": {"events": events}, "flushed": None, "totals": {"chunks": 1, "events": total}}
    )


@pytest.mark.parametrize(
    "changes",
    [{"accel_x": 50.1}, {"accel_z": -51}, {"gyro_y": 10.5}, {"gyro_z": "1"}, {"gyro_x": None}],
)
def test_a_reading_out_of_the_guides_range_is_refused(changes: dict[str, object]) -> None:
    with pytest.raises(msgspec.ValidationError):
        reading(**changes)


def test_times_are_the_devices_where_it_has_a_clock_and_those_of_arrival_elsewhere() -> None:
    assert time_of(reading(), 7.5) == 7.5
    assert time_of(reading(timestamp=3), 7.5) == 3.0
    assert time_of(reading(timestamp=1_790_000_000_500), 7.5) == 1_790_000_000.5
    assert time_of(reading(timestamp="2026-01-01"), 7.5) == 7.5


def test_arrival_times_grow_whatever_the_wall_clock_does() -> None:
    clock = ManualClock()
    arrivals = ArrivalClock(clock)
    first = arrivals.seconds()
    clock.jump(-3600)
    assert first == pytest.approx(1_790_000_000.0)
    second = arrivals.seconds()
    assert second > first
    clock.advance(1)
    assert arrivals.seconds() == pytest.approx(first + 1)


def test_readings_become_columns() -> None:
    chunk = msgspec.json.decode(chunk_of([(reading(), 1.5), (reading(accel_z=9), 2.0)]))
    assert chunk["t"] == [1.5, 2.0]
    assert chunk["az"] == [3, 9]
    assert set(chunk) == {"t", "ax", "ay", "az", "gx", "gy", "gz"}


def test_every_step_is_told_once_and_the_count_ends_at_the_sessions() -> None:
    told = replies(answer(2, 12), readings=4, wall_seconds=0.0)
    assert [one.step_count for one in told] == [11, 12, 12, 12]
    assert [one.step_end for one in told] == [True, True, False, False]
    assert told[0].start_probability == 0.8


def test_more_steps_than_readings_are_counted_with_the_last() -> None:
    assert [one.step_count for one in replies(answer(3, 3), readings=1, wall_seconds=0)] == [3]
