"""What sessions count and give up; test_streams.py has the turns themselves."""

import pytest

from appliance.actions.stream_turns import Turns, count_events
from appliance.errors import ModelUnavailable, NotFound
from appliance.store.streams import StoredStream
from tests.stream_parts import LetterEngine


def stream(**changes: object) -> StoredStream:
    fields: dict[str, object] = {
        **dict.fromkeys(("id", "key_id", "key_name"), "x"),
        "model": "letters",
        "version": 1,
        "task": "step-detection",
        "params": {},
        "created_seconds": 0.0,
        "last_seconds": 0.0,
        **changes,
    }
    return StoredStream(**fields)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("result", "events"), [(b"", 0), (b"{}", 0), (b'{"events":[{},{"a":1}],"more":2}', 2)]
)
def test_the_events_of_any_task_are_counted(result: bytes, events: int) -> None:
    assert count_events(result) == events


def test_a_model_without_an_active_version_is_unavailable() -> None:
    engine = LetterEngine()
    engine.active.clear()
    with pytest.raises(ModelUnavailable):
        Turns(engine).current(stream())  # type: ignore[arg-type]


def test_what_a_removed_model_held_back_is_given_up() -> None:
    engine = LetterEngine()
    engine.ending_fails_with = NotFound("There is no such model.")
    assert Turns(engine).flush(stream(state=b"a")) == b""  # type: ignore[arg-type]
