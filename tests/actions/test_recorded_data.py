"""Kept inputs become a job's calibration data, or a sentence that says why not."""

import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from appliance.actions.recorded_data import LEAST_ITEMS, RecordedData
from appliance.config import History
from appliance.errors import Conflict
from tests.actions.input_examples import PICTURE, Keeping, keeping_in


@pytest.fixture
def keeping(tmp_path: Path) -> Iterator[Keeping]:
    with keeping_in(tmp_path / "state") as found:
        found.keeper.start()
        yield found


def recorded(keeping: Keeping, tmp_path: Path, **bounds: int) -> RecordedData:
    given: dict[str, Any] = {"most_file_bytes": 1_000_000, "most_bytes": 10_000_000, **bounds}
    return RecordedData(keeping.keeper, keeping.database, scratch=tmp_path, **given)


def members(data: RecordedData, most_items: int = 1000) -> list[list[tuple[str, bytes]]]:
    """Return the names and bodies of each zip, read as a job's submission reads them."""
    found = []
    for file in data.gather("vehicle-type", most_items):
        with zipfile.ZipFile(file.stream) as archive:
            found.append([(name, archive.read(name)) for name in archive.namelist()])
    return found


def test_kept_inputs_come_as_a_zip(keeping: Keeping, tmp_path: Path) -> None:
    ids = {keeping.remember(PICTURE + bytes([number])) for number in range(LEAST_ITEMS + 4)}
    keeping.kept()
    (one,) = members(recorded(keeping, tmp_path))
    assert {name for name, _ in one} == {f"{each}.png" for each in ids}
    assert all(body.startswith(PICTURE) for _, body in one)


def test_no_more_come_than_were_asked_for_and_fit(keeping: Keeping, tmp_path: Path) -> None:
    for _ in range(40):
        keeping.remember()
    keeping.kept()
    assert sum(map(len, members(recorded(keeping, tmp_path), 20))) == 20
    tight = recorded(keeping, tmp_path, most_file_bytes=1200, most_bytes=30 * len(PICTURE))
    packed = members(tight)
    assert sum(map(len, packed)) == 30
    assert all(len(one) * len(PICTURE) <= 1200 for one in packed)
    assert len(packed) == 3


def test_texts_come_as_texts_whatever_they_were_sent_as(keeping: Keeping, tmp_path: Path) -> None:
    for number in range(LEAST_ITEMS):
        keeping.remember(b'{"text": "in %d"}' % number, content_type="application/json")
    keeping.remember(b"plain", content_type="text/plain")
    keeping.remember(b'{"rows": []}', content_type="application/json")
    keeping.remember(b"\x00\x01", content_type="application/octet-stream")
    keeping.kept()
    (one,) = members(recorded(keeping, tmp_path))
    assert sorted(body for _, body in one) == sorted(
        [b"plain", *(b"in %d" % number for number in range(LEAST_ITEMS))]
    )
    assert all(name.endswith(".txt") for name, _ in one)


def test_where_nothing_is_kept_the_way_to_keep_is_told(keeping: Keeping, tmp_path: Path) -> None:
    keeping.keeper.use_history(History())
    with pytest.raises(Conflict, match=r'Add "vehicle-type" to history\.keep_inputs'):
        recorded(keeping, tmp_path).gather("vehicle-type", 100)


def test_too_few_are_told_as_too_few(keeping: Keeping, tmp_path: Path) -> None:
    for _ in range(3):
        keeping.remember()
    keeping.kept()
    with pytest.raises(Conflict, match="Only 3 inputs"):
        recorded(keeping, tmp_path).gather("vehicle-type", 100)


def test_what_went_meanwhile_or_was_cut_short_is_left_out(
    keeping: Keeping, tmp_path: Path
) -> None:
    ids = [keeping.remember() for _ in range(LEAST_ITEMS + 2)]
    keeping.kept()
    keeping.files.path("vehicle-type", ids[0]).write_bytes(b"short")
    files = recorded(keeping, tmp_path).gather("vehicle-type", 100)
    keeping.files.path("vehicle-type", ids[1]).unlink()
    with zipfile.ZipFile(next(files).stream) as archive:
        assert len(archive.namelist()) == LEAST_ITEMS
