import json

import pytest

from appliance.errors import InvalidInput, PayloadTooLarge
from appliance.tasks import readings
from appliance.tasks.contract import Payload
from tests.tasks.step_sessions import Session, answer, as_binary, as_csv, as_rows, walk


def _json(document):
    return Payload(json.dumps(document).encode(), "application/json")


def _csv(text):
    return Payload(text.encode(), "text/csv")


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
    [b"", b"{", b"[]", b"\xff\xfe", b'{"readings": [NaN]}', b"[" * 20_000, b"{}",
     b'{"readings": [], "ax": []}', b'{"readings": [{"ax": 1e999, "ay": 1, "az": 1}]}'],
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
