"""The power goes off in mid-write: what was acknowledged is there, whole, on the disk's copy."""

from pathlib import Path

import pytest

from tests.end_to_end import image_disk
from tests.end_to_end.power_cuts import cuts

#: `scripts/power-cuts` does fifty.
CUTS = 3


def test_c48_a_power_cut_loses_nothing_that_was_acknowledged(short_path: Path) -> None:
    reason = image_disk.why_not()
    if reason:
        pytest.skip(reason)
    for outcome in cuts(short_path, count=CUTS):
        assert outcome.acknowledged
        assert outcome.is_well, outcome
