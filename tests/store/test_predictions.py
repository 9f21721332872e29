"""History: what was recorded is found by every filter, page by page, newest first."""

import contextlib

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance import errors
from appliance.store import predictions
from appliance.store.database import Database
from appliance.store.predictions import Filter, Prediction
from tests.store.examples import NOON, a_prediction


def _record(database: Database, *made: Prediction) -> None:
    assert all(predictions.record(database, one) for one in made)
    assert database.flush()


def test_a_recorded_prediction_comes_back_whole(database: Database) -> None:
    one = a_prediction(
        device_seconds=NOON - 3.25,
        session_id="s1",
        input_sha256="ab" * 32,
        label="lastbil \N{DELIVERY TRUCK}\0end",
        result=b'{"a":"\xc3\xa9"}',
    )
    _record(database, one)
    assert predictions.get(database, one.id) == one


def test_an_unknown_id_is_none(database: Database) -> None:
    assert predictions.get(database, "missing") is None


def test_a_device_sees_its_own_only(database: Database) -> None:
    mine, other = a_prediction(key_id="mine"), a_prediction(key_id="other")
    _record(database, mine, other)
    assert predictions.get(database, mine.id, key_id="mine") == mine
    assert predictions.get(database, other.id, key_id="mine") is None
    assert predictions.find(database, Filter(key_id="mine")).predictions == (mine,)


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        (Filter(), {0, 1, 2, 3}),
        (Filter(model="a"), {0, 1}),
        (Filter(model="a", version=2), {1}),
        (Filter(label="car"), {1, 3}),
        (Filter(key_id="k2"), {2}),
        (Filter(from_seconds=NOON + 1), {1, 2, 3}),
        (Filter(to_seconds=NOON + 1), {0}),
        (Filter(from_seconds=NOON + 1, to_seconds=NOON + 3), {1, 2}),
        (Filter(least_confidence=0.5), {0, 1}),
        (Filter(most_confidence=0.5), {1, 2}),
        (Filter(model="a", label="truck", key_id="k1", least_confidence=0.1), {0}),
        (Filter(model="none"), set()),
    ],
)
def test_every_filter_finds_its_rows(
    database: Database, wanted: Filter, expected: set[int]
) -> None:
    made = [
        a_prediction(model="a", version=1, confidence=0.9, received_seconds=NOON),
        a_prediction(model="a", version=2, label="car", confidence=0.5, received_seconds=NOON + 1),
        a_prediction(model="b", key_id="k2", confidence=0.1, received_seconds=NOON + 2),
        a_prediction(model="b", label="car", confidence=None, received_seconds=NOON + 3),
    ]
    _record(database, *made)
    found = predictions.find(database, wanted).predictions
    assert found == tuple(made[number] for number in sorted(expected, reverse=True))


@pytest.mark.parametrize("limit", [1, 7, 50, 1000])
def test_pages_join_without_gap_or_repeat_even_at_equal_times(
    database: Database, limit: int
) -> None:
    made = [a_prediction(received_seconds=NOON + number // 20) for number in range(100)]
    _record(database, *made)
    found: list[Prediction] = []
    cursor = ""
    while True:
        page = predictions.find(database, Filter(limit=limit, cursor=cursor))
        found.extend(page.predictions)
        cursor = page.cursor
        if not cursor:
            break
    assert found == made[::-1]


def test_a_page_has_a_most_whatever_is_asked_for(database: Database) -> None:
    _record(database, *(a_prediction() for _ in range(predictions.MOST_ROWS_PER_PAGE + 5)))
    page = predictions.find(database, Filter(limit=1_000_000_000))
    assert len(page.predictions) == predictions.MOST_ROWS_PER_PAGE
    assert len(predictions.find(database, Filter(limit=-3)).predictions) == 1


@given(st.text(max_size=60))
def test_a_made_up_cursor_raises_nothing_but_a_problem(cursor: str) -> None:
    with contextlib.suppress(errors.InvalidInput):
        predictions._decode_cursor(cursor)


def test_a_stream_yields_everything_while_more_is_recorded(database: Database) -> None:
    made = [a_prediction(received_seconds=NOON + number) for number in range(1200)]
    _record(database, *made)
    streaming = predictions.stream(database, Filter())
    found = [next(streaming)]
    _record(database, a_prediction(received_seconds=NOON + 9999))
    found.extend(streaming)
    assert found == made[::-1]


def test_labels_are_counted_per_model_and_time(database: Database) -> None:
    _record(
        database,
        *(a_prediction(label="truck", received_seconds=NOON + n) for n in range(5)),
        *(a_prediction(label="car", version=2, received_seconds=NOON + n) for n in range(3)),
        a_prediction(label=None),
        a_prediction(model="other"),
    )
    assert predictions.count_by_label(database, "vehicle-type") == {"truck": 5, "car": 3}
    assert predictions.count_by_label(database, "vehicle-type", version=2) == {"car": 3}
    assert predictions.count_by_label(
        database, "vehicle-type", from_seconds=NOON + 1, to_seconds=NOON + 3
    ) == {"truck": 2, "car": 2}


@pytest.mark.parametrize(
    ("wanted", "index"),
    [
        (Filter(), "predictions_by_time"),
        (Filter(key_id="k1"), "predictions_by_key"),
        (Filter(model="a"), "predictions_by_model"),
        (Filter(label="car"), "predictions_by_label"),
        (Filter(from_seconds=1.0, to_seconds=2.0), "predictions_by_time"),
    ],
)
def test_a_page_is_read_from_an_index_without_sorting(
    database: Database, wanted: Filter, index: str
) -> None:
    query = predictions._page_query(msgspec.structs.replace(wanted, limit=10))
    with database.read() as connection:
        statement, parameters = connection.compile(query)
        plan = str(connection.sql(f"EXPLAIN QUERY PLAN {statement}", parameters))
    assert index in plan
    assert "TEMP B-TREE" not in plan


def test_a_page_of_large_results_ends_early_with_a_cursor(database: Database) -> None:
    size = predictions.PAGE_BYTES // 4
    for number in range(9):
        assert predictions.record(database, a_prediction(id=str(number), result=b"x" * size))
    assert database.flush()
    pages = []
    cursor = ""
    while True:
        page = predictions.find(database, Filter(limit=100, cursor=cursor))
        pages.append([one.id for one in page.predictions])
        cursor = page.cursor
        if not cursor:
            break
    assert [len(page) for page in pages] == [3, 3, 3]
    assert [one for page in pages for one in page] == [str(number) for number in range(8, -1, -1)]


def test_a_result_larger_than_a_page_is_a_page_of_its_own(database: Database) -> None:
    size = predictions.PAGE_BYTES + 1
    for number in range(2):
        assert predictions.record(database, a_prediction(id=str(number), result=b"x" * size))
    assert database.flush()
    first = predictions.find(database, Filter())
    assert [one.id for one in first.predictions] == ["1"]
    second = predictions.find(database, Filter(cursor=first.cursor))
    assert [one.id for one in second.predictions] == ["0"]
    assert second.cursor == ""


def test_of_some_ids_those_that_are_kept_are_told(database: Database) -> None:
    kept = a_prediction()
    assert predictions.record(database, kept)
    assert database.flush()
    assert predictions.known_ids(database, [kept.id, "missing"]) == {kept.id}
    assert predictions.known_ids(database, []) == frozenset()
