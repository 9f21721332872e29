import ipaddress
import re
import stat

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.actions.authenticate import authenticate
from appliance.actions.callers import Role, local_admin
from appliance.actions.issue_key import _NETWORK, NewKey, ensure_admin_key, issue_key
from appliance.actions.key_ring import KeyRing
from appliance.actions.revoke_key import revoke_key
from appliance.clock import ManualClock
from appliance.errors import InvalidInput, StateUnusable, Unauthenticated
from tests.access_parts import issued, opened


@pytest.fixture
def clock():
    return ManualClock()


@pytest.fixture
def state(tmp_path):
    return tmp_path / "state"


@pytest.fixture
def ring(state, clock):
    with opened(state, clock) as database:
        yield KeyRing(database, clock)


def test_the_first_start_writes_a_working_admin_key_only_its_owner_can_read(ring, state):
    path = ensure_admin_key(ring, state)
    assert path == state / "admin-key"
    assert stat.S_IMODE(path.stat().st_mode) == 0o400
    caller = authenticate(ring, path.read_text().strip(), address="192.0.2.1")
    assert caller.role is Role.ADMIN
    assert not (state / "admin-key.tmp").exists()


def test_later_starts_leave_the_key_as_it_is(ring, state):
    path = ensure_admin_key(ring, state)
    before = path.read_text()
    assert ensure_admin_key(ring, state) is None
    assert path.read_text() == before
    assert len(ring.all()) == 1


def test_a_deleted_file_is_not_written_again_while_an_admin_key_lives(ring, state):
    ensure_admin_key(ring, state).unlink()
    assert ensure_admin_key(ring, state) is None
    assert not (state / "admin-key").exists()


def test_without_a_live_admin_key_the_next_start_makes_one(ring, state):
    old = ensure_admin_key(ring, state).read_text().strip()
    issued(ring, Role.OPERATOR)
    revoke_key(ring, old[4:10], caller=local_admin())
    new = ensure_admin_key(ring, state).read_text().strip()
    authenticate(ring, new, address="192.0.2.1")
    with pytest.raises(Unauthenticated):
        authenticate(ring, old, address="192.0.2.1")


def test_a_start_cut_off_between_file_and_table_is_made_good_by_the_next(ring, state, clock):
    (state / "admin-key").write_text("a key the table never heard of")
    (state / "admin-key").chmod(0o400)
    (state / "admin-key.tmp").write_text("half a k")
    text = ensure_admin_key(ring, state).read_text().strip()
    authenticate(ring, text, address="192.0.2.1")


def test_a_state_directory_that_takes_no_file_stops_the_start_with_a_sentence(ring, tmp_path):
    with pytest.raises(StateUnusable, match="admin key cannot be written"):
        ensure_admin_key(ring, tmp_path / "missing")
    assert ring.all() == []


@given(st.from_regex(_NETWORK))
def test_every_network_the_schema_allows_is_one(text):
    ipaddress.ip_network(text.removesuffix("\n"), strict=False)


@given(st.ip_addresses(), st.integers(0, 32))
def test_every_address_and_network_is_allowed_as_python_writes_it(address, prefix):
    for text in (str(address), address.exploded, f"{address}/{prefix}"):
        assert re.fullmatch(_NETWORK, text)


@pytest.mark.parametrize("name", ["cam\u202egpj", "cam\x1b[2J", "cam\u200b", "\u061ccam"])
def test_a_name_that_hides_something_is_refused_with_its_character(ring, name):
    with pytest.raises(InvalidInput, match=r"invisible character U\+"):
        issue_key(ring, NewKey(name=name, role=Role.DEVICE), caller=local_admin())


@pytest.mark.parametrize("name", ["Kamera Größe", "相机", "می‌خواهم", "👩‍👧"])
def test_a_name_may_be_of_any_script(ring, name):
    assert (
        issue_key(ring, NewKey(name=name, role=Role.DEVICE), caller=local_admin())[1].name == name
    )


def test_what_is_no_network_is_named_with_its_place(ring):
    wanted = NewKey(name="a", role=Role.DEVICE, source_networks=("10.0.0.0/8", "10.0.0.0/99"))
    with pytest.raises(InvalidInput, match=r"'10.0.0.0/99' is not a network") as caught:
        issue_key(ring, wanted, caller=local_admin())
    assert caught.value.errors[0].pointer == "/source_networks/1"


def test_no_secret_is_found_in_any_byte_of_the_state(ring, state):
    secrets = [issued(ring, name=f"camera {number}") for number in range(5)]
    for text in secrets:
        authenticate(ring, text, address="192.0.2.1")
    revoke_key(ring, secrets[0][4:10], caller=local_admin())
    files = [path for path in state.rglob("*") if path.is_file()]
    assert {"appliance.db", "appliance.db-wal"} <= {path.name for path in files}
    everything = b"".join(path.read_bytes() for path in files)
    assert b"camera 4" in everything
    for text in secrets:
        assert text.encode() not in everything
        assert text[11:41].encode() not in everything
