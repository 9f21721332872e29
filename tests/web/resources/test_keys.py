import json

import pytest

from appliance.actions.callers import Role
from appliance.clock import ManualClock
from tests.access_parts import Parts, issued, issued_with_id, opened

KEYS = "/api/v1/keys"


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


def create(parts, admin, **body):
    body = {"name": "camera 1", "role": "device"} | body
    return parts.call("POST", KEYS, admin, json=body)


def test_a_new_key_is_shown_once_and_works(parts, admin):
    answer = create(parts, admin, models=["step"], source_networks=["192.0.2.9/24"])
    assert answer.status_code == 201
    assert answer.headers["Cache-Control"] == "no-store"
    key = answer.json["key"]
    assert parts.get("/device", key).status_code == 200
    shown = parts.get(answer.headers["Location"], admin)
    assert "key" not in shown.json
    assert (
        key
        not in shown.text + parts.get(KEYS, admin).text + parts.get("/api/v1/audit", admin).text
    )
    assert shown.json["source_networks"] == ["192.0.2.0/24"]
    assert shown.json["last_used_address"] == "192.0.2.7"
    assert "secret_sha256" not in shown.text


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"owner": "me"}, ""),
        ({"id": "abc123"}, ""),
        ({"secret_sha256": "00"}, ""),
        ({"role": "root"}, "/role"),
        ({"role": None}, "/role"),
        ({"name": ""}, "/name"),
        ({"name": "a\x1b[31m"}, "/name"),
        ({"name": "a\nb"}, "/name"),
        ({"name": "x" * 81}, "/name"),
        ({"models": ["../../etc"]}, "/models/0"),
        ({"source_networks": ["everywhere"]}, "/source_networks/0"),
        ({"name": "a\n"}, "/name"),
        ({"name": "a\u202eb"}, "/name"),
        ({"name": "a\ud800"}, None),
        ({"source_networks": ["10.0.0.0/8", "10.0.0.1/33"]}, "/source_networks/1"),
        ({"source_networks": ["10.0.0.0/8\n"]}, "/source_networks/0"),
        ({"expires": "2030-01-01T00:00:00Z"}, ""),
        ({"expires_in_days": 0}, "/expires_in_days"),
        ({"expires_in_days": 1e9}, "/expires_in_days"),
        ({"expires_in_days": float("inf")}, None),
    ],
)
def test_what_is_not_understood_is_refused(parts, admin, body, pointer):
    before = len(parts.ring.all())
    body = {"name": "camera 1", "role": "device"} | body
    answer = parts.call(
        "POST", KEYS, admin, body=json.dumps(body), headers={"Content-Type": "application/json"}
    )
    assert answer.status_code == (400 if pointer is None else 422)
    assert len(parts.ring.all()) == before
    if pointer is not None:
        assert answer.json["errors"][0].get("pointer", "") == pointer


def test_the_list_leads_through_all_keys(parts, admin, clock):
    for number in range(6):
        clock.advance(1)
        issued(parts.ring, name=f"camera {number}")
    seen, cursor = [], None
    while True:
        params = {"limit": "3"} | ({"cursor": str(cursor)} if cursor else {})
        page = parts.get(KEYS, admin, params=params).json
        seen += [key["name"] for key in page["keys"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert seen == ["ann", *(f"camera {number}" for number in range(6))]


def test_the_list_tells_live_expired_and_revoked_keys_apart(parts, admin, clock):
    _, revoked = issued_with_id(parts.ring)
    _, expired = issued_with_id(parts.ring, expires_in_days=1e-5)
    clock.advance(2)
    parts.call("DELETE", f"{KEYS}/{revoked}", admin)
    for state, wanted in (("revoked", {revoked}), ("expired", {expired}), ("live", {admin[4:10]})):
        page = parts.get(KEYS, admin, params={"state": state}).json
        assert {key["id"] for key in page["keys"]} == wanted


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("limit=0", 422),
        ("limit=1001", 422),
        ("limit=1e9", 422),
        ("limit=1&limit=2", 400),
        ("cursor=nobody", 422),
        ("cursor=-1", 422),
        ("state=odd", 422),
        ("sort=name", 422),
    ],
)
def test_odd_queries_are_refused(parts, admin, query, status):
    assert parts.get(KEYS, admin, query_string=query).status_code == status


def test_a_revoked_key_is_gone_and_cannot_be_revoked_twice(parts, admin):
    _, key_id = issued_with_id(parts.ring)
    answer = parts.call("DELETE", f"{KEYS}/{key_id}", admin)
    assert (answer.status_code, answer.text) == (204, "")
    assert parts.get(f"{KEYS}/{key_id}", admin).status_code == 404
    assert parts.call("DELETE", f"{KEYS}/{key_id}", admin).status_code == 404


def test_an_expired_key_can_still_be_revoked(parts, admin, clock):
    _, key_id = issued_with_id(parts.ring, expires_in_days=1e-5)
    clock.advance(2)
    assert parts.call("DELETE", f"{KEYS}/{key_id}", admin).status_code == 204


def test_the_last_admin_key_is_told_why_it_must_stay(parts, admin):
    answer = parts.call("DELETE", f"{KEYS}/{admin[4:10]}", admin)
    assert answer.status_code == 409
    assert "last admin key" in answer.json["detail"]
    assert parts.get(KEYS, admin).status_code == 200


@pytest.mark.parametrize("key_id", ["nobody", "..%2f..%2fetc", "%00", "x" * 3000, "Ω"])
def test_odd_ids_are_not_found(parts, admin, key_id):
    assert parts.get(f"{KEYS}/{key_id}", admin).status_code == 404
    assert parts.call("DELETE", f"{KEYS}/{key_id}", admin).status_code == 404


@pytest.mark.parametrize("role", [None, Role.DEVICE, Role.OPERATOR])
def test_keys_are_for_admins(parts, admin, role):
    key = issued(parts.ring, role) if role else None
    status = 403 if role else 401
    for method, path in (
        ("GET", KEYS),
        ("POST", KEYS),
        ("GET", f"{KEYS}/{admin[4:10]}"),
        ("DELETE", f"{KEYS}/{admin[4:10]}"),
    ):
        assert parts.call(method, path, key).status_code == status


def test_a_page_beyond_the_end_is_empty(parts, admin):
    assert parts.get(KEYS, admin, params={"cursor": "99"}).json == {
        "keys": [],
        "next_cursor": None,
    }


def test_an_expiry_is_told_as_a_time(parts, admin):
    answer = create(parts, admin, expires_in_days=1)
    assert answer.json["created"] == "2026-09-21T14:13:20.000Z"
    assert answer.json["expires"] == "2026-09-22T14:13:20.000Z"
