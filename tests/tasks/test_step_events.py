import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.tasks.step_events import Pace, Picking, Track, count, pick

PICKING = Picking(
    rate_hz=25.0, reach=5, walking=0.2, resting=0.6, rhythm_seconds=1.5, lag_seconds=0.0
)


def _peaks(values, cuts=()):
    """Return the peaks of probabilities that come in parts."""
    track, found = Track(), []
    values = np.array(values, np.float32)
    for part in np.split(values, cuts):
        track, peaks = pick(track, part, PICKING, length=None)
        found += peaks
    _, peaks = pick(track, values[:0], PICKING, length=len(values))
    return found + peaks


def test_a_peak_lies_between_the_samples_where_its_parabola_does():
    assert _peaks([0, 0, 0.5, 0.9, 0.5, 0, 0]) == [(pytest.approx(3.5 / 25), pytest.approx(0.9))]
    ((time, _),) = _peaks([0, 0, 0.5, 0.9, 0.8, 0, 0])
    assert 3.5 / 25 < time < 4.0 / 25


def test_of_two_peaks_within_reach_the_higher_stays_and_of_equals_the_first():
    assert len(_peaks([0, 0.7, 0, 0, 0.8, 0, 0])) == 1
    ((time, _),) = _peaks([0, 0.7, 0, 0, 0.7, 0, 0])
    assert time == pytest.approx(1.5 / 25)
    assert len(_peaks([0, 0.7, 0, 0, 0, 0, 0, 0.8, 0])) == 2


def test_the_first_and_the_last_probability_may_be_peaks():
    assert len(_peaks([0.9, 0, 0, 0, 0, 0, 0, 0.9])) == 2


def test_what_lies_past_the_end_of_a_stretch_is_not_looked_at():
    values = np.array([0, 0, 0.9, 0, 0.95, 0.99], np.float32)
    _, peaks = pick(Track(), values, PICKING, length=4)
    assert [height for _, height in peaks] == [pytest.approx(0.9)]


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.integers(0, 10).map(lambda tenths: tenths / 10), max_size=60),
    st.lists(st.integers(0, 60), max_size=8).map(sorted),
)
def test_peaks_do_not_depend_on_how_the_probabilities_come(values, cuts):
    assert _peaks(values, cuts) == _peaks(values)


def test_out_of_stillness_a_step_must_be_clearer_than_in_a_walk():
    low_then_high = [(1.0, 0.3), (2.0, 0.7), (2.5, 0.3), (3.0, 0.25), (9.0, 0.3)]
    pace, events = count(Pace(), 10.0, low_then_high, PICKING)
    assert [event.time for event in events] == [12.0, 12.5, 13.0]
    assert pace.steps == 3
    assert pace.cadence_per_minute() == 120.0


def test_a_step_starts_where_the_one_before_ended():
    _, events = count(Pace(), 0.0, [(2.0, 0.9), (2.6, 0.9), (9.0, 0.9)], PICKING)
    assert [(event.start, event.end) for event in events] == [(1.5, 2.0), (2.0, 2.6), (8.5, 9.0)]


def test_one_step_has_no_cadence():
    pace, _ = count(Pace(), 0.0, [(2.0, 0.9)], PICKING)
    assert pace.cadence_per_minute() is None


EARLY = dataclasses.replace(PICKING, early_share=0.6)
WALK = [(1.0, 0.9), (1.7, 0.9), (2.4, 0.9), (3.1, 0.9)]


def test_a_step_much_too_early_for_the_rhythm_must_be_as_clear_as_a_first_one():
    doubtful = [*WALK, (3.4, 0.5), (3.8, 0.3), (4.1, 0.7), (4.5, 0.3)]
    assert count(Pace(), 0.0, doubtful, PICKING)[0].steps == 8
    _, events = count(Pace(), 0.0, doubtful, EARLY)
    assert [event.time for event in events] == [1.0, 1.7, 2.4, 3.1, 3.8, 4.1]


def test_a_walk_that_has_just_begun_has_no_rhythm_yet():
    quick = [(1.0, 0.9), (1.7, 0.9), (2.4, 0.9), (2.7, 0.3)]
    assert count(Pace(), 0.0, quick, EARLY)[0].steps == 4


def test_whoever_stood_still_walks_in_a_new_rhythm():
    hurried = [*WALK, (9.0, 0.9), (9.3, 0.3), (9.6, 0.3)]
    assert count(Pace(), 0.0, hurried, EARLY)[0].steps == 7


@given(
    st.lists(st.tuples(st.floats(0.2, 2.0), st.floats(0.0, 1.0)), max_size=40),
    st.lists(st.integers(0, 40), max_size=6).map(sorted),
)
def test_the_steps_do_not_depend_on_how_the_peaks_come(peaks, cuts):
    at = np.cumsum([apart for apart, _ in peaks])
    peaks = [(float(time), height) for time, (_, height) in zip(at, peaks, strict=True)]
    pace, events = Pace(), []
    for begin, end in zip([0, *cuts], [*cuts, len(peaks)], strict=True):
        pace, more = count(pace, 0.0, peaks[begin:end], EARLY)
        events += more
    assert (pace, events) == count(Pace(), 0.0, peaks, EARLY)
    assert len(pace.recent_seconds) <= 6
