"""Every request has an id, a line in the log and a place in the metrics, however it ends."""

import re
import time
from typing import Any

import falcon
import falcon.testing
import pytest

from appliance.actions.callers import anonymous
from appliance.errors import RateLimited
from appliance.web.middleware.requests import Requests
from appliance.web.openapi import Route
from tests.actions.examples import ADMIN, a_device
from tests.web.routed import Observed, Routed

UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}")


class Thing:
    """Tells its request id, or fails."""

    def on_get(self, request: falcon.Request, response: falcon.Response, name: str) -> None:
        """Answer, or raise what the name says."""
        if name == "limited":
            raise RateLimited("Too many.")
        if name == "broken":
            raise RuntimeError("a bug")
        response.media = {
            "id": request.context.request_id,
            "received": request.context.received_monotonic,
        }


@pytest.fixture
def served() -> Routed:
    return Routed(Route("/things/{name}", Thing()))


def get(served: Routed, name: str = "a", **given: Any) -> falcon.testing.Result:
    return served.get(f"/things/{name}", **given)


def test_a_sane_id_of_the_client_is_kept_and_echoed(served: Routed) -> None:
    for given in ("a", "A-z.0_9:x", "x" * 64):
        answer = get(served, headers={"X-Request-ID": given})
        assert answer.headers["x-request-id"] == answer.json["id"] == given


@pytest.mark.parametrize("given", ["", "a b", "x" * 65, "é", "<script>", "a\tb"])
def test_any_other_id_is_replaced_by_one_of_ours(served: Routed, given: str) -> None:
    answer = get(served, headers={"X-Request-ID": given})
    assert UUID.fullmatch(answer.headers["x-request-id"])


def test_without_an_id_each_request_gets_its_own(served: Routed) -> None:
    first, second = (get(served).headers["x-request-id"] for _ in range(2))
    assert UUID.fullmatch(first)
    assert first < second


@pytest.mark.parametrize("path", ["/things/a", "/things/limited", "/things/broken", "/nowhere"])
def test_every_answer_has_its_id_and_is_not_to_be_sniffed(served: Routed, path: str) -> None:
    answer = served.get(path)
    assert answer.headers["x-request-id"]
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert len(served.lines) == len(served.observed.finished) == 1


def test_time_counts_from_when_the_server_had_the_whole_request(served: Routed) -> None:
    received = time.monotonic() - 5
    answer = get(served, extras={"appliance.received_monotonic": received})
    assert answer.json["received"] == received
    assert served.observed.finished[0]["seconds"] >= 5
    assert served.lines[0].duration_ms >= 5000


def test_without_such_a_server_time_counts_from_here(served: Routed) -> None:
    before = time.monotonic()
    assert get(served).json["received"] >= before


def test_metrics_have_the_routes_template_never_the_path(served: Routed) -> None:
    get(served, "secret")
    served.get("/nowhere/at/all")
    told = [(one["route"], one["method"], one["status"]) for one in served.observed.finished]
    assert told == [("/things/{name}", "GET", 200), ("unmatched", "GET", 404)]


def test_the_line_says_who_asked_what_and_how_it_ended(served: Routed) -> None:
    served.get(
        "/things/limited",
        headers={"X-Request-ID": "r1", "User-Agent": "probe/1"},
        remote_addr="192.0.2.7",
    )
    (line,) = served.lines
    assert (line.request_id, line.method, line.path) == ("r1", "GET", "/things/limited")
    assert (line.route, line.status, line.problem) == ("/things/{name}", 429, "rate-limited")
    assert (line.key, line.address, line.user_agent) == ("admin1", "192.0.2.7", "probe/1")


def test_what_a_client_makes_endless_is_cut(served: Routed) -> None:
    served.get("/" + "x" * 3000, headers={"User-Agent": "u" * 3000})
    (line,) = served.lines
    assert len(line.path) <= 300
    assert len(line.user_agent) <= 200


def test_a_line_never_holds_the_query_or_a_key(served: Routed) -> None:
    headers = {"X-API-Key": "ia_secret", "Authorization": "Bearer secret"}
    get(served, query_string="token=secret", headers=headers)
    assert "secret" not in str(served.lines)


@pytest.mark.parametrize(
    ("caller", "kind"),
    [
        (a_device(), "key"),
        (ADMIN, "key"),
        (anonymous("192.0.2.9"), "address"),
        (None, "address"),
    ],
)
def test_a_refusal_by_a_limit_is_counted_by_whose_it_was(
    served: Routed, caller: Any, kind: str
) -> None:
    served.caller = caller
    get(served, "limited")
    assert served.observed.limited == [kind]
    get(served, "a")
    assert served.observed.limited == [kind]


def test_lines_can_be_switched_off() -> None:
    observed = Observed()
    app = falcon.App(middleware=[Requests(observed, None)])
    app.add_route("/things/{name}", Thing())
    assert falcon.testing.TestClient(app).simulate_get("/things/a").status_code == 200
    assert len(observed.finished) == 1


def test_the_limit_of_json_bodies_goes_with_the_request() -> None:
    asked = []

    class Limited:
        def on_get(self, request: falcon.Request, response: falcon.Response) -> None:
            asked.append(request.context.most_json_bytes)

    app = falcon.App(middleware=[Requests(Observed(), None, most_json_bytes=77)])
    app.add_route("/", Limited())
    falcon.testing.TestClient(app).simulate_get("/")
    assert asked == [77]
