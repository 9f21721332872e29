import json
import subprocess
import sys
from itertools import pairwise

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.errors import InvalidInput, ModelInvalid, PayloadTooLarge, UnsupportedMedia
from appliance.tasks.contract import Model, Payload
from appliance.tasks.step_detection import TASK, StepParams, StepState
from tests.tasks.step_sessions import (
    Session,
    answer,
    as_binary,
    as_columns,
    as_csv,
    as_rows,
    infer,
    shipped,
    walk,
)


def test_a_walk_of_twenty_steps_is_counted_and_timed():
    result = answer(as_rows(walk(20)))
    assert abs(result.step_count - 20) <= 1
    assert result.step_count == len(result.events)
    assert abs(result.cadence_per_minute - 60 / 0.52) < 3
    times = [event.time for event in result.events]
    assert times == sorted(times)
    landings = 3.0 + 0.52 * np.arange(20)
    offsets = np.array([np.abs(landings - time).min() for time in times])
    assert (offsets < 0.15).sum() >= 18
    for event in result.events:
        assert event.kind == "step"
        assert event.start < event.end == event.time
        assert 0 < event.confidence <= 1


def test_activity_says_whether_somebody_walks_at_the_end():
    table = walk(20)
    assert answer(as_rows(table)).activity == "still"
    assert answer(as_rows(table[table[:, 0] < 10])).activity == "walking"


def test_nobody_steps_in_a_phone_on_a_table():
    table = np.zeros((3000, 4))
    table[:, 0] = np.arange(3000) / 50
    table[:, 3] = 9.81
    result = answer(as_rows(table))
    assert (result.step_count, result.events, result.cadence_per_minute) == (0, (), None)


@pytest.mark.parametrize("rate_hz", [20, 31.7, 50, 100, 200, 400])
def test_the_count_hardly_depends_on_the_rate(rate_hz):
    assert abs(answer(as_rows(walk(30, rate_hz))).step_count - 30) <= 2


def test_the_answer_does_not_depend_on_how_the_phone_is_held():
    table = walk(30)
    turn, _ = np.linalg.qr(np.random.default_rng(1).normal(size=(3, 3)))
    turned = np.column_stack([table[:, 0], table[:, 1:] @ turn])
    before, after = answer(as_rows(table)), answer(as_rows(turned))
    assert before.step_count == after.step_count
    for one, other in zip(before.events, after.events, strict=True):
        assert abs(one.time - other.time) < 0.005


def test_every_form_of_the_same_readings_gives_the_same_answer():
    table = walk(12).astype(np.float32).astype(np.float64)
    rows = answer(as_rows(table))
    assert rows.step_count >= 11
    assert answer(as_columns(table)) == rows
    assert answer(as_csv(table)) == rows
    assert answer(as_binary(table)) == rows
    nested = json.dumps({"columns": json.loads(as_columns(table).body)}).encode()
    assert answer(Payload(nested, "application/json")) == rows


def test_the_gyroscope_is_accepted_and_changes_nothing():
    table = walk(12)
    with_turning = np.column_stack([table, np.full((len(table), 3), 0.1)])
    assert answer(as_rows(with_turning)) == answer(as_rows(table))
    only = with_turning.astype(np.float32)
    assert answer(as_binary(only), columns="t,ax,ay,az,gx,gy,gz").step_count >= 11


def test_a_constant_rate_stands_for_times():
    table = walk(12, 64.0)
    timed = answer(as_rows(table))
    body = json.dumps(
        {"ax": table[:, 1].tolist(), "ay": table[:, 2].tolist()}
        | {"az": table[:, 3].tolist(), "rate_hz": 64}
    )
    assert answer(Payload(body.encode(), "application/json")) == timed
    single = table[:, 1:].astype(np.float32)
    assert answer(as_binary(single), rate_hz=64.0).step_count == timed.step_count


def _cut(table, places):
    edges = [0, *sorted(places), len(table)]
    return [table[begin:end] for begin, end in pairwise(edges)]


def _with_trouble(table):
    """A walk with jitter, missing readings, a pause, a bad value and readings sent twice."""
    random = np.random.default_rng(9)
    table = table.copy()
    table[:, 0] += random.uniform(0, 0.4 / 100, len(table))
    keep = random.uniform(size=len(table)) > 0.05
    keep[700:760] = False
    keep[900:903] = False
    table = table[keep]
    table[300, 1] = 90.0
    table[333, 2] = np.nan
    return np.insert(table, 400, table[395:400], axis=0)


TROUBLED = _with_trouble(walk(24, 100.0))
WHOLE = answer(as_binary(TROUBLED.astype(np.float32)), faults="skip")


def test_the_troubled_walk_is_one_worth_testing():
    assert 18 <= WHOLE.step_count <= 26
    assert WHOLE.readings.gaps == 1
    assert WHOLE.readings.left_out + WHOLE.readings.duplicates == 6
    assert WHOLE.readings.clipped == 1
    assert WHOLE.readings.received == len(TROUBLED)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, len(TROUBLED)), max_size=40))
def test_a_stream_and_a_plain_request_agree_exactly_however_it_is_cut(places):
    session = Session(faults="skip")
    for chunk in _cut(TROUBLED.astype(np.float32), places):
        session.send(as_binary(chunk))
    session.flush()
    assert session.joined() == WHOLE


def test_one_reading_at_a_time_agrees_too():
    session = Session(faults="skip")
    for number in range(len(TROUBLED)):
        session.send(as_binary(TROUBLED[number : number + 1].astype(np.float32)))
    session.flush()
    assert session.joined() == WHOLE


def test_chunks_of_any_form_may_be_mixed():
    table = walk(12).astype(np.float32).astype(np.float64)
    session = Session()
    forms = (as_rows, as_csv, as_binary, as_columns)
    for number, chunk in enumerate(np.array_split(table, 9)):
        session.send(forms[number % 4](chunk))
    session.flush()
    assert session.joined() == answer(as_rows(table))


@pytest.mark.parametrize("rate_hz", [20.0, 50.0, 77.0, 200.0])
def test_a_step_is_final_at_most_one_second_after_its_sample(rate_hz):
    session = Session()
    table = walk(16, rate_hz, pace=0.47)
    found = 0
    for row in table:
        result = session.send(as_rows(row[None]))
        found += len(result.events)
        for event in result.events:
            assert row[0] - event.time <= 1.0
    assert found >= 14


def test_what_was_final_stays_as_it_was_and_counts_only_grow():
    session = Session()
    counts = [session.send(as_rows(part)).step_count for part in np.array_split(walk(20), 40)]
    assert counts == sorted(counts)
    assert session.flush().step_count == len(session.joined().events)


def test_a_flushed_session_is_empty_and_may_go_on():
    session = Session()
    table = walk(12)
    session.send(as_rows(table))
    session.flush()
    assert TASK.flush(session.params, session.state, session.model).inputs == []
    later = table.copy()
    later[:, 0] += 100
    session.send(as_rows(later))
    session.flush()
    assert session.joined().step_count == 2 * answer(as_rows(table)).step_count


def test_answers_have_the_same_bits_in_every_batch_size():
    random = np.random.default_rng(4)
    length = shipped()[0].manifest.settings["window"]
    windows = random.normal(0, 3, (160, 3, length)).astype(np.float32)
    windows[:, 2] += 9.8
    single = np.concatenate(
        [infer([{"signal": window[None]}])[0]["probability"] for window in windows]
    )
    for size in (2, 3, 7, 16, 33, 64, 160):
        requests = [{"signal": windows[at : at + size]} for at in range(0, 160, size)]
        together = np.concatenate([output["probability"] for output in infer(requests)])
        assert np.array_equal(single, together), size


def test_much_at_once_comes_in_requests_of_bounded_size():
    session = Session(rate_hz=100.0)
    still = np.tile(np.float32([0, 0, 9.81]), (40_000, 1))
    turn = TASK.decode(as_binary(still), session.params, session.state, session.model)
    sizes = [len(tensors["signal"]) for tensors in turn.inputs]
    assert len(sizes) > 1
    assert max(sizes) <= 256


def test_a_refused_payload_leaves_the_state_as_it_was():
    session = Session()
    session.send(as_rows(walk(12)))
    before = msgspec.msgpack.encode(session.state)
    bad = walk(12)[5:]
    with pytest.raises(InvalidInput):
        TASK.decode(as_rows(bad), session.params, session.state, session.model)
    assert msgspec.msgpack.encode(session.state) == before


def test_the_check_refuses_a_model_that_does_not_fit():
    model, _ = shipped()
    TASK.check(model)
    broken = msgspec.structs.replace(model.manifest, settings={"rate_hz": 50})
    with pytest.raises(ModelInvalid, match="settings"):
        TASK.check(Model(broken, model.labels, model.input_shapes))
    with pytest.raises(ModelInvalid, match=str(model.manifest.settings["window"])):
        TASK.check(Model(model.manifest, model.labels, {"signal": [-1, 3, 64]}))


def test_a_model_from_before_the_rule_of_early_steps_has_none():
    model, _ = shipped()
    before = {k: v for k, v in model.manifest.settings.items() if k != "early_share"}
    older = msgspec.structs.replace(model.manifest, settings=before)
    TASK.check(Model(older, model.labels, model.input_shapes))


def test_the_summary_tells_the_count():
    result = answer(as_rows(walk(20)))
    label, confidence = TASK.summary(result)
    assert label == f"{result.step_count} steps"
    assert 0 < confidence <= 1


def test_a_higher_threshold_finds_no_more_steps():
    payload = as_rows(walk(20))
    counts = [answer(payload, threshold=value).step_count for value in (0.1, 0.5, 0.9)]
    assert counts == sorted(counts, reverse=True)


def test_params_and_results_have_schemas():
    schema = msgspec.json.schema(TASK.Params)
    assert "rate_hz" in str(schema)
    msgspec.json.schema(TASK.Result)
    encoded = msgspec.json.encode(answer(as_rows(walk(12))))
    assert msgspec.json.decode(encoded, type=TASK.Result).step_count >= 11


def test_importing_the_task_imports_nothing_heavy():
    code = (
        "import sys, appliance.tasks.step_detection;"
        "heavy = {'numpy', 'PIL', 'openvino'} & set(sys.modules);"
        "sys.exit(repr(heavy) if heavy else None)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_another_media_type_is_refused():
    with pytest.raises(UnsupportedMedia, match="text/csv"):
        answer(Payload(b"{}", "text/plain"))


@settings(max_examples=150, deadline=None)
@given(
    body=st.one_of(
        st.binary(max_size=200),
        st.text(max_size=200).map(str.encode),
        st.text(alphabet='{}[]",:0123456789.-+eaxyzgt \n;NInf', max_size=200).map(str.encode),
        st.lists(st.text(alphabet="0123456789.,-e\nnaif;\"'", max_size=30)).map(
            lambda lines: ("t,ax,ay,az\n" + "\n".join(lines)).encode()
        ),
    ),
    media=st.sampled_from(TASK.media_types),
    params=st.sampled_from(
        [
            StepParams(),
            StepParams(rate_hz=50),
            StepParams(faults="skip"),
            StepParams(columns="ax,ay,az"),
        ]
    ),
)
def test_no_bytes_do_worse_than_a_problem(body, media, params):
    model, _ = shipped()
    state = TASK.open(params, model)
    before = msgspec.msgpack.encode(state)
    try:
        turn = TASK.decode(Payload(body, media), params, state, model)
    except (InvalidInput, PayloadTooLarge):
        assert msgspec.msgpack.encode(state) == before
        return
    TASK.encode(infer(turn.inputs), turn, params, state, model)
    msgspec.msgpack.decode(msgspec.msgpack.encode(state), type=StepState)
