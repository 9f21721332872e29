"""Whatever goes wrong leaves as one shape, without a word of the inside."""

import logging
from typing import Any

import falcon
import falcon.testing
import pytest

from appliance import errors
from appliance.errors import Problem, ProblemDocument
from appliance.web.openapi import Route
from appliance.web.problems import PROBLEM_TYPE, ErrorShapes, problem_body, translated
from tests.web.routed import Routed


class Broken:
    """Raises what it is told to."""

    fault: BaseException = errors.Conflict("Not now.")

    def on_get(self, request: falcon.Request, response: falcon.Response) -> None:
        """Have begun an answer before the fault comes."""
        response.data = b"half an answer"
        response.stream = [b"more"]  # type: ignore[assignment]
        response.content_type = "image/png"
        raise self.fault


def dialect(problem: Problem, request_id: str) -> tuple[int, str, bytes]:
    return 499, "text/plain", f"{problem.slug} {request_id}".encode()


@pytest.fixture
def broken() -> Broken:
    return Broken()


@pytest.fixture
def served(broken: Broken) -> Routed:
    routes = [Route(path, broken) for path in ("/thing", "/v2/thing", "/v2extra")]
    return Routed(*routes, dialects={"/v2": dialect})


def get(served: Routed, fault: BaseException, broken: Broken) -> falcon.testing.Result:
    broken.fault = fault
    return served.get("/thing", headers={"X-Request-ID": "r-7"})


@pytest.mark.parametrize(
    "kind",
    [kind for kind in errors.all_problems().values() if not issubclass(kind, errors.Fault)],
    ids=lambda kind: kind.slug,
)
def test_every_problem_leaves_in_the_shape_of_rfc_9457(
    served: Routed, broken: Broken, kind: type[Problem]
) -> None:
    answer = get(served, kind("What to do next.", pointer="/a/0"), broken)
    assert answer.status_code == kind.status
    assert answer.headers["content-type"] == PROBLEM_TYPE
    assert answer.json == {
        "type": f"/problems/{kind.slug}",
        "title": kind.title,
        "status": kind.status,
        "detail": "What to do next.",
        "request_id": "r-7",
        "errors": [{"detail": "What to do next.", "pointer": "/a/0"}],
    }


def test_a_problem_tells_when_to_come_back(served: Routed, broken: Broken) -> None:
    for seconds, told in ((0.2, "1"), (7.6, "8")):
        answer = get(served, errors.Overloaded("Full.", retry_after_seconds=seconds), broken)
        assert answer.headers["retry-after"] == told
    assert "retry-after" not in get(served, errors.NotFound("No."), broken).headers


def test_an_unexpected_fault_tells_nothing_of_the_inside(
    served: Routed, broken: Broken, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR):
        answer = get(served, RuntimeError("secret-of-the-inside"), broken)
    assert answer.status_code == 500
    assert b"secret-of-the-inside" not in answer.content
    assert b"RuntimeError" not in answer.content
    assert answer.json["request_id"] == "r-7"
    assert "secret-of-the-inside" in caplog.text
    assert [record.__dict__["request_id"] for record in caplog.records] == ["r-7"]


def test_the_log_line_names_the_problem(served: Routed, broken: Broken) -> None:
    get(served, errors.Conflict("Not now."), broken)
    assert [(line.status, line.problem) for line in served.lines] == [(409, "conflict")]


def test_a_dialects_paths_have_its_own_shape_and_only_those(
    served: Routed, broken: Broken
) -> None:
    headers = {"X-Request-ID": "r-8"}
    answer = served.get("/v2/thing", headers=headers)
    assert (answer.status_code, answer.text) == (499, "conflict r-8")
    assert served.get("/v2/nowhere", headers=headers).text == "not-found r-8"
    assert served.get("/v2extra").json["status"] == 409


def test_a_route_that_is_not_there_is_told_with_where_to_look(served: Routed) -> None:
    answer = served.get("/nowhere")
    assert (answer.status_code, answer.headers["content-type"]) == (404, PROBLEM_TYPE)
    assert "/nowhere" in answer.json["detail"]
    assert "/docs" in answer.json["detail"]


def test_a_method_that_is_not_there_is_told_with_those_that_are(served: Routed) -> None:
    answer = served.post("/thing")
    assert (answer.status_code, answer.json["type"]) == (405, "/problems/method-not-allowed")
    assert "GET" in answer.headers["allow"]


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (falcon.HTTPBadRequest(description="why"), errors.MalformedRequest),
        (falcon.HTTPContentTooLarge(description="why"), errors.PayloadTooLarge),
        (falcon.HTTPUnsupportedMediaType(description="why"), errors.UnsupportedMedia),
        (falcon.HTTPServiceUnavailable(description="why"), errors.Unavailable),
        (falcon.HTTPGone(description="why"), errors.MalformedRequest),
        (falcon.HTTPBadGateway(description="why"), errors.Internal),
    ],
)
def test_falcons_own_errors_become_ours(error: Any, kind: type[Problem]) -> None:
    request = falcon.Request(falcon.testing.create_environ(path="/thing"))
    problem = translated(error, request)
    assert type(problem) is kind
    assert problem.detail == "why"


def test_an_endless_path_is_cut_in_the_answer(served: Routed) -> None:
    assert len(served.get("/" + "x" * 5000).json["detail"]) < 400


def test_the_bytes_of_a_problem_are_the_same_without_an_app() -> None:
    status, media_type, body = problem_body(errors.NotFound("No."), "r1")
    assert (status, media_type) == (404, PROBLEM_TYPE)
    assert b'"request_id":"r1"' in body
    assert ErrorShapes({}).body(errors.NotFound("No."), "/thing", "r1")[2] == body
    assert errors.NotFound("No.").document("r1") == ProblemDocument(
        "/problems/not-found", errors.NotFound.title, 404, "No.", "r1"
    )
