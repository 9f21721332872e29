"""Readings that make no sense, by the whole product: cases 19 to 21 of the catalogue."""

import json
from typing import Any

import pytest

from tests.end_to_end.running import Answer, Running

STEPS = "step-detector"
HEAD = "t,ax,ay,az\n"


def sent(appliance: Running, body: str | bytes, content_type: str = "text/csv") -> Answer:
    raw = body if isinstance(body, bytes) else body.encode()
    return appliance.predict(raw, model=STEPS, content_type=content_type)


def rows(count: int) -> list[str]:
    return [f"{number / 100},0.1,0.2,9.8" for number in range(count)]


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        (HEAD + "0,1,2,3\n0.01,1,2\n", "/readings/1/az"),
        (HEAD + '0,"1,2,3\n0.01,1,2,3\n', ""),
        (HEAD + "1" * 200_000 + ",1,2,3\n", ""),
        (HEAD + "0,1\x002,2,3\n", "/readings/0/ax"),
        (HEAD + "," * 5_000_000 + "\n", "/readings/0/t"),
        ("t,ax,ay,az,ax\n0,1,2,3,4\n", "/ax"),
        ("t,ax,ay\n0,1,2\n", "/az"),
        ("", ""),
    ],
    ids=["ragged", "open quote", "long field", "zero", "commas", "twice", "absent", "nothing"],
)
def test_c19_csv_with_a_fault_is_refused_and_the_place_named(
    appliance: Running, body: str, pointer: str
) -> None:
    answer = sent(appliance, body)
    assert answer.problem == "invalid-input"
    named = [fault["pointer"] for fault in answer.json().get("errors", [])]
    assert named == ([pointer] if pointer else [])


@pytest.mark.parametrize("body", [HEAD, HEAD.replace("\n", "\r") + "0,1,2,3\r0.01,1,2,3\r"])
def test_c19_csv_without_rows_or_with_old_line_ends_is_read(appliance: Running, body: str) -> None:
    received = sent(appliance, body).json()["result"]["readings"]["received"]
    assert received == body.count("\r0")


def test_c20_one_bad_row_among_ten_thousand_refuses_them_all_by_its_number(
    appliance: Running,
) -> None:
    lines = rows(10_000)
    assert sent(appliance, HEAD + "\n".join(lines)).status == 200
    lines[7_654] = "76.54,0.1,oops,9.8"
    before = appliance.get("/api/v1/models/" + STEPS).json()["statistics"]["success_count"]
    answer = sent(appliance, HEAD + "\n".join(lines))
    assert answer.problem == "invalid-input"
    assert answer.json()["errors"][0]["pointer"] == "/readings/7654/ay"
    after = appliance.get("/api/v1/models/" + STEPS).json()["statistics"]["success_count"]
    assert after == before, "nothing of it counts as answered"


def read(appliance: Running, *times: Any) -> Answer:
    readings = [{"t": time, "ax": 0.1, "ay": 0.2, "az": 9.8} for time in times]
    return sent(appliance, json.dumps({"readings": readings}), "application/json")


@pytest.mark.parametrize("years", [0.0, 1_000_000_000.0, 7_226_582_400.0, -0.0])
def test_c21_times_of_any_year_are_only_compared_with_each_other(
    appliance: Running, years: float
) -> None:
    told = read(appliance, years, years + 0.01).json()["result"]["readings"]
    assert (told["received"], told["used"]) == (2, 2)


@pytest.mark.parametrize("time", [True, "12", [1], {}, 1e300, -1e11])
def test_c21_times_that_are_no_numbers_within_reason_are_refused(
    appliance: Running, time: Any
) -> None:
    answer = read(appliance, 0.0, time)
    assert answer.problem == "invalid-input"
    assert answer.json()["errors"][0]["pointer"] == "/readings/1/t"


def test_c21_times_out_of_order_are_refused_and_equal_ones_counted_once(
    appliance: Running,
) -> None:
    answer = read(appliance, 5.0, 4.0)
    assert answer.problem == "invalid-input"
    assert "out of order" in answer.json()["detail"]
    told = read(appliance, 5.0, 5.0).json()["result"]["readings"]
    assert (told["received"], told["used"], told["duplicates"]) == (2, 1, 1)
