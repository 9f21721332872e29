import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.errors import InvalidInput
from appliance.tasks.contract import Payload
from appliance.tasks.step_signal import Buffer, Framing, begin, cut, resample
from tests.tasks.step_sessions import Session, answer, as_rows, walk

FRAMING = Framing(rate_hz=50, window=160, hop=16, lookahead=20, stride=2)


def _json(document):
    return Payload(json.dumps(document).encode(), "application/json")


def _pointer_of(payload, **params):
    with pytest.raises(InvalidInput) as caught:
        answer(payload, **params)
    (error,) = caught.value.errors
    return error.pointer


def _rows(**changed):
    """Thirty readings, some with other values: `{17: {"ax": 99}}`."""
    rows = [{"t": n / 50, "ax": 0.1, "ay": 0.2, "az": 9.8} for n in range(30)]
    for number, change in changed.items():
        rows[int(number[1:])].update(change)
    return _json({"readings": rows})


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"ax": 160.5}, "ax"),
        ({"ay": -161.0}, "ay"),
        ({"az": None}, "az"),
        ({"gx": 41.0, "gy": 0.0, "gz": 0.0}, "gx"),
        ({"gx": 0.1, "gy": None, "gz": 0.0}, "gy"),
        ({"t": 1.7e12}, "t"),
        ({"t": None}, "t"),
    ],
)
def test_an_impossible_value_is_refused_and_named(change, field):
    assert _pointer_of(_rows(n17=change)) == f"/readings/17/{field}"


def test_an_impossible_value_is_left_out_and_counted_on_request():
    tally = answer(_rows(n17={"ax": 170.0}, n18={"ay": None}), faults="skip").readings
    assert (tally.received, tally.used, tally.left_out, tally.gaps) == (30, 28, 2, 0)


def test_what_a_16_g_sensor_says_beyond_50_is_clipped_and_counted():
    tally = answer(_rows(n17={"ax": 160.0}, n3={"gx": 30.0, "gy": 0.0, "gz": 0.0})).readings
    assert (tally.used, tally.clipped, tally.left_out) == (30, 2, 0)
    assert answer(_rows(n17={"ax": 160.0})).events == answer(_rows(n17={"ax": 50.0})).events


def test_a_reading_that_goes_back_in_time_is_refused_and_named():
    assert _pointer_of(_rows(n17={"t": 0.1})) == "/readings/17/t"


def test_a_reading_that_goes_back_in_time_is_left_out_on_request():
    tally = answer(_rows(n17={"t": 0.1}), faults="skip").readings
    assert (tally.used, tally.left_out, tally.duplicates) == (29, 1, 0)


def test_of_readings_at_one_time_the_first_is_used():
    tally = answer(_rows(n17={"t": 16 / 50, "ax": 30.0})).readings
    assert (tally.used, tally.duplicates) == (29, 1)


def test_order_is_judged_across_the_chunks_of_a_stream():
    session = Session()
    session.send(_rows())
    with pytest.raises(InvalidInput, match="out of order"):
        session.send(_rows())
    again = Session(faults="skip")
    again.send(_rows())
    assert again.send(_rows()).readings.left_out == 29


def test_a_short_gap_is_bridged_and_a_long_one_begins_anew():
    table = walk(20)
    whole = answer(as_rows(table))
    short = (table[:, 0] > 6.0) & (table[:, 0] < 6.2)
    bridged = answer(as_rows(table[~short]))
    assert bridged.readings.gaps == 0
    assert abs(bridged.step_count - whole.step_count) <= 1
    long = (table[:, 0] > 6.0) & (table[:, 0] < 7.5)
    broken = answer(as_rows(table[~long]))
    assert broken.readings.gaps == 1
    assert whole.step_count - 5 <= broken.step_count < whole.step_count


def test_fewer_than_twenty_readings_a_second_are_refused():
    table = walk(20, 12.0)
    with pytest.raises(InvalidInput, match="20 readings a second") as caught:
        answer(as_rows(table))
    assert caught.value.errors[0].pointer == "/readings/20/t"


def test_times_in_milliseconds_are_refused_with_a_hint():
    table = walk(20)
    table[:, 0] *= 1000
    with pytest.raises(InvalidInput, match="times in seconds"):
        answer(as_rows(table))


def test_slow_readings_are_noticed_across_chunks():
    session = Session()
    table = walk(20, 12.0)
    for row in table[:20]:
        session.send(as_rows(row[None]))
    with pytest.raises(InvalidInput, match="20 readings a second"):
        session.send(as_rows(table[20:21]))


def test_readings_without_times_need_a_rate():
    document = {"ax": [0.0], "ay": [0.0], "az": [9.8]}
    assert _pointer_of(_json(document)) == "/t/0"
    assert answer(_json(document), rate_hz=50.0).readings.used == 1
    assert answer(_json(document | {"rate_hz": 50})).readings.used == 1


@pytest.mark.parametrize("rate_hz", [19.9, 200.1, -50, 0])
def test_a_rate_out_of_bounds_is_refused(rate_hz):
    document = {"ax": [0.0], "ay": [0.0], "az": [9.8], "rate_hz": rate_hz}
    assert _pointer_of(_json(document)) == "/rate_hz"


def test_a_stream_keeps_the_rate_it_began_with():
    document = {"ax": [0.0] * 9, "ay": [0.0] * 9, "az": [9.8] * 9}
    session = Session()
    session.send(_json(document | {"rate_hz": 50}))
    assert session.send(_json(document)).readings.used == 18
    with pytest.raises(InvalidInput, match="began with 50 Hz"):
        session.send(_json(document | {"rate_hz": 100}))
    timed = Session()
    timed.send(_rows())
    with pytest.raises(InvalidInput, match="began with times"):
        timed.send(_json(document | {"rate_hz": 100}))


def _resampled(times, values, places=()):
    """Return the samples of readings that come in chunks."""
    state = begin(float(times[0]), values[0])
    parts = []
    for first, last in zip([1, *places], [*places, len(times)], strict=True):
        state, samples = resample(state, times[first:last], values[first:last], 50.0)
        parts.append(samples)
    return np.concatenate(parts)


def test_a_constant_stays_constant_at_any_rate():
    times = np.cumsum(np.random.default_rng(0).uniform(0.001, 0.05, 500))
    samples = _resampled(times, np.tile([1.0, -2.0, 9.81], (500, 1)))
    assert len(samples) == int((times[-1] - times[0]) * 50)
    assert np.allclose(samples, [1.0, -2.0, 9.81], atol=1e-5)


def test_a_straight_line_keeps_its_value_in_the_middle_of_each_cell():
    times = np.arange(300) / 77
    samples = _resampled(times, np.stack([times, 2 * times, -times], axis=1))
    middles = (np.arange(len(samples)) + 0.5) / 50
    assert np.allclose(samples[:, 0], middles, atol=1e-5)


def test_what_is_too_quick_for_the_grid_is_averaged_away():
    times = np.arange(4000) / 400
    fast = np.sin(2 * np.pi * 100 * times)
    samples = _resampled(times, np.stack([fast, fast, fast], axis=1))
    assert np.abs(samples).max() < 0.1


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(1, 400), max_size=12).map(sorted), st.integers(0, 9))
def test_samples_have_the_same_bits_however_the_readings_are_cut(places, seed):
    random = np.random.default_rng(seed)
    times = 1.7e9 + np.cumsum(random.uniform(0.001, 0.03, 400))
    values = random.normal(0, 5, (400, 3))
    assert np.array_equal(_resampled(times, values, places), _resampled(times, values))


def test_windows_overlap_and_a_stretch_begins_and_ends_as_if_nothing_moved():
    samples = np.arange(300, dtype=np.float32).repeat(3).reshape(-1, 3)
    buffer, opened, _ = cut(Buffer(), samples, FRAMING, closes=False)
    assert opened.shape == ((300 - 20) // 16, 3, 160)
    assert (opened[0, 0, :125] == 0).all()
    assert opened[0, 0, 126] == 2
    _, closed, total = cut(buffer, samples[:0], FRAMING, closes=True)
    assert total == 300
    assert len(opened) + len(closed) == -(-300 // 16)
    assert closed[-1, 0, -1] == 299


def test_a_stretch_too_short_for_a_step_has_no_windows():
    samples = np.zeros((15, 3), np.float32)
    _, windows, _ = cut(Buffer(), samples, FRAMING, closes=True)
    assert len(windows) == 0


def test_a_buffer_stays_small():
    buffer = Buffer()
    for _ in range(200):
        buffer, _, _ = cut(buffer, np.zeros((10, 3), np.float32), FRAMING, closes=False)
        assert len(buffer.samples) <= 12 * (160 + 16)


def test_readings_that_are_mostly_gaps_are_refused():
    times = np.cumsum(np.tile([0.02, 0.02, 1.0], 600))
    table = np.column_stack([times, np.tile([0.0, 0.0, 9.81], (1800, 1))])
    with pytest.raises(InvalidInput, match="600 gaps"):
        answer(as_rows(table))
