import falcon
import falcon.testing
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from appliance.actions.callers import Role, local_admin
from appliance.actions.key_format import new_key
from appliance.actions.revoke_key import revoke_key
from appliance.clock import ManualClock
from appliance.web.middleware.access import AccessMiddleware
from tests.access_parts import DEVICE_ADDRESS, Parts, Probe, issued, issued_with_id, opened

ROUTES = ("/public", "/metrics", "/device", "/operator", "/admin", "/forgotten")


@pytest.fixture
def clock():
    return ManualClock()


@pytest.fixture
def database(tmp_path, clock):
    with opened(tmp_path / "state", clock) as database:
        yield database


@pytest.fixture
def parts(database, clock):
    return Parts(database, clock)


def credentials(parts, clock):
    """Return one key of each kind by its name."""
    revoked, revoked_id = issued_with_id(parts.ring, Role.ADMIN)
    expired = issued(parts.ring, Role.ADMIN, expires_in_days=1e-5)
    elsewhere = issued(parts.ring, Role.ADMIN, source_networks=("198.51.100.0/24",))
    clock.advance(2)
    revoke_key(parts.ring, revoked_id, caller=local_admin())
    return {
        "none": None,
        "bad": new_key()[0],
        "mistyped": issued(parts.ring, Role.ADMIN)[:-1] + "!",
        "empty": "",
        "revoked": revoked,
        "expired": expired,
        "elsewhere": elsewhere,
        "device": issued(parts.ring, Role.DEVICE),
        "operator": issued(parts.ring, Role.OPERATOR),
        "admin": issued(parts.ring, Role.ADMIN),
    }


#: Status of each credential on each of ROUTES, from an address outside every network.
TABLE = {
    "none": (200, 401, 401, 401, 401, 401),
    "bad": (200, 401, 401, 401, 401, 401),
    "mistyped": (200, 401, 401, 401, 401, 401),
    "empty": (200, 401, 401, 401, 401, 401),
    "revoked": (200, 401, 401, 401, 401, 401),
    "expired": (200, 401, 401, 401, 401, 401),
    "elsewhere": (200, 401, 401, 401, 401, 401),
    "device": (200, 200, 200, 403, 403, 403),
    "operator": (200, 200, 200, 200, 403, 403),
    "admin": (200, 200, 200, 200, 200, 200),
}


def test_every_kind_of_key_opens_exactly_what_the_table_says(parts, clock):
    keys = credentials(parts, clock)
    found = {
        name: tuple(parts.get(route, key).status_code for route in ROUTES)
        for name, key in keys.items()
    }
    assert found == TABLE


def test_bearer_opens_the_same_as_x_api_key(parts):
    key = issued(parts.ring, Role.OPERATOR)
    for route, status in zip(ROUTES, TABLE["operator"], strict=True):
        answer = parts.get(route, headers={"Authorization": f"Bearer {key}"})
        assert answer.status_code == status


def test_a_revoked_key_is_dead_on_the_next_request(parts):
    key, key_id = issued_with_id(parts.ring)
    admin = issued(parts.ring, Role.ADMIN)
    assert parts.get("/device", key).status_code == 200
    assert parts.call("DELETE", f"/api/v1/keys/{key_id}", admin).status_code == 204
    answer = parts.get("/device", key)
    assert answer.status_code == 401
    assert "revoked" in answer.json["detail"]


def test_a_refusal_for_want_of_a_key_says_how_to_send_one(parts):
    answer = parts.get("/device")
    assert answer.headers["WWW-Authenticate"] == "Bearer"
    assert "X-API-Key" in answer.json["detail"]
    wrong = parts.get("/device", new_key()[0])
    assert wrong.headers["WWW-Authenticate"] == 'Bearer error="invalid_token"'


def test_two_different_keys_in_one_request_are_refused(parts):
    key, other = issued(parts.ring), issued(parts.ring)
    both = parts.get("/device", key, headers={"Authorization": f"Bearer {other}"})
    assert both.status_code == 401
    same = parts.get("/device", key, headers={"Authorization": f"Bearer {key}"})
    assert same.status_code == 200


@pytest.mark.parametrize("name", ["api_key", "X-API-Key", "apikey", "access_token", "anything"])
def test_a_key_in_the_address_is_refused_even_beside_a_good_one(parts, name):
    key = issued(parts.ring)
    answer = parts.get("/device", key, query_string=f"{name}={key}")
    assert answer.status_code == 401
    assert "never goes into the address" in answer.json["detail"]
    assert key not in answer.text


def test_a_scope_holds_wherever_the_path_names_a_model(parts):
    key = issued(parts.ring, models=("step",))
    assert parts.get("/models/step", key).status_code == 200
    answer = parts.get("/models/vehicle-type", key)
    assert answer.status_code == 403
    assert "only these models: step" in answer.json["detail"]


@pytest.mark.parametrize(
    ("address", "status"),
    [
        ("127.0.0.1", 200),
        ("10.1.2.3", 200),
        ("192.168.4.5", 200),
        ("::ffff:10.1.2.3", 200),
        ("fd00::5", 200),
        ("192.0.2.7", 401),
        ("2001:db8::1", 401),
    ],
)
def test_metrics_are_open_to_the_configured_networks(parts, address, status):
    assert parts.get("/metrics", remote_addr=address).status_code == status


def test_a_wrong_key_does_not_close_metrics_to_an_open_network(parts):
    assert parts.get("/metrics", new_key()[0], remote_addr="10.0.0.1").status_code == 200


@pytest.mark.parametrize("header", ["X-Forwarded-For", "X-Real-IP", "Forwarded"])
def test_the_peer_is_the_socket_and_no_header(database, clock, header):
    parts = Parts(database, clock, required=False)
    value = "for=127.0.0.1" if header == "Forwarded" else "127.0.0.1"
    answer = parts.get("/device", headers={header: value})
    assert answer.status_code == 401
    key = issued(parts.ring)
    answer = parts.get("/device", key, headers={header: value})
    assert answer.json["address"] == DEVICE_ADDRESS


def test_a_server_that_names_no_peer_makes_nobody_local(database, clock):
    parts = Parts(database, clock, required=False)
    environ = falcon.testing.create_environ("/device")
    assert "REMOTE_ADDR" not in environ
    started = []
    list(parts.app(environ, lambda status, headers, *_: started.append(status)))
    assert started == ["401 Unauthorized"]


def test_without_required_keys_loopback_is_an_operator(database, clock):
    parts = Parts(database, clock, required=False)
    found = tuple(parts.get(route, remote_addr="127.0.0.1").status_code for route in ROUTES)
    assert found == (200, 200, 200, 200, 403, 403)


def test_a_web_page_of_another_site_cannot_use_the_open_loopback(database, clock):
    parts = Parts(database, clock, required=False)
    for headers, status in (
        ({"Origin": "http://evil.example"}, 401),
        ({"Origin": "null"}, 401),
        ({"Sec-Fetch-Site": "cross-site"}, 401),
        ({"Host": "localhost:8080", "Origin": "http://localhost:8080"}, 200),
        ({"Sec-Fetch-Site": "same-origin"}, 200),
    ):
        answer = parts.get("/device", remote_addr="127.0.0.1", headers=headers)
        assert answer.status_code == status, headers


def test_the_admin_socket_administers_without_a_key_or_a_limit(database, clock):
    parts = Parts(database, clock, anonymous_burst=1)
    for _ in range(5):
        answer = parts.get("/admin", extras={"appliance.admin_socket": True})
        assert answer.status_code == 200
        assert answer.json["name"] == "local-admin"
    assert "RateLimit" not in answer.headers


@pytest.mark.parametrize("forged", ["True", 1, "1"])
def test_nothing_but_the_server_itself_opens_the_admin_door(parts, forged):
    assert parts.get("/admin", extras={"appliance.admin_socket": forged}).status_code == 401
    assert parts.get("/admin", headers={"appliance.admin_socket": "True"}).status_code == 401


def test_every_answer_tells_what_is_left(parts):
    key = issued(parts.ring)
    answer = parts.get("/device", key)
    assert answer.headers["RateLimit-Policy"] == '"default";q=4000;w=2'
    assert answer.headers["RateLimit"] == '"default";r=3999;t=1'
    assert parts.get("/public").headers["RateLimit-Policy"] == '"default";q=200;w=4'


def test_beyond_the_limit_comes_429_with_the_time_to_wait(database, clock):
    parts = Parts(database, clock, burst=2, requests_per_second=0.1)
    key = issued(parts.ring)
    assert [parts.get("/device", key).status_code for _ in range(3)] == [200, 200, 429]
    answer = parts.get("/device", key)
    assert answer.headers["RateLimit"] == '"default";r=0;t=20'
    assert 10 <= int(answer.headers["Retry-After"]) <= 13
    clock.jump(86400)
    assert parts.get("/device", key).status_code == 429
    clock.advance(10)
    assert parts.get("/device", key).status_code == 200


def test_guessing_keys_ends_in_429_while_good_keys_go_on(parts):
    good = issued(parts.ring)
    statuses = [parts.get("/device", new_key()[0]).status_code for _ in range(150)]
    assert statuses[0] == 401
    assert statuses[-1] == 429
    assert set(statuses) == {401, 429}
    answer = parts.get("/device", new_key()[0])
    assert answer.headers["RateLimit-Policy"] == '"default";q=100;w=100'
    assert answer.headers["RateLimit"].startswith('"default";r=0;t=')
    assert parts.get("/device", good).status_code == 200


def test_unknown_paths_and_methods_need_no_key_to_be_refused(parts):
    assert parts.get("/nowhere").status_code == 404
    assert parts.call("PUT", "/admin").status_code == 405


def test_unknown_paths_count_against_the_limit(database, clock):
    parts = Parts(database, clock, anonymous_burst=2)
    assert [parts.get("/nowhere").status_code for _ in range(3)] == [404, 404, 429]


hostile = st.text(st.characters(max_codepoint=255, exclude_characters="\r\n"), max_size=400)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(x_api_key=st.none() | hostile, authorization=st.none() | hostile)
def test_no_header_gets_in_or_breaks_anything(parts, x_api_key, authorization):
    headers = {"X-API-Key": x_api_key, "Authorization": authorization}
    headers = {name: value for name, value in headers.items() if value is not None}
    environ = {"HTTP_" + name.upper().replace("-", "_"): value for name, value in headers.items()}
    answer = parts.get("/device", extras=environ)
    assert answer.status_code in (401, 429)


@pytest.mark.parametrize(
    "value", ["iak_" * 20_000, "\x00", "Bearer", "\xff" * 47, "iak_" + "0" * 43]
)
def test_huge_and_odd_keys_are_only_401(parts, value):
    assert parts.get("/device", extras={"HTTP_X_API_KEY": value}).status_code == 401
    assert parts.get("/device", extras={"HTTP_AUTHORIZATION": value}).status_code == 401
    bearer = {"HTTP_AUTHORIZATION": "Bearer " + value}
    assert parts.get("/device", extras=bearer).status_code == 401


def test_a_key_inside_the_body_counts_where_no_header_holds_one(parts):
    key, other = issued(parts.ring, name="inside"), issued(parts.ring, name="outside")
    asked = []

    def key_in_body(request):
        asked.append(request.path)
        return key

    app = falcon.App(
        middleware=[AccessMiddleware(parts.gate, {"/device": "device"}, key_in_body=key_in_body)]
    )
    app.add_route("/device", Probe(), suffix="device")
    client = falcon.testing.TestClient(app)
    inside = client.simulate_get("/device", remote_addr=DEVICE_ADDRESS)
    outside = client.simulate_get(
        "/device", remote_addr=DEVICE_ADDRESS, headers={"X-API-Key": other}
    )
    assert (inside.json["name"], outside.json["name"]) == ("inside", "outside")
    assert asked == ["/device"], "a body is not looked into where a header says who calls"
