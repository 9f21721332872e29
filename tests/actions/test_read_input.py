"""A kept input is read by who sent it and by admins, and by nobody else."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.actions import audit
from appliance.actions.read_input import InputReading
from appliance.errors import Forbidden, NotFound
from tests.access_parts import edit
from tests.actions.examples import ADMIN, OPERATOR, a_device
from tests.actions.input_examples import PICTURE, Keeping, keeping_in


@pytest.fixture
def keeping(tmp_path: Path) -> Iterator[Keeping]:
    with keeping_in(tmp_path / "state") as found:
        found.keeper.start()
        yield found


@pytest.fixture
def reading(keeping: Keeping) -> InputReading:
    return InputReading(keeping.database, keeping.clock, keeping.files)


def test_a_device_reads_its_own_and_leaves_no_trace(
    keeping: Keeping, reading: InputReading
) -> None:
    prediction_id = keeping.remember()
    keeping.kept()
    found = reading.read(a_device(), prediction_id)
    with found.stream:
        assert found.stream.read() == PICTURE
    assert (found.bytes, found.content_type) == (len(PICTURE), "image/png")
    assert found.name == f"{prediction_id}.png"
    assert audit.page(keeping.database, before_sequence=None, limit=5)[0] == ()


def test_an_admin_reads_all_and_the_audit_knows(keeping: Keeping, reading: InputReading) -> None:
    prediction_id = keeping.remember()
    keeping.kept()
    reading.read(ADMIN, prediction_id).stream.close()
    (row,), _ = audit.page(keeping.database, before_sequence=None, limit=5)
    assert (row.action, row.subject, row.actor) == (
        "prediction.input",
        prediction_id,
        "ann (admin1)",
    )


def test_others_do_not(keeping: Keeping, reading: InputReading) -> None:
    prediction_id = keeping.remember()
    keeping.kept()
    with pytest.raises(NotFound):
        reading.read(a_device("cam002"), prediction_id)
    with pytest.raises(NotFound):
        reading.read(a_device(models=("other",)), prediction_id)
    with pytest.raises(Forbidden):
        reading.read(OPERATOR, prediction_id)


def test_an_input_that_is_not_kept_or_was_cut_short_is_not_there(
    keeping: Keeping, reading: InputReading
) -> None:
    with pytest.raises(NotFound, match="keep_inputs"):
        reading.read(ADMIN, keeping.remember(model="other"))
    prediction_id = keeping.remember()
    keeping.kept()
    keeping.files.path("vehicle-type", prediction_id).write_bytes(PICTURE[:-1])
    with pytest.raises(NotFound, match="not kept"):
        reading.read(ADMIN, prediction_id)
    with pytest.raises(NotFound):
        reading.read(ADMIN, "no such id")


def test_what_cannot_be_written_down_is_not_read_and_not_left_open(
    keeping: Keeping, reading: InputReading
) -> None:
    prediction_id = keeping.remember()
    keeping.kept()
    edit(
        keeping.database,
        "CREATE TRIGGER broken BEFORE INSERT ON audit BEGIN SELECT RAISE(ABORT, 'broken'); END",
    )
    with pytest.raises(Exception, match="broken"):
        reading.read(ADMIN, prediction_id)
    file = keeping.files.path("vehicle-type", prediction_id)
    assert file not in [link.resolve() for link in Path("/proc/self/fd").iterdir()]
