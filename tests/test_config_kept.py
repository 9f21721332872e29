"""Settings of what lies on the disk keep what is private off it unless asked."""

import msgspec
import pytest

from appliance.config import Config
from appliance.config_kept import History, Jobs


def test_inputs_are_kept_only_where_somebody_asks_for_it() -> None:
    assert History().keep_inputs == ()


def test_a_share_is_above_nothing_and_at_most_all() -> None:
    for share in (0.0, 1.1):
        with pytest.raises(msgspec.ValidationError):
            msgspec.convert({"keep_inputs_share": share}, History)
    assert msgspec.convert({"keep_inputs_share": 1.0}, History).keep_inputs_share == 1.0


def test_the_bounds_of_one_key_leave_room_for_others() -> None:
    jobs = Jobs()
    assert jobs.bytes_per_key < jobs.most_bytes
    assert jobs.most_per_key < jobs.most_waiting
    # One request that the configuration allows must fit into what a key may have.
    assert Config().limits.body_bytes < jobs.bytes_per_key
