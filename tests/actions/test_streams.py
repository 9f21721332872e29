"""Sessions: every chunk counted once, whatever is repeated, cut, switched or killed."""

import random
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
import pytest

from appliance.actions.stream_views import WantedStream
from appliance.clock import ManualClock
from appliance.config import History
from appliance.errors import (
    Conflict,
    Forbidden,
    HostDied,
    InsufficientStorage,
    Internal,
    InvalidInput,
    ModelUnavailable,
    NotFound,
    Overloaded,
    RateLimited,
)
from appliance.store import predictions, streams
from tests.access_parts import opened
from tests.stream_parts import DEVICE, OPERATOR, OTHER, Parts, events_of

WANTED = WantedStream(model="letters")


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def parts(tmp_path: Path, clock: ManualClock) -> Iterator[Parts]:
    with opened(tmp_path / "state", clock) as database:
        yield Parts(database, clock, most=3, idle_seconds=600)


def test_chunks_cut_at_random_find_what_one_chunk_finds(parts: Parts) -> None:
    text = b"the quick brown fox jumps over the lazy dog"
    for seed in range(5):
        numbers = random.Random(seed)
        stream = parts.sessions.open(DEVICE, WANTED).id
        found, at = "", 0
        while at < len(text):
            size = numbers.randint(1, 9)
            found += events_of(parts.feed(stream, text[at : at + size]))
            at += size
        last = parts.sessions.end(DEVICE, stream)
        assert found + events_of(last) == text.decode()
        assert msgspec.json.decode(last)["totals"]["events"] == len(text)


def test_a_repeated_chunk_gets_the_same_bytes_and_is_counted_once(parts: Parts) -> None:
    stream = parts.sessions.open(DEVICE, WANTED).id
    first = parts.feed(stream, b"abc", 1)
    calls = len(parts.engine.calls)
    assert parts.feed(stream, b"abc", 1) == first
    assert len(parts.engine.calls) == calls
    assert parts.sessions.view(DEVICE, stream).totals.chunks == 1


def test_other_content_under_a_known_number_is_refused(parts: Parts) -> None:
    stream = parts.sessions.open(DEVICE, WANTED).id
    parts.feed(stream, b"abc", 1)
    with pytest.raises(InvalidInput, match="other content"):
        parts.feed(stream, b"abd", 1)


@pytest.mark.parametrize("number", [1, 2, 4, 99])
def test_a_number_that_is_not_next_is_told_which_one_is(parts: Parts, number: int) -> None:
    stream = parts.sessions.open(DEVICE, WANTED).id
    parts.feed(stream, b"a", 1)
    parts.feed(stream, b"b", 2)
    if number == 2:
        assert parts.feed(stream, b"b", 2)
        return
    with pytest.raises(Conflict, match="so 3 is next"):
        parts.feed(stream, b"c", number)


def test_a_chunk_refused_or_lost_in_the_host_leaves_the_stream_as_it_was(parts: Parts) -> None:
    stream = parts.sessions.open(DEVICE, WANTED).id
    parts.feed(stream, b"ab", 1)
    before = parts.sessions.view(DEVICE, stream)
    with pytest.raises(InvalidInput):
        parts.feed(stream, b"c!", 2)
    parts.engine.dies_at = {len(parts.engine.calls) + 1}
    with pytest.raises(HostDied):
        parts.feed(stream, b"cd", 2)
    assert parts.sessions.view(DEVICE, stream) == before
    assert events_of(parts.feed(stream, b"cd", 2)) == "bc"


def test_the_end_flushes_and_may_be_asked_for_again(parts: Parts) -> None:
    stream = parts.sessions.open(DEVICE, WANTED).id
    last = parts.feed(stream, b"abc", 1)
    end = parts.sessions.end(DEVICE, stream)
    assert events_of(end) == "c"
    assert parts.sessions.end(DEVICE, stream) == end
    assert parts.feed(stream, b"abc", 1) == last, "a device may have missed that answer"
    with pytest.raises(Conflict, match="has ended"):
        parts.feed(stream, b"d", 2)


def test_a_stream_that_got_nothing_ends_with_nothing(parts: Parts) -> None:
    stream = parts.sessions.open(DEVICE, WANTED).id
    assert events_of(parts.sessions.end(DEVICE, stream)) == ""
    assert parts.engine.calls == []


def test_a_switch_takes_effect_at_a_turn_and_loses_no_event(parts: Parts) -> None:
    stream = parts.sessions.open(DEVICE, WANTED).id
    assert events_of(parts.feed(stream, b"abc")) == "ab"
    parts.engine.active["letters"] = 2
    answer = parts.feed(stream, b"de")
    fields = msgspec.json.decode(answer)
    assert (fields["version"], fields["restarted"]) == (2, True)
    assert events_of(answer) == "cd", "'c' was held back by the old version"
    assert fields["totals"] == {"chunks": 2, "input_bytes": 5, "events": 4, "restarts": 1}
    assert {version for _, version in parts.engine.calls[1:]} == {2}, "the old host is left alone"
    assert not msgspec.json.decode(parts.feed(stream, b"f"))["restarted"]


def test_a_switch_before_the_first_chunk_restarts_nothing(parts: Parts) -> None:
    stream = parts.sessions.open(DEVICE, WANTED).id
    parts.engine.active["letters"] = 2
    fields = msgspec.json.decode(parts.feed(stream, b"ab"))
    assert (fields["version"], fields["restarted"], fields["totals"]["restarts"]) == (2, False, 0)


def test_a_state_the_new_version_cannot_read_is_given_up_not_the_stream(parts: Parts) -> None:
    stream = parts.sessions.open(DEVICE, WANTED).id
    parts.feed(stream, b"abc")
    parts.engine.active["letters"] = 2
    parts.engine.ending_fails_with = Internal("The shapes differ.")
    assert events_of(parts.feed(stream, b"de")) == "d"


def test_a_model_that_now_does_something_else_is_a_conflict(parts: Parts) -> None:
    stream = parts.sessions.open(DEVICE, WANTED).id
    parts.feed(stream, b"abc")
    parts.engine.active["letters"] = 3
    with pytest.raises(Conflict, match="does image-classification"):
        parts.feed(stream, b"de")
    assert msgspec.json.decode(parts.sessions.end(DEVICE, stream))["ended"]


def test_a_device_sees_its_own_streams_and_an_operator_all(parts: Parts) -> None:
    mine = parts.sessions.open(DEVICE, WANTED).id
    parts.sessions.open(OTHER, WANTED)
    page = parts.sessions.page(DEVICE, before_id=None, limit=10)
    assert [one.id for one in page.streams] == [mine]
    assert len(parts.sessions.page(OPERATOR, before_id=None, limit=10).streams) == 2
    for ask in (parts.sessions.view, parts.sessions.end):
        with pytest.raises(NotFound):
            ask(OTHER, mine)
    with pytest.raises(NotFound):
        parts.feed(mine, b"a", caller=OTHER)


def test_a_list_is_read_page_by_page(parts: Parts) -> None:
    ids = [parts.sessions.open(DEVICE, WANTED).id for _ in range(3)]
    first = parts.sessions.page(DEVICE, before_id=None, limit=2)
    rest = parts.sessions.page(DEVICE, before_id=first.next_cursor, limit=2)
    assert [one.id for one in (*first.streams, *rest.streams)] == ids[::-1]
    assert rest.next_cursor is None


def test_what_cannot_be_opened_is_refused(parts: Parts) -> None:
    with pytest.raises(NotFound):
        parts.sessions.open(DEVICE, WantedStream(model="nothing"))
    with pytest.raises(InvalidInput, match="no parameter"):
        parts.sessions.open(DEVICE, WantedStream(model="letters", params={"colour": "red"}))
    scoped = msgspec.structs.replace(DEVICE, models=("other",))
    with pytest.raises(Forbidden):
        parts.sessions.open(scoped, WANTED)
    for _ in range(3):
        parts.sessions.open(DEVICE, WANTED)
    with pytest.raises(Overloaded, match="which is the most"):
        parts.sessions.open(DEVICE, WANTED)


def test_an_idle_stream_ends_with_what_it_held_back(parts: Parts, clock: ManualClock) -> None:
    stream = parts.sessions.open(DEVICE, WANTED).id
    parts.feed(stream, b"abc")
    clock.advance(601)
    assert parts.sessions.expire() == 0, "the first look only notes it"
    clock.advance(61)
    assert parts.sessions.expire() == 1
    view = parts.sessions.view(DEVICE, stream)
    assert (view.end_reason, view.totals.events) == ("idle", 3)
    clock.advance(25 * 3600)
    parts.sessions.expire()
    with pytest.raises(NotFound):
        parts.sessions.view(DEVICE, stream)


@pytest.mark.parametrize("seconds", [-3600.0, 3600.0, 365 * 86400.0, -1_790_000_000.0])
def test_a_wall_clock_that_jumps_ends_no_stream_in_use(
    parts: Parts, clock: ManualClock, seconds: float
) -> None:
    stream = parts.sessions.open(DEVICE, WANTED).id
    parts.feed(stream, b"a")
    clock.jump(seconds)
    for _ in range(8):
        parts.sessions.expire()
        clock.advance(15)
        parts.feed(stream, b"b")
    assert parts.sessions.view(DEVICE, stream).ended is None


def test_an_idle_stream_whose_host_is_away_is_ended_later(
    parts: Parts, clock: ManualClock
) -> None:
    stream = parts.sessions.open(DEVICE, WANTED).id
    parts.feed(stream, b"abc")
    clock.advance(601)
    parts.sessions.expire()
    clock.advance(61)
    parts.engine.ending_fails_with = HostDied("The host ended.")
    assert parts.sessions.expire() == 0
    parts.engine.ending_fails_with = None
    assert parts.sessions.expire() == 1


def test_a_turn_with_events_is_in_the_history_and_one_without_is_not(parts: Parts) -> None:
    stream = parts.sessions.open(DEVICE, WANTED).id
    parts.feed(stream, b"a")
    parts.feed(stream, b"bc")
    assert parts.database.flush()
    found = predictions.find(parts.database, predictions.Filter()).predictions
    assert [(one.session_id, one.key_id) for one in found] == [(stream, "abc123")]


def test_chunks_of_one_stream_at_once_are_taken_one_after_the_other(parts: Parts) -> None:
    stream = parts.sessions.open(DEVICE, WANTED).id
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: parts.feed(stream, b"xy"), range(16)))
    found = "".join(events_of(answer) for answer in answers)
    assert len(found) + len(events_of(parts.sessions.end(DEVICE, stream))) == 32
    assert parts.sessions.view(DEVICE, stream).totals.chunks == 16


def test_the_open_stream_of_a_key_and_device_is_found_again(parts: Parts) -> None:
    wanted = WantedStream(model="letters", device="wrist")
    stream = parts.sessions.open(DEVICE, wanted).id
    found = parts.sessions.open_of(DEVICE, "wrist")
    assert found is not None
    assert found.id == stream
    assert parts.sessions.open_of(OTHER, "wrist") is None
    parts.sessions.end(DEVICE, stream)
    assert parts.sessions.open_of(DEVICE, "wrist") is None


def test_an_idle_stream_of_a_model_that_never_comes_back_ends_without_it(
    parts: Parts, clock: ManualClock
) -> None:
    stream = parts.sessions.open(DEVICE, WANTED).id
    parts.feed(stream, b"abc", 1)
    parts.engine.ending_fails_with = ModelUnavailable("letters is unloaded.")
    clock.advance(601)
    assert parts.sessions.expire() == 0
    clock.advance(1800)
    assert parts.sessions.expire() == 0, "it may still come back"
    clock.advance(1800)
    assert parts.sessions.expire() == 1
    view = parts.sessions.view(DEVICE, stream)
    assert (view.end_reason, view.totals.events) == ("idle", 2)


def test_one_key_cannot_take_every_stream(tmp_path: Path, clock: ManualClock) -> None:
    with opened(tmp_path / "state", clock) as database:
        parts = Parts(database, clock, most=5, most_per_key=2)
        first = parts.sessions.open(DEVICE, WANTED).id
        parts.sessions.open(DEVICE, WANTED)
        with pytest.raises(RateLimited, match=r"streams\.most_per_key"):
            parts.sessions.open(DEVICE, WANTED)
        assert parts.sessions.open(OTHER, WANTED)
        parts.sessions.end(DEVICE, first)
        assert parts.sessions.open(DEVICE, WANTED)


def test_a_list_of_streams_reads_no_states_and_no_answers(parts: Parts) -> None:
    stream = parts.sessions.open(DEVICE, WANTED).id
    parts.feed(stream, b"abc", 1)
    listed = streams.find(parts.database)[0]
    assert (listed.id, listed.chunks, listed.state, listed.answer) == (stream, 1, None, b"")
    assert streams.get(parts.database, stream).state is not None
    assert parts.sessions.page(DEVICE, before_id=None, limit=5).streams[0].totals.events == 2


def test_where_history_is_required_a_chunk_is_refused_before_the_model_sees_it(
    tmp_path: Path, clock: ManualClock
) -> None:
    with opened(tmp_path / "state", clock) as database:
        parts = Parts(database, clock, history={"required": True})
        stream = parts.sessions.open(DEVICE, WANTED).id
        parts.feed(stream, b"abc", 1)
        page = predictions.find(database, predictions.Filter())  # without a flush
        assert [row.session_id for row in page.predictions] == [stream]
        parts.sessions.use_history(History(required=True, enabled=False))
        calls = len(parts.engine.calls)
        with pytest.raises(InsufficientStorage, match=r"history\.required"):
            parts.feed(stream, b"d", 2)
        assert len(parts.engine.calls) == calls
        parts.sessions.use_history(History(required=False, enabled=False))
        assert events_of(parts.feed(stream, b"d", 2)) == "c"
        assert predictions.count(database) == 1
