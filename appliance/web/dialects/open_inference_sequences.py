"""Sequences of the Open Inference Protocol: each is a stream of the appliance's own.

A model whose task remembers what came before takes, instead of its raw tensors, one input
`readings`: rows of float32, three to seven columns as `tasks/readings.py` names them. The sequence
is found again by the caller's key, the model and `sequence_id`; other parameters of its first
request are the stream's. Answers are durable, as those of /api/v1/streams.
"""

import array
import struct
import sys
from typing import Any, NamedTuple

import falcon
import msgspec

from appliance.actions.callers import Caller
from appliance.actions.stream_views import ChunkAnswer, WantedStream
from appliance.actions.streams import Chunk, StreamSessions
from appliance.errors import InvalidInput
from appliance.host.infer_wire import (
    WireInput,
    WireRequest,
    binary_parts,
    flag,
    input_place,
    output_place,
    parse,
    scalars,
    split_body,
)
from appliance.tasks.contract import NoState
from appliance.tasks.registry import TASKS

INPUT, ANSWER, EVENTS = "readings", "answer", "events"
_COLUMNS = {3: "ax,ay,az", 4: "t,ax,ay,az", 6: "ax,ay,az,gx,gy,gz", 7: "t,ax,ay,az,gx,gy,gz"}
_RESERVED = frozenset(
    {"sequence_id", "sequence_start", "sequence_end", "priority", "timeout", "headers"}
    | {"binary_data_output"}
)
#: The stream's `device` holds it beside the model's name.
_MOST_ID_CHARACTERS = 48
_MARK = b'"sequence_id"'
_numbers_of = msgspec.json.Decoder(list[float]).decode
_answer_of = msgspec.json.Decoder(ChunkAnswer).decode


class Asked(NamedTuple):
    """One request of a sequence."""

    wire: WireRequest
    rest: memoryview
    sequence_id: str
    is_start: bool
    is_end: bool
    params: dict[str, str]


class Told(NamedTuple):
    """The body of an answer and the bytes of its JSON part, None where all of it is JSON."""

    body: bytes
    json_bytes: int | None


class Sequences:
    """Answers sequences through streams. Threads: any; it holds no state of its own."""

    def __init__(self, sessions: StreamSessions) -> None:
        self._sessions = sessions

    def asked(self, task: str, body: bytes | bytearray, json_bytes: int | None) -> Asked | None:
        """Given a model's task and a request's body, return what is asked of a sequence.

        None for a request that stands alone, and for tasks that remember nothing: their host
        refuses sequences. Raise MalformedRequest or InvalidInput.
        """
        if not _remembers(task):
            return None
        text, rest = split_body(memoryview(body), json_bytes)
        wire = parse(text)
        parameters = scalars(wire.parameters, "the request")
        sequence_id = _sequence_id(parameters.get("sequence_id"))
        if not sequence_id:
            return None
        return Asked(
            wire=wire,
            rest=rest,
            sequence_id=sequence_id,
            is_start=bool(flag(parameters, "sequence_start", "the request")),
            is_end=bool(flag(parameters, "sequence_end", "the request")),
            params=_stream_params(parameters),
        )

    def answer(self, request: falcon.Request, model: str, asked: Asked) -> Told:
        """Given a request of a sequence, take its turn and return the answer.

        Raise InvalidInput for readings that do not fit and for a sequence that never began, and
        what streams raise.
        """
        readings, columns = _readings(asked)
        caller: Caller = request.context.caller
        stream_id = self._stream(caller, model, asked, columns)
        answers = []
        if readings or not asked.is_end:
            answers.append(
                self._sessions.feed(
                    Chunk(
                        caller=caller,
                        stream_id=stream_id,
                        sequence=None,
                        content_type="application/octet-stream",
                        body=readings,
                        request_id=request.context.request_id,
                        received_monotonic=request.context.received_monotonic,
                    )
                )
            )
        if asked.is_end:
            answers.append(self._sessions.end(caller, stream_id, reason="sequence_end"))
        return _told(asked, answers, request_id=request.context.request_id)

    def _stream(self, caller: Caller, model: str, asked: Asked, columns: str) -> str:
        device = f"v2 {model} {asked.sequence_id}"
        known = self._sessions.open_of(caller, device)
        if known is not None and not asked.is_start:
            if columns and known.params.get("columns", columns) != columns:
                raise InvalidInput(
                    f"{input_place(INPUT)}: the sequence began with the columns"
                    f" {known.params['columns']}; these rows have {columns}."
                )
            return known.id
        if not asked.is_start:
            raise InvalidInput(
                f"The sequence {asked.sequence_id!r} of model {model[:64]!r} has not begun or has"
                " ended: send sequence_start with its first request."
            )
        if known is not None:  # its client began anew, as after a restart of its own
            self._sessions.end(caller, known.id, reason="sequence_start")
        params = {"columns": columns, **asked.params} if columns else asked.params
        return self._sessions.open(
            caller, WantedStream(model=model, params=params, device=device)
        ).id


def is_sequence(body: bytes | bytearray, json_bytes: int | None) -> bool:
    """Given a request's body and the bytes of its JSON part, return whether it names a sequence.

    It is a look at the bytes only; what they mean is read where it matters.
    """
    return bool(json_bytes != 0 and body.find(_MARK, 0, json_bytes) >= 0)


def _remembers(task: str) -> bool:
    return any(one.name == task and one.State is not NoState for one in TASKS)


def _sequence_id(value: Any) -> str:
    if value is None or value == "" or (value == 0 and type(value) is int):
        return ""
    if isinstance(value, bool | float) or not isinstance(value, int | str):
        raise InvalidInput("'sequence_id' is a whole number or text.")
    text = str(value)
    if len(text) > _MOST_ID_CHARACTERS or not text.isprintable() or text.startswith("-"):
        raise InvalidInput(
            f"'sequence_id' is a number from 1, or up to {_MOST_ID_CHARACTERS} printable"
            " characters."
        )
    return text


def _stream_params(parameters: dict[str, Any]) -> dict[str, str]:
    return {
        name: str(value).lower() if isinstance(value, bool) else str(value)
        for name, value in parameters.items()
        if name not in _RESERVED
    }


def _readings(asked: Asked) -> tuple[bytes, str]:
    """Return the rows as little-endian float32, and what their columns are."""
    inputs = asked.wire.inputs
    if [one.name for one in inputs] != [INPUT]:
        names = ", ".join(one.name[:40] for one in inputs)
        raise InvalidInput(
            f"A sequence takes one input, {INPUT!r}: rows of FP32. Got: {names or 'none'}."
        )
    (one,) = inputs
    place = input_place(INPUT)
    shape = one.shape[1:] if len(one.shape) == 3 and one.shape[0] == 1 else one.shape
    if one.datatype != "FP32" or len(shape) != 2 or shape[1] not in _COLUMNS or shape[0] < 0:
        raise InvalidInput(
            f"{place}: expected FP32 of shape [readings, 3, 4, 6 or 7], got"
            f" {one.datatype[:20]} {one.shape!r:.60}."
        )
    count = shape[0] * shape[1]
    (part,) = binary_parts(inputs, asked.rest)
    octets = _from_json(one, place) if part is None else bytes(part)
    if len(octets) != 4 * count:
        raise InvalidInput(f"{place}: expected {count} numbers, got {len(octets) / 4:g}.")
    return octets, _COLUMNS[shape[1]]


def _from_json(one: WireInput, place: str) -> bytes:
    assert not isinstance(one.data, msgspec.UnsetType)  # binary_parts refused it
    flat = b"[" + bytes(one.data).translate(None, b"[]") + b"]"
    try:
        numbers = array.array("f", _numbers_of(flat))
    except msgspec.DecodeError:
        raise InvalidInput(f"{place}: expected numbers, or lists of numbers.") from None
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers.tobytes()


def _told(asked: Asked, answers: list[bytes], *, request_id: str) -> Told:
    last = _answer_of(answers[-1])
    all_binary = flag(scalars(asked.wire.parameters, "the request"), "binary_data_output", "it")
    outputs: list[dict[str, Any]] = []
    parts: list[bytes] = []
    for name, is_binary in _wanted(asked.wire, is_binary=bool(all_binary)):
        tensor, part = _tensor(name, answers, last.totals.events)
        if is_binary:
            del tensor["data"]
            tensor["parameters"] = {"binary_data_size": len(part)}
            parts.append(part)
        outputs.append(tensor)
    text = msgspec.json.encode(
        {
            "model_name": last.model,
            "model_version": str(last.version),
            "id": asked.wire.id or request_id,
            "parameters": {"sequence_id": asked.sequence_id, "sequence_end": last.ended},
            "outputs": outputs,
        }
    )
    return Told(b"".join([text, *parts]), len(text) if parts else None)


def _wanted(wire: WireRequest, *, is_binary: bool) -> list[tuple[str, bool]]:
    found: list[tuple[str, bool]] = []
    for one in wire.outputs or ():
        place = output_place(one.name)
        if one.name not in (ANSWER, EVENTS):
            raise InvalidInput(
                f"There is no output {one.name[:100]!r}; a sequence has {ANSWER}, {EVENTS}."
            )
        told = flag(scalars(one.parameters, place), "binary_data", place)
        found.append((one.name, is_binary if told is None else told))
    return found or [(ANSWER, is_binary), (EVENTS, is_binary)]


def _tensor(name: str, answers: list[bytes], events: int) -> tuple[dict[str, Any], bytes]:
    if name == EVENTS:
        tensor = {"name": EVENTS, "datatype": "INT64", "shape": [1], "data": [events]}
        return tensor, struct.pack("<q", events)
    texts = [answer.decode("utf-8") for answer in answers]
    tensor = {"name": ANSWER, "datatype": "BYTES", "shape": [len(answers)], "data": texts}
    return tensor, b"".join(struct.pack("<I", len(one)) + one for one in answers)
