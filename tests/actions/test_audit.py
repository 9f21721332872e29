import pytest

from appliance.actions import audit
from appliance.actions.callers import Caller, Role, local_admin
from appliance.clock import ManualClock
from tests.access_parts import edit, opened


@pytest.fixture
def clock():
    return ManualClock()


@pytest.fixture
def database(tmp_path, clock):
    with opened(tmp_path / "state", clock) as database:
        yield database


def act(database, clock, number):
    database.write(
        lambda connection: audit.record(
            connection,
            local_admin(),
            action="test.act",
            subject=str(number),
            detail={"number": number},
            clock=clock,
        )
    )


def test_pages_lead_through_all_rows_newest_first(database, clock):
    for number in range(1, 8):
        act(database, clock, number)
    seen, cursor = [], None
    while True:
        page, cursor = audit.page(database, before_sequence=cursor, limit=3)
        seen += [row.sequence for row in page]
        if cursor is None:
            break
    assert seen == [7, 6, 5, 4, 3, 2, 1]


def test_an_empty_trail_is_one_empty_page(database):
    assert audit.page(database, before_sequence=None, limit=3) == ((), None)
    assert audit.verify(database) is None


def test_verify_names_the_first_row_somebody_edited(database, clock):
    for number in range(1, 6):
        act(database, clock, number)
    assert audit.verify(database) is None
    edit(database, "UPDATE audit SET subject = 'innocent' WHERE sequence IN (3, 5)")
    broken = audit.verify(database)
    assert broken.sequence == 3
    assert "does not match" in broken.reason


def test_verify_names_rows_cut_off_the_end(database, clock):
    for number in range(1, 6):
        act(database, clock, number)
    edit(database, "DELETE FROM audit WHERE sequence > 3")
    assert audit.verify(database).sequence == 4


def test_the_actor_is_the_keys_name_and_id():
    ann = Caller(key_name="ann", key_id="a1b2c3", role=Role.ADMIN, address="192.0.2.5")
    assert audit.actor_of(ann) == "ann (a1b2c3)"
    assert audit.actor_of(local_admin()) == "local-admin"
