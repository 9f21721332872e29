"""The history over HTTP: pages, exports, one row, and to each key only what is its own."""

import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from appliance.clock import ManualClock
from appliance.errors import Overloaded
from appliance.identifiers import new_id
from appliance.store import predictions
from appliance.store.database import Database
from appliance.web.openapi import Route
from appliance.web.resources.predictions import Predictions
from tests.access_parts import opened
from tests.actions.examples import ADMIN, OPERATOR, TRUCK, a_device, a_prediction
from tests.web.routed import Routed

PATH = "/api/v1/predictions"
NOON = 1_790_000_000.0


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with opened(tmp_path / "state", ManualClock()) as database:
        yield database


@pytest.fixture
def served(database: Database) -> Routed:
    resource = Predictions(database)
    return Routed(Route(PATH, resource), Route(PATH + "/{prediction_id}", resource, "prediction"))


def remember(database: Database, **changes: Any) -> str:
    row = a_prediction(**changes)
    assert predictions.record(database, row)
    assert database.flush()
    return row.id


def test_pages_lead_through_all_rows(served: Routed, database: Database) -> None:
    ids = [remember(database, received_seconds=NOON + number) for number in range(5)]
    seen: list[str] = []
    params: dict[str, Any] = {"limit": 2}
    while True:
        page = served.get(PATH, params=params).json
        seen += [row["id"] for row in page["predictions"]]
        if page["next_cursor"] is None:
            break
        params["cursor"] = page["next_cursor"]
    assert seen == ids[::-1]


def test_one_row_holds_the_models_own_json(served: Routed, database: Database) -> None:
    row_id = remember(database)
    row = served.get(f"{PATH}/{row_id}").json
    assert row["result"] == json.loads(TRUCK)
    assert row["received"] == "2026-09-21T14:13:20.000Z"


def test_the_search_is_narrowed_by_the_query(served: Routed, database: Database) -> None:
    remember(database)
    bus = remember(database, label="bus", received_seconds=NOON + 5)
    for query in ("label=bus", "from=2026-09-21T14:13:25Z", "from=2026-09-21T16:13:25+02:00"):
        rows = served.get(PATH, query_string=query).json["predictions"]
        assert [row["id"] for row in rows] == [bus], query


@pytest.mark.parametrize(
    ("query", "pointer"),
    [
        ("limit=0", "/query/limit"),
        ("limit=1001", "/query/limit"),
        ("from=yesterday", "/query/from"),
        ("min_confidence=2", "/query/min_confidence"),
        ("format=xml", "/query/format"),
        ("labels=bus", "/query/labels"),
    ],
)
def test_a_query_that_does_not_fit_is_refused_by_name(
    served: Routed, query: str, pointer: str
) -> None:
    answer = served.get(PATH, query_string=query)
    assert answer.status_code == 422
    assert answer.json["errors"][0]["pointer"] == pointer


@pytest.mark.parametrize("form", ["json", "csv", "jsonl"])
def test_a_cursor_nobody_gave_out_is_refused_in_every_format(served: Routed, form: str) -> None:
    answer = served.get(PATH, query_string=f"cursor=made-up&format={form}")
    assert (answer.status_code, answer.json["status"]) == (422, 422)


def test_a_csv_export_is_a_file_spreadsheets_can_open_safely(
    served: Routed, database: Database
) -> None:
    for number in range(230):
        predictions.record(database, a_prediction(label="=1+1", received_seconds=NOON + number))
    assert database.flush()
    answer = served.get(PATH, query_string="format=csv&limit=1")
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    assert 'filename="predictions.csv"' in answer.headers["content-disposition"]
    rows = list(csv.DictReader(io.StringIO(answer.text, newline="")))
    assert len(rows) == 230
    assert {row["label"] for row in rows} == {"'=1+1"}


def test_a_json_lines_export_has_one_row_on_each_line(served: Routed, database: Database) -> None:
    ids = {remember(database) for _ in range(3)}
    answer = served.get(PATH, query_string="format=jsonl")
    assert answer.headers["content-type"] == "application/jsonl"
    assert 'filename="predictions.jsonl"' in answer.headers["content-disposition"]
    assert {json.loads(line)["id"] for line in answer.text.splitlines()} == ids


def test_a_device_sees_its_own_rows_only(served: Routed, database: Database) -> None:
    own = remember(database, key_id="cam001")
    foreign = remember(database, key_id="cam002")
    served.caller = a_device("cam001")
    assert [row["id"] for row in served.get(PATH).json["predictions"]] == [own]
    for form in ("csv", "jsonl"):
        text = served.get(PATH, query_string=f"format={form}").text
        assert own in text
        assert foreign not in text
    assert served.get(f"{PATH}/{own}").status_code == 200


def test_to_a_device_anothers_row_is_as_if_there_were_none(
    served: Routed, database: Database
) -> None:
    foreign = remember(database, key_id="cam002")
    served.caller = a_device("cam001")
    answers = [served.get(f"{PATH}/{row_id}") for row_id in (foreign, new_id())]
    assert [answer.status_code for answer in answers] == [404, 404]
    assert answers[0].json["detail"] == answers[1].json["detail"]
    assert served.get(PATH, query_string="key=cam002").status_code == 404


@pytest.mark.parametrize("caller", [OPERATOR, ADMIN], ids=["operator", "admin"])
def test_operators_and_admins_see_all_rows(
    served: Routed, database: Database, caller: Any
) -> None:
    ids = {remember(database, key_id="cam001"), remember(database, key_id="cam002")}
    served.caller = caller
    assert {row["id"] for row in served.get(PATH).json["predictions"]} == ids
    rows = served.get(PATH, query_string="key=cam002").json["predictions"]
    assert [row["key_id"] for row in rows] == ["cam002"]


@pytest.mark.parametrize("row_id", ["0", "x" * 500, "%00", "'; DROP TABLE predictions; --"])
def test_an_id_that_is_none_is_not_found(served: Routed, database: Database, row_id: str) -> None:
    assert served.get(f"{PATH}/{row_id}").status_code == 404
    assert predictions.count(database) == 0


def test_only_one_export_runs_at_a_time_and_its_end_lets_the_next_one_in(
    database: Database,
) -> None:
    resource = Predictions(database)
    first = resource._one_export(iter([b"a"]))
    with pytest.raises(Overloaded, match="Another export"):
        resource._one_export(iter([b"b"]))
    first.close()
    first.close()
    assert list(resource._one_export(iter([b"c"]))) == [b"c"]
