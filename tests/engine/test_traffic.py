from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.engine.traffic import Split, Traffic

SENDERS = [f"key{number:04}" for number in range(4000)]


def test_senders_are_spread_as_the_shares_say() -> None:
    split = Split("m", {"3": 90, "4": 10})
    counts = Counter(split.version_for(sender) for sender in SENDERS)
    assert counts[3] + counts[4] == len(SENDERS)
    assert 0.08 < counts[4] / len(SENDERS) < 0.12


@given(st.text(max_size=50))
def test_a_sender_always_meets_the_same_version(sender: str) -> None:
    percent = {"1": 50.0, "2": 50.0}
    assert Split("m", percent).version_for(sender) == Split("m", percent).version_for(sender)


def test_who_was_moved_stays_when_the_share_grows() -> None:
    small, large = Split("m", {"3": 90, "4": 10}), Split("m", {"3": 50, "4": 50})
    moved = [sender for sender in SENDERS if small.version_for(sender) == 4]
    assert moved
    assert all(large.version_for(sender) == 4 for sender in moved)


def test_other_devices_try_another_model_first() -> None:
    tried = {
        model: {
            sender
            for sender in SENDERS
            if Split(model, {"1": 90, "2": 10}).version_for(sender) == 2
        }
        for model in ("cars", "steps")
    }
    assert len(tried["cars"] & tried["steps"]) < len(tried["cars"]) / 2


@pytest.mark.parametrize("percent", [{"1": 100.0}, {"1": 33.3, "2": 33.3, "3": 33.4}, {"7": 0.01}])
def test_everybody_meets_some_version(percent: dict[str, float]) -> None:
    split = Split("m", percent)
    assert {split.version_for(sender) for sender in SENDERS} <= set(map(int, percent))


def test_all_versions_that_have_to_run_are_named() -> None:
    assert Traffic(traffic={"3": 90, "4": 10}, shadow="5").versions() == {3, 4, 5}
    assert Traffic().versions() == frozenset()
