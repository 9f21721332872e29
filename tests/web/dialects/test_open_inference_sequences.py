"""Sequences of the Open Inference Protocol are streams: begun, fed, ended, and found again."""

import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import falcon
import falcon.testing
import msgspec
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from appliance.actions.callers import Caller
from appliance.clock import ManualClock
from appliance.errors import Conflict, InvalidInput, MalformedRequest, PayloadTooLarge
from appliance.web.dialects.open_inference_sequences import Sequences, Told, is_sequence
from tests.access_parts import opened
from tests.stream_parts import DEVICE, OTHER, Parts

STEPS = "step-detection"
#: The engine of these tests holds back the last byte of all.
ROWS = np.full((2, 3), 1.5, "<f4")
BYTES = ROWS.nbytes


class Device:
    """A client of one sequence."""

    def __init__(self, parts: Parts, caller: Caller = DEVICE) -> None:
        self.parts, self.caller = parts, caller
        self.sequences = Sequences(parts.sessions)

    def send(self, body: bytes, json_bytes: int | None = None, model: str = "letters") -> Told:
        request = falcon.Request(falcon.testing.create_environ(method="POST"))
        request.context.caller = self.caller
        request.context.request_id = "r1"
        request.context.received_monotonic = self.parts.clock.monotonic()
        asked = self.sequences.asked(STEPS, body, json_bytes)
        assert asked is not None
        return self.sequences.answer(request, model, asked)

    def tell(self, rows: Any = ROWS, sequence_id: Any = "walk", **parameters: Any) -> Any:
        """Send rows as JSON and return the answer."""
        told = self.send(document(rows, sequence_id=sequence_id, **parameters))
        assert told.json_bytes is None
        return json.loads(told.body)


def document(rows: Any = ROWS, *, more: Any = None, **parameters: Any) -> bytes:
    array = np.asarray(rows)
    one = {"name": "readings", "shape": [*array.shape], "datatype": "FP32", "data": array.tolist()}
    return json.dumps({"inputs": [one], "parameters": parameters, **(more or {})}).encode()


def events(answer: Any) -> int:
    (found,) = (one["data"] for one in answer["outputs"] if one["name"] == "events")
    return int(found[0])


def answers(answer: Any) -> list[Any]:
    (found,) = (one["data"] for one in answer["outputs"] if one["name"] == "answer")
    return [json.loads(one) for one in found]


@pytest.fixture
def parts(tmp_path: Path) -> Iterator[Parts]:
    clock = ManualClock()
    with opened(tmp_path / "state", clock) as database:
        yield Parts(database, clock)


@pytest.fixture
def device(parts: Parts) -> Device:
    return Device(parts)


def test_a_sequence_counts_from_its_start_to_its_end(device: Device, parts: Parts) -> None:
    first = device.tell(sequence_start=True)
    assert (first["model_name"], first["model_version"], first["id"]) == ("letters", "1", "r1")
    assert first["parameters"] == {"sequence_id": "walk", "sequence_end": False}
    assert events(first) == BYTES - 1
    assert events(device.tell()) == 2 * BYTES - 1
    last = device.tell(sequence_end=True)
    assert (events(last), last["parameters"]["sequence_end"]) == (3 * BYTES, True)
    assert [one["ended"] for one in answers(last)] == [False, True]
    (stream,) = parts.sessions.page(DEVICE, before_id=None, limit=10).streams
    assert (stream.device, stream.end_reason) == ("v2 letters walk", "sequence_end")
    assert stream.params == {"columns": "ax,ay,az"}


def test_an_end_may_come_without_readings(device: Device) -> None:
    device.tell(sequence_start=True)
    last = device.tell(np.zeros((0, 3), np.float32), sequence_end=True)
    assert events(last) == BYTES
    assert len(answers(last)) == 1


def test_a_sequence_that_never_began_is_told_so(device: Device) -> None:
    with pytest.raises(InvalidInput, match="sequence_start"):
        device.tell()
    device.tell(sequence_start=True, sequence_end=True)
    with pytest.raises(InvalidInput, match="has ended"):
        device.tell()


def test_a_new_start_ends_what_was_left_open(device: Device, parts: Parts) -> None:
    device.tell(sequence_start=True)
    assert events(device.tell(sequence_start=True)) == BYTES - 1
    newest, left = parts.sessions.page(DEVICE, before_id=None, limit=10).streams
    assert (newest.ended, left.end_reason) == (None, "sequence_start")


def test_sequences_of_other_keys_and_ids_are_others(device: Device, parts: Parts) -> None:
    device.tell(sequence_start=True)
    assert events(device.tell(sequence_id=7, sequence_start=True)) == BYTES - 1
    with pytest.raises(InvalidInput):
        Device(parts, OTHER).tell()


def test_parameters_of_the_start_are_the_streams(device: Device, parts: Parts) -> None:
    device.tell(sequence_start=True, rate_hz=100, priority=1, binary_data_output=False)
    (stream,) = parts.sessions.page(DEVICE, before_id=None, limit=10).streams
    assert stream.params == {"columns": "ax,ay,az", "rate_hz": "100"}


def test_rows_of_other_columns_do_not_go_on(device: Device) -> None:
    device.tell(sequence_start=True)
    with pytest.raises(InvalidInput, match="began with the columns"):
        device.tell(np.zeros((2, 6)))


def test_binary_rows_and_answers_are_the_same(device: Device) -> None:
    device.tell(sequence_start=True)
    one = {
        "name": "readings",
        "shape": [1, 2, 3],
        "datatype": "FP32",
        "parameters": {"binary_data_size": BYTES},
    }
    text = json.dumps(
        {
            "id": "mine",
            "inputs": [one],
            "parameters": {"sequence_id": "walk", "binary_data_output": True},
            "outputs": [{"name": "events"}, {"name": "answer"}],
        }
    ).encode()
    told = device.send(text + ROWS.tobytes(), len(text))
    assert told.json_bytes is not None
    head, rest = json.loads(told.body[: told.json_bytes]), told.body[told.json_bytes :]
    assert head["id"] == "mine"
    assert [one["parameters"]["binary_data_size"] for one in head["outputs"]] == [
        8,
        len(rest) - 8,
    ]
    assert struct.unpack_from("<q", rest) == (2 * BYTES - 1,)
    (length,) = struct.unpack_from("<I", rest, 8)
    assert json.loads(rest[12:])["totals"]["chunks"] == 2
    assert length == len(rest) - 12


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (document(np.zeros((2, 5)), sequence_id=1, sequence_start=True), "shape"),
        (document(np.zeros(3), sequence_id=1, sequence_start=True), "shape"),
        (document(sequence_id="x" * 49, sequence_start=True), "sequence_id"),
        (document(sequence_id=1.5, sequence_start=True), "sequence_id"),
        (document(sequence_id=True, sequence_start=True), "sequence_id"),
        (document(sequence_id=-1, sequence_start=True), "sequence_id"),
        (document(sequence_id="a\n", sequence_start=True), "sequence_id"),
        (document(sequence_id=1, sequence_start="yes"), "sequence_start"),
        (document(sequence_id=1, more={"inputs": []}), "one input"),
        (document(sequence_id=1, sequence_start=True, columns_x=1), "columns_x"),
        (
            document(sequence_id=1, sequence_start=True).replace(b"1.5", b'"a"'),
            "expected numbers",
        ),
        (document(sequence_id=1, sequence_start=True).replace(b"[2, 3]", b"[3, 3]"), "9 numbers"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(device: Device, body: bytes, words: str) -> None:
    with pytest.raises(InvalidInput, match=words):
        device.send(body)


def test_an_output_that_a_sequence_has_not_is_named(device: Device) -> None:
    body = document(sequence_id=1, sequence_start=True, more={"outputs": [{"name": "logits"}]})
    with pytest.raises(InvalidInput, match="logits"):
        device.send(body)


@pytest.mark.parametrize("sequence_id", [0, ""])
def test_no_id_is_no_sequence(device: Device, sequence_id: Any) -> None:
    assert device.sequences.asked(STEPS, document(sequence_id=sequence_id), None) is None


def test_tasks_that_remember_nothing_have_none(device: Device) -> None:
    for task in ("image-classification", "tensors"):
        assert device.sequences.asked(task, document(sequence_id=1), None) is None


def test_only_the_json_part_is_looked_at() -> None:
    body = b'{"inputs":[]}' + b'"sequence_id"'
    assert is_sequence(body, None)
    assert not is_sequence(body, 13)
    assert not is_sequence(body, 0)
    assert not is_sequence(b"{}", None)


@settings(
    max_examples=100,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    parameters=st.dictionaries(
        st.sampled_from(["sequence_id", "sequence_start", "sequence_end", "rate_hz"]),
        st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.lists(st.integers()),
        max_size=4,
    ),
    rows=st.lists(st.lists(st.floats(-50, 50), min_size=3, max_size=3), max_size=3),
)
def test_no_request_is_our_fault(device: Device, parameters: Any, rows: Any) -> None:
    body = document(np.array(rows or np.zeros((0, 3))), **parameters)
    try:
        asked = device.sequences.asked(STEPS, body, None)
    except (InvalidInput, MalformedRequest):
        return
    if asked is not None:
        try:
            told = device.send(body)
        except (InvalidInput, Conflict, PayloadTooLarge):
            return
        assert msgspec.json.decode(told.body)
