"""One description makes the responder, and the document reads the same description."""

from typing import Any

import falcon
import msgspec

from appliance.errors import NotFound
from appliance.web.openapi import Route
from appliance.web.operation import Access, Operation, offer_head, operation, operation_of
from tests.web.routed import Routed


class Search(msgspec.Struct):
    limit: int = 5


class Body(msgspec.Struct, forbid_unknown_fields=True):
    name: str


class Told(msgspec.Struct):
    heard: str


class Things:
    calls: int = 0

    @operation(summary="Search", access=Access.DEVICE, query=Search, result=Told)
    def on_get(self, request: falcon.Request, response: falcon.Response, *, query: Search) -> Told:
        """Say what was understood."""
        self.calls += 1
        return Told(str(query.limit))

    @operation(summary="Make", access=Access.ADMIN, body=Body, result=Told, status=201)
    def on_post(self, request: falcon.Request, response: falcon.Response, *, body: Body) -> Told:
        """Say what was understood."""
        self.calls += 1
        return Told(body.name)

    @operation(summary="Remove", access=Access.ADMIN, status=204)
    def on_delete_one(
        self, request: falcon.Request, response: falcon.Response, *, thing: str
    ) -> None:
        """Do it."""
        self.calls += 1

    @operation(summary="Ask", access=Access.PUBLIC, any_query=True, problems=(NotFound,))
    def on_get_one(
        self, request: falcon.Request, response: falcon.Response, *, thing: str
    ) -> Told:
        """Answer another status than the described one."""
        response.status = 503
        return Told(thing)

    @operation(summary="Perhaps", access=Access.PUBLIC, body=Body, body_required=False)
    def on_put(
        self, request: falcon.Request, response: falcon.Response, *, body: Body | None
    ) -> Told:
        """Tell whether there was a body."""
        return Told("nothing" if body is None else body.name)

    @operation(
        summary="Unpack", access=Access.PUBLIC, consumes={"text/plain": {}}, takes_packed=True
    )
    def on_post_one(
        self, request: falcon.Request, response: falcon.Response, *, thing: str
    ) -> Told:
        """Read the body by itself, however it is packed."""
        return Told(request.bounded_stream.read().decode())

    def on_patch(self, request: falcon.Request, response: falcon.Response) -> None:
        """Answer without any description."""


def routed() -> tuple[Things, Routed]:
    things = Things()
    return things, Routed(Route("/things", things), Route("/things/{thing}", things, "one"))


def test_a_method_gets_what_was_parsed_and_its_result_becomes_json() -> None:
    _, served = routed()
    answer = served.get("/things", query_string="limit=3")
    assert (answer.status_code, answer.json) == (200, {"heard": "3"})
    assert answer.headers["content-type"] == "application/json"


def test_a_created_thing_has_the_status_that_was_described() -> None:
    _, served = routed()
    answer = served.post("/things", b'{"name":"a"}', headers={"Content-Type": "application/json"})
    assert (answer.status_code, answer.json) == (201, {"heard": "a"})


def test_a_method_without_a_result_answers_no_body() -> None:
    _, served = routed()
    answer = served.client.simulate_delete("/things/a")
    assert (answer.status_code, answer.content) == (204, b"")


def test_a_method_may_set_another_status_itself() -> None:
    _, served = routed()
    answer = served.get("/things/a", query_string="anything=1&anything=2")
    assert (answer.status_code, answer.json) == (503, {"heard": "a"})


def test_what_does_not_fit_never_reaches_the_method() -> None:
    things, served = routed()
    json: dict[str, Any] = {"headers": {"Content-Type": "application/json"}}
    answers = [
        served.get("/things", query_string="limit=x"),
        served.get("/things", query_string="other=1"),
        served.post("/things", b'{"nam":"a"}', **json),
        served.post("/things", b"{", **json),
        served.post("/things", b'{"name":"a"}'),
        served.post("/things", b'{"name":"a"}', query_string="force=1", **json),
        served.client.simulate_delete("/things/a", query_string="force=1"),
    ]
    assert [answer.status_code for answer in answers] == [422, 422, 422, 400, 415, 422, 422]
    assert things.calls == 0


def test_an_optional_body_may_be_missing() -> None:
    _, served = routed()
    assert served.client.simulate_put("/things").json == {"heard": "nothing"}
    answer = served.client.simulate_put("/things", json={"name": "a"})
    assert answer.json == {"heard": "a"}


def test_the_description_is_found_by_method_and_suffix() -> None:
    things = Things()
    found = operation_of(things, "GET", None)
    assert isinstance(found, Operation)
    assert (found.summary, found.access, found.query) == ("Search", Access.DEVICE, Search)
    removal = operation_of(things, "DELETE", "one")
    assert removal is not None
    assert (removal.summary, removal.status) == ("Remove", 204)


def test_what_nobody_described_has_no_operation() -> None:
    assert operation_of(Things(), "PATCH", None) is None
    assert operation_of(Things(), "DELETE", None) is None
    assert operation_of(Things(), "GET", "other") is None


def test_a_packed_body_is_refused_by_its_header_unless_the_operation_unpacks() -> None:
    things, served = routed()
    packed = {"Content-Encoding": "gzip", "Content-Type": "application/json"}
    refused = served.post("/things", b'{"name":"a"}', headers=packed)
    assert refused.status_code == 415
    assert "'gzip'" in refused.json["detail"]
    assert things.calls == 0
    plain = {"Content-Encoding": "Identity", "Content-Type": "application/json"}
    assert served.post("/things", b'{"name":"a"}', headers=plain).status_code == 201
    assert served.post("/things/a", b"anything", headers=packed).json == {"heard": "anything"}
    assert served.get("/things/a", headers=packed).status_code == 503


def test_a_head_is_answered_where_everybody_may_get() -> None:
    things, _ = routed()
    offer_head(things, None)  # GET is for devices there
    offer_head(things, "one")
    served = Routed(Route("/things", things), Route("/things/{thing}", things, "one"))
    assert served.client.simulate_head("/things").status_code == 405
    told, got = served.client.simulate_head("/things/a"), served.get("/things/a")
    assert (told.status_code, told.content) == (got.status_code, b"")
    assert told.headers["content-length"] == got.headers["content-length"]
