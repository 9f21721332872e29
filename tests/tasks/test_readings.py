import json

import pytest

from appliance.errors import InvalidInput, PayloadTooLarge
from appliance.tasks import readings
from appliance.tasks.contract import Payload
from tests.tasks.step_sessions import answer, as_binary, as_csv, walk


def _json(document):
    return Payload(json.dumps(document).encode(), "application/json")


def _csv(text):
    return Payload(text.encode(), "text/csv")


def _pointer_of(payload, **params):
    with pytest.raises(InvalidInput) as caught:
        answer(payload, **params)
    (error,) = caught.value.errors
    return error.pointer


def test_no_readings_are_no_fault():
    for payload in (_json({"readings": []}), _csv("t,ax,ay,az\n"), as_binary(walk()[:0])):
        result = answer(payload)
        assert (result.step_count, result.readings.received) == (0, 0)


@pytest.mark.parametrize(
    ("document", "pointer"),
    [
        ({"readings": [{"ax": 1, "ay": 1}]}, "/readings/0"),
        ({"readings": [{"ax": "1", "ay": 1, "az": 1}]}, "/readings/0/ax"),
        ({"readings": {}}, "/readings"),
        ({"ax": [1], "ay": [1]}, ""),
        ({"ax": [1, 2], "ay": [1], "az": [1, 2]}, "/ay"),
        ({"columns": {"t": [0, 0.1], "ax": [1], "ay": [1], "az": [1]}}, "/columns/t"),
    ],
)
def test_json_of_another_shape_is_refused_and_the_place_named(document, pointer):
    assert _pointer_of(_json(document)) == pointer


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"\xff\xfe",
        b'{"readings": [NaN]}',
        b"[" * 20_000,
        b"{}",
        b'{"readings": [], "ax": []}',
        b'{"readings": [{"ax": 1e999, "ay": 1, "az": 1}]}',
    ],
)
def test_what_is_not_such_json_is_refused(body):
    with pytest.raises(InvalidInput):
        answer(Payload(body, "application/json"))


def test_csv_columns_may_come_in_any_order_under_common_names():
    table = walk(12)
    plain = answer(as_csv(table))
    swapped = "note;Accel_Z; accel_y ;ACCEL_X;Time\n" + "\n".join(
        f"x;{z!r};{y!r};{x!r};{t!r}" for t, x, y, z in table.tolist()
    )
    assert answer(_csv("\ufeff" + swapped + "\n\n")) == plain


def test_columns_that_a_recorder_numbers_by_sensor_are_known():
    table = walk(12)
    plain = answer(as_csv(table), rate_hz=50.0)
    numbered = " Activity, AccelX_5, AccelY_5, AccelZ_5\n" + "\n".join(
        f"1,{x!r},{y!r},{z!r}" for _, x, y, z in table.tolist()
    )
    assert answer(_csv(numbered), rate_hz=50.0) == plain
    assert _pointer_of(_csv("ax_1,ay_1,az_1,ax_2\n0,1,2,3\n"), rate_hz=50.0) == "/ax"


@pytest.mark.parametrize(
    ("text", "pointer"),
    [
        ("", "/ax"),
        ("0,1,2,3\n", "/ax"),
        ("t,ax,ay\n0,1,2\n", "/az"),
        ("t,ax,ax,ay,az\n0,1,2,3,4\n", "/ax"),
        ("t,ax,ay,az\n0,1,2,3\n0.02,1,oops,3\n", "/readings/1/ay"),
        ("t,ax,ay,az\n0,1,2,3\n0.02,1,,3\n", "/readings/1/ay"),
        ("t,ax,ay,az\n0,1,2,3\n0.02,1\n", "/readings/1/ay"),
        ("t,ax,ay,az\n0,1,nan,3\n", "/readings/0/ay"),
        ("t,ax,ay,az\n0,1,2,inf\n", "/readings/0/az"),
    ],
)
def test_csv_with_a_fault_is_refused_and_the_place_named(text, pointer):
    assert _pointer_of(_csv(text)) == pointer


@pytest.mark.parametrize("body", [b"t,ax,ay,az\n\xff", b't,ax,ay,az\n"0,1', b"t,ax\x00,ay,az\n0"])
def test_csv_that_is_no_text_is_refused(body):
    with pytest.raises(InvalidInput):
        answer(Payload(body, "text/csv"))


def test_binary_rows_must_be_whole():
    with pytest.raises(InvalidInput, match="whole number of rows"):
        answer(Payload(b"\0" * 10, "application/octet-stream"))
    with pytest.raises(InvalidInput, match="t,ax,ay,az,gx,gy,gz"):
        answer(Payload(b"\0" * 16, "application/octet-stream"), columns="t,ax,ay,az,gx,gy,gz")


def test_too_many_readings_at_once_are_refused(monkeypatch):
    monkeypatch.setattr(readings, "MOST_READINGS", 100)
    with pytest.raises(PayloadTooLarge, match="stream"):
        answer(as_binary(walk(20)))
