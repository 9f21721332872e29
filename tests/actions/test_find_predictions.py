"""The history is searched, paged and exported, and a device sees nothing but its own rows."""

import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.actions import find_predictions
from appliance.actions.callers import anonymous
from appliance.actions.find_predictions import Search
from appliance.clock import ManualClock
from appliance.errors import InvalidInput, NotFound, Unauthenticated
from appliance.store import predictions
from appliance.store.database import Database
from tests.access_parts import opened
from tests.actions.examples import ADMIN, OPERATOR, a_device, a_prediction

NOON = 1_790_000_000.0
NOON_TEXT = "2026-09-21T14:13:20.000Z"


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with opened(tmp_path / "state", ManualClock()) as database:
        yield database


def remember(database: Database, **changes: Any) -> str:
    row = a_prediction(**changes)
    assert predictions.record(database, row)
    assert database.flush()
    return row.id


def found(database: Database, caller: Any = ADMIN, **search: Any) -> list[str]:
    page = find_predictions.page(database, Search(**search), caller)
    return [row.id for row in page.predictions]


def export(database: Database, caller: Any = ADMIN, **search: Any) -> str:
    return b"".join(find_predictions.exported(database, Search(**search), caller)).decode()


def table(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text, newline="")))


def test_a_row_tells_what_was_recorded(database: Database) -> None:
    row_id = remember(database)
    (row,) = find_predictions.page(database, Search(), ADMIN).predictions
    assert (row.id, row.received, row.label) == (row_id, NOON_TEXT, "truck")
    assert json.loads(bytes(row.result))["predictions"][0]["label"] == "truck"
    assert find_predictions.one(database, row_id, ADMIN) == row


def test_pages_lead_through_all_rows_newest_first(database: Database) -> None:
    ids = [remember(database, received_seconds=NOON + number) for number in range(5)]
    seen: list[str] = []
    cursor: str | None = None
    while True:
        page = find_predictions.page(database, Search(limit=2, cursor=cursor), ADMIN)
        seen += [row.id for row in page.predictions]
        cursor = page.next_cursor
        if cursor is None:
            break
    assert seen == ids[::-1]


@pytest.mark.parametrize(
    "search",
    [
        {"model": "step-detector"},
        {"version": 2},
        {"label": "bus"},
        {"key": "cam002"},
        {"from_": "2026-09-21T14:13:21Z"},
        {"min_confidence": 0.8},
    ],
    ids=lambda search: next(iter(search)),
)
def test_every_condition_narrows_the_search(database: Database, search: dict[str, Any]) -> None:
    remember(database)
    wanted = remember(
        database,
        model="step-detector",
        version=2,
        label="bus",
        key_id="cam002",
        received_seconds=NOON + 10,
        confidence=0.9,
    )
    assert found(database, **search) == [wanted]


def test_upper_bounds_leave_out_what_is_beyond_them(database: Database) -> None:
    early = remember(database)
    remember(database, received_seconds=NOON + 10, confidence=0.9)
    assert found(database, to="2026-09-21T14:13:30Z") == [early]
    assert found(database, max_confidence=0.8) == [early]


def test_a_zone_in_a_query_string_may_have_lost_its_plus_sign(database: Database) -> None:
    row_id = remember(database)
    assert found(database, from_="2026-09-21T16:13:20 02:00") == [row_id]
    assert found(database, from_="2026-09-21T16:13:21 02:00") == []


@pytest.mark.parametrize("name", ["from", "to"])
@pytest.mark.parametrize("text", ["yesterday", "2026-01-31", "2026-01-31T08:00:00", ""])
def test_a_time_without_its_zone_is_refused_by_name(
    database: Database, name: str, text: str
) -> None:
    with pytest.raises(InvalidInput, match=f"^{name} must be") as refused:
        found(database, **{"from_" if name == "from" else name: text})
    assert refused.value.errors[0].pointer == f"/query/{name}"


@given(text=st.text(max_size=40))
def test_no_text_for_a_time_breaks_the_search(text: str) -> None:
    try:
        seconds = find_predictions._seconds(text, "from")
    except InvalidInput:
        return
    assert isinstance(seconds, float)


def test_a_device_sees_only_its_own_rows(database: Database) -> None:
    own = remember(database, key_id="cam001")
    foreign = remember(database, key_id="cam002")
    device = a_device("cam001")
    assert found(database, device) == [own]
    assert found(database, device, key="cam001") == [own]
    assert find_predictions.one(database, own, device).id == own
    with pytest.raises(NotFound):
        find_predictions.one(database, foreign, device)
    for form in ("csv", "jsonl"):
        text = export(database, device, format=form)
        assert own in text
        assert foreign not in text


def test_a_device_learns_nothing_about_which_rows_and_keys_exist(database: Database) -> None:
    foreign = remember(database, key_id="cam002")
    device = a_device("cam001")
    told = []
    for prediction_id in (foreign, "0192d3a0-0000-7000-8000-000000000000"):
        with pytest.raises(NotFound) as refused:
            find_predictions.one(database, prediction_id, device)
        told.append(refused.value.detail)
    assert len(set(told)) == 1
    told = []
    for key in ("cam002", "nobody"):
        with pytest.raises(NotFound) as refused:
            found(database, device, key=key)
        told.append(refused.value.detail)
    assert len(set(told)) == 1


@pytest.mark.parametrize("caller", [OPERATOR, ADMIN], ids=["operator", "admin"])
def test_operators_and_admins_see_the_rows_of_all(database: Database, caller: Any) -> None:
    ids = {remember(database, key_id="cam001"), remember(database, key_id="cam002")}
    assert set(found(database, caller)) == ids
    assert {find_predictions.one(database, one, caller).id for one in ids} == ids


def test_who_is_unknown_sees_no_row(database: Database) -> None:
    row_id = remember(database, key_id="")
    nobody = anonymous("192.0.2.9")
    with pytest.raises(Unauthenticated):
        found(database, nobody)
    with pytest.raises(Unauthenticated):
        export(database, nobody, format="csv")
    with pytest.raises(NotFound):
        find_predictions.one(database, row_id, nobody)


def test_a_cursor_that_was_not_given_out_is_refused_before_an_export_begins(
    database: Database,
) -> None:
    with pytest.raises(InvalidInput, match="cursor"):
        found(database, cursor="made-up")
    for form in ("csv", "jsonl"):
        with pytest.raises(InvalidInput, match="cursor"):
            find_predictions.exported(database, Search(format=form, cursor="made-up"), ADMIN)


def test_an_export_holds_every_row_whatever_the_page_size(database: Database) -> None:
    for number in range(450):
        predictions.record(database, a_prediction(received_seconds=NOON + number))
    assert database.flush()
    lines = export(database, format="jsonl", limit=10).splitlines()
    rows = table(export(database, format="csv", limit=10))
    assert [json.loads(line)["id"] for line in lines] == [row["id"] for row in rows]
    assert len(lines) == 450
    assert rows[0]["received"] > rows[-1]["received"]
    assert json.loads(rows[0]["result"])["predictions"][0]["label"] == "truck"


def test_an_export_comes_in_pieces(database: Database) -> None:
    for _ in range(450):
        predictions.record(database, a_prediction())
    assert database.flush()
    for form in ("csv", "jsonl"):
        search = Search(format=form)
        assert len(list(find_predictions.exported(database, search, ADMIN))) > 1


def test_an_empty_export_is_a_header_or_nothing(database: Database) -> None:
    header = export(database, format="csv")
    assert header.startswith("id,received,model,")
    assert header.count("\n") == 1
    assert export(database, format="jsonl") == ""


@pytest.mark.parametrize("first", ["=", "+", "-", "@", "\t", "\r"])
def test_a_cell_that_a_spreadsheet_would_run_is_quoted(database: Database, first: str) -> None:
    text = f"{first}HYPERLINK(0)"
    remember(database, label=text, key_name=text)
    (row,) = table(export(database, format="csv"))
    assert row["label"] == row["key_name"] == f"'{text}"


def test_cells_that_are_only_text_stay_as_they_are(database: Database) -> None:
    remember(database, label='a "b", c\nd=1', confidence=None)
    (row,) = table(export(database, format="csv"))
    assert row["label"] == 'a "b", c\nd=1'
    assert row["confidence"] == ""


def test_a_key_with_a_scope_sees_the_history_of_its_models_only(database: Database) -> None:
    inside, outside = a_prediction(model="vehicle-type"), a_prediction(model="step-detector")
    for row in (inside, outside):
        assert predictions.record(database, row)
    assert database.flush()
    scoped = msgspec.structs.replace(OPERATOR, models=("vehicle-type",))
    page = find_predictions.page(database, Search(), scoped)
    assert [row.id for row in page.predictions] == [inside.id]
    assert find_predictions.one(database, inside.id, scoped).id == inside.id
    with pytest.raises(NotFound):
        find_predictions.one(database, outside.id, scoped)
