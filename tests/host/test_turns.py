from typing import Any

import msgspec
import pytest

from appliance.errors import InvalidInput
from appliance.host.turns import open_session, run_once
from appliance.tasks.contract import NoState, Payload, Turn


class Params(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    factor: int = 1


class State(msgspec.Struct):
    seen: list[int]


class Summing:
    """A task that adds up bytes: its model answers what it is asked, times the factor."""

    name, title, media_types = "summing", "Summing", ("text/plain",)
    Params, Result, State = Params, NoState, State

    def open(self, params: Params, model: Any) -> State:
        return State([])

    def decode(self, payload: Payload, params: Params, state: State, model: Any) -> Turn:
        state.seen.extend(payload.body)
        return Turn(inputs=[{"x": byte} for byte in payload.body])

    def encode(self, outputs: Any, turn: Turn, params: Params, state: State, model: Any) -> int:
        return sum(output["y"] for output in outputs) * params.factor

    def flush(self, params: Params, state: State, model: Any) -> Turn:
        held = len(state.seen) > 2
        return Turn(inputs=[], context="held" if held else None)

    def join(self, results: Any) -> Any:
        return ("joined", *results)


class Compiled:
    def __init__(self) -> None:
        self.asked: list[str] = []

    def infer(self, arrays: Any) -> Any:
        self.asked.append("one")
        return {"y": arrays["x"]}

    def infer_many(self, requests: Any) -> Any:
        self.asked.append("many")
        return [{"y": arrays["x"]} for arrays in requests]


class Network:
    def __init__(self) -> None:
        self.task = Compiled()


def session(state: bytes | None = None, **params: Any) -> Any:
    return open_session(Summing(), None, Network(), params, state)  # type: ignore[arg-type]


def test_a_turn_decodes_infers_and_encodes_and_says_how_long_each_took() -> None:
    opened = session(factor="2")
    assert opened.turn(Payload(b"\x01\x02", "")) == 6
    assert all(seconds > 0 for seconds in (opened.timing.decode, opened.timing.infer))
    assert opened.timing.encode > 0


@pytest.mark.parametrize(("body", "asked"), [(b"", []), (b"1", ["one"]), (b"123", ["many"])])
def test_the_model_is_asked_the_cheapest_way(body: bytes, asked: list[str]) -> None:
    opened = session()
    opened.turn(Payload(body, ""))
    assert opened.network.task.asked == asked


def test_a_request_is_one_turn_and_what_was_held_back() -> None:
    assert run_once(session(), Payload(b"\x01\x02", "")) == 3
    assert run_once(session(), Payload(b"\x01\x02\x03", "")) == ("joined", 6, 0)


def test_a_state_goes_on_where_the_last_turn_left_it() -> None:
    first = session()
    first.turn(Payload(b"\x01\x02", ""))
    second = session(msgspec.msgpack.encode(first.state))
    second.turn(Payload(b"\x03", ""))
    assert second.state.seen == [1, 2, 3]
    assert second.end() == 0


@pytest.mark.parametrize("wrong", [{"factor": "x"}, {"faktor": 1}, {"factor": None}])
def test_wrong_parameters_are_refused_by_name(wrong: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput, match=r"factor|faktor"):
        session(**wrong)


@pytest.mark.parametrize("state", [b"", b"\xc1", msgspec.msgpack.encode({"other": 1})])
def test_a_state_of_something_else_is_refused(state: bytes) -> None:
    with pytest.raises(InvalidInput, match="Begin a new one"):
        session(state)
