import pytest

from appliance.actions.callers import Role
from appliance.clock import ManualClock
from tests.access_parts import Parts, edit, issued, opened

AUDIT = "/api/v1/audit"


@pytest.fixture
def clock():
    return ManualClock()


@pytest.fixture
def parts(tmp_path, clock):
    with opened(tmp_path / "state", clock) as database:
        yield Parts(database, clock)


@pytest.fixture
def admin(parts):
    return issued(parts.ring, Role.ADMIN, name="ann")


def test_acts_over_http_name_the_key_and_the_peer(parts, admin):
    headers = {"X-Forwarded-For": "203.0.113.9"}
    body = {"name": "camera", "role": "device"}
    made = parts.call("POST", "/api/v1/keys", admin, json=body, headers=headers)
    parts.call("DELETE", f"/api/v1/keys/{made.json['id']}", admin)
    revoked, created, _ = parts.get(AUDIT, admin).json["rows"]
    assert revoked["action"] == "key.revoke"
    assert created["action"] == "key.create"
    assert created["actor"] == f"ann ({admin[4:10]})"
    assert created["address"] == "192.0.2.7"
    assert created["subject"] == made.json["id"]
    assert created["detail"]["name"] == "camera"


def test_refused_acts_leave_no_row(parts, admin):
    parts.call("DELETE", f"/api/v1/keys/{admin[4:10]}", admin)
    parts.call("POST", "/api/v1/keys", admin, json={"name": "", "role": "device"})
    assert len(parts.get(AUDIT, admin).json["rows"]) == 1


def test_the_trail_is_read_in_pages(parts, admin):
    for _ in range(4):
        issued(parts.ring)
    first = parts.get(AUDIT, admin, params={"limit": "3"}).json
    rest = parts.get(AUDIT, admin, params={"cursor": str(first["next_cursor"])}).json
    assert [row["sequence"] for row in first["rows"] + rest["rows"]] == [5, 4, 3, 2, 1]
    assert rest["next_cursor"] is None


@pytest.mark.parametrize("query", ["cursor=0", "cursor=9007199254740993", "cursor=a", "limit=1e9"])
def test_odd_queries_are_refused(parts, admin, query):
    assert parts.get(AUDIT, admin, query_string=query).status_code == 422


def test_verify_names_the_row_somebody_edited(parts, admin):
    for _ in range(3):
        issued(parts.ring)
    assert parts.get(f"{AUDIT}/verify", admin).json["is_intact"] is True
    edit(parts.database, "UPDATE audit SET actor = 'nobody' WHERE sequence = 2")
    verdict = parts.get(f"{AUDIT}/verify", admin).json
    assert verdict["is_intact"] is False
    assert verdict["broken_sequence"] == 2


def test_a_detail_somebody_spoilt_is_still_shown(parts, admin):
    edit(parts.database, "UPDATE audit SET detail = 'not json'")
    answer = parts.get(AUDIT, admin)
    assert answer.status_code == 200
    assert answer.json["rows"][0]["detail"] == {"unreadable": "not json"}


@pytest.mark.parametrize("role", [None, Role.DEVICE, Role.OPERATOR])
def test_the_trail_is_for_admins(parts, role):
    key = issued(parts.ring, role) if role else None
    for path in (AUDIT, f"{AUDIT}/verify"):
        assert parts.get(path, key).status_code == (403 if role else 401)
