"""The step detection guide's callers get what they are used to."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.clock import ManualClock
from tests.access_parts import issued, opened
from tests.stream_parts import Parts

STILL = {"accel_x": 0, "accel_y": 0, "accel_z": 9.8, "gyro_x": 0, "gyro_y": 0, "gyro_z": 0}
STEP = {**STILL, "accel_z": 20.0}


@pytest.fixture
def parts(tmp_path: Path) -> Iterator[Parts]:
    clock = ManualClock()
    with opened(tmp_path / "state", clock) as database:
        yield Parts(database, clock)


@pytest.fixture
def key(parts: Parts) -> str:
    return issued(parts.ring)


def test_steps_are_counted_for_each_key_until_it_resets(parts: Parts, key: str) -> None:
    other = issued(parts.ring, name="other")
    replies = [
        parts.call("POST", "/detect_step", key, json=reading).json
        for reading in (STILL, STEP, STEP, STEP)
    ]
    assert [reply["step_count"] for reply in replies] == [0, 0, 1, 2]
    assert set(replies[0]) == {
        *("step_start", "step_end", "start_probability", "end_probability"),
        *("step_count", "timestamp", "status"),
    }
    assert (replies[2]["step_end"], replies[2]["end_probability"]) == (True, 0.75)
    assert parts.call("GET", "/step_count", key).json["step_count"] == 2
    assert parts.call("GET", "/step_count", other).json["step_count"] == 0
    summary = parts.call("GET", "/session_summary", key).json
    assert (summary["step_count"], summary["readings"]) == (2, 4)
    reset = parts.call("POST", "/reset_count", key).json
    assert (reset["step_count"], reset["previous_step_count"]) == (0, 3)
    assert parts.call("GET", "/step_count", key).json["step_count"] == 0
    assert parts.call("POST", "/detect_step", key, json=STILL).json["step_count"] == 0


def test_nothing_yet_is_told_as_such(parts: Parts, key: str) -> None:
    summary = parts.call("GET", "/session_summary", key).json
    assert (summary["session_id"], summary["readings"], summary["started"]) == (None, 0, None)
    assert parts.call("POST", "/reset_count", key).json["previous_step_count"] == 0


@pytest.mark.parametrize("changes", [{"accel_x": 51}, {"gyro_z": -11}, {"accel_y": "2"}])
def test_a_reading_out_of_range_is_named(
    parts: Parts, key: str, changes: dict[str, object]
) -> None:
    answer = parts.call("POST", "/detect_step", key, json={**STILL, **changes})
    assert answer.status_code == 422
    assert answer.json["errors"][0]["pointer"] == f"/{next(iter(changes))}"


def test_the_model_is_told(parts: Parts, key: str) -> None:
    known = parts.call("GET", "/model_info", key).json
    assert (known["model_name"], known["model_version"]) == ("step-detector", 1)
    assert len(known["input_features"]) == 6


def test_a_key_is_needed(parts: Parts) -> None:
    for method, path in (("POST", "/detect_step"), ("GET", "/step_count")):
        assert parts.call(method, path, None, json=STILL).status_code == 401
