"""The appliance explains itself without any other machine."""

import re

import pytest

from appliance import errors
from appliance.web.openapi import Route
from appliance.web.operation import Access, operation_of
from appliance.web.resources.documents import Documents
from tests.web.routed import Routed


@pytest.fixture
def documents() -> Documents:
    return Documents()


@pytest.fixture
def served(documents: Documents) -> Routed:
    return Routed(
        Route("/openapi.json", documents, "openapi"),
        Route("/docs", documents, "docs"),
        Route("/docs/{file_name}", documents, "file"),
        Route("/problems/{slug}", documents, "problem"),
    )


def test_the_document_is_the_one_it_was_given(documents: Documents, served: Routed) -> None:
    documents.describe({"openapi": "3.1.0", "paths": {}})
    answer = served.get("/openapi.json")
    assert answer.json == {"openapi": "3.1.0", "paths": {}}
    assert answer.headers["content-type"] == "application/json"


def test_the_page_needs_nothing_from_other_machines(served: Routed) -> None:
    page = served.get("/docs")
    assert page.headers["content-type"].startswith("text/html")
    assert "//" not in re.sub(r"<!.*?>", "", page.text)
    wanted = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    assert len(wanted) == 4
    for path in wanted:
        answer = served.get(path)
        assert (answer.status_code, bool(answer.content)) == (200, True), path


def test_the_page_may_run_only_its_own_scripts(served: Routed) -> None:
    page = served.get("/docs")
    policy = page.headers["content-security-policy"]
    assert "script-src 'self';" in policy
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert not re.search(r"<script>|<script [^>]*>[^<]", page.text), "no script inside the page"


def test_the_page_is_handed_the_document_under_a_version_it_shows(served: Routed) -> None:
    """For another version than 3.0.n this Swagger UI shows a sentence, and not one operation."""
    bundle = served.get("/docs/swagger-ui-bundle.js").text
    known = re.search(r'openapi"\);return"string"==typeof t&&\(.{1,40}\(t,"(.+?)"\)', bundle)
    assert known is not None, "another Swagger UI: find out which versions it shows"
    script = served.get("/docs/start.js").text
    handed = re.search(r'spec\.openapi = "(.+)";', script)
    assert handed is not None
    assert handed[1].startswith(known[1])
    assert "SwaggerUIBundle({spec," in script


def test_the_pages_script_asks_for_this_appliances_document(served: Routed) -> None:
    script = served.get("/docs/start.js")
    assert script.headers["content-type"].startswith("text/javascript")
    assert '"/openapi.json"' in script.text


@pytest.mark.parametrize(
    "name", ["index.html", "..", "../documents.py", "%2e%2e%2f__init__.py", "x" * 5000]
)
def test_no_other_file_is_given_out(served: Routed, name: str) -> None:
    answer = served.get(f"/docs/{name}")
    assert answer.status_code == 404
    assert len(answer.json["detail"]) < 400


@pytest.mark.parametrize("slug", errors.all_problems())
def test_every_type_a_problem_can_have_is_a_page(served: Routed, slug: str) -> None:
    kind = errors.all_problems()[slug]
    page = served.get(kind("x").document().type)
    assert page.status_code == 200
    assert page.headers["content-type"].startswith("text/html")
    assert f"HTTP status {kind.status}" in page.text


def test_a_problem_that_does_not_exist_is_not_found(served: Routed) -> None:
    answer = served.get("/problems/<script>alert(1)</script>")
    assert (answer.status_code, answer.headers["content-type"]) == (
        404,
        "application/problem+json",
    )


def test_all_of_it_can_be_read_without_a_key(documents: Documents) -> None:
    for suffix in ("openapi", "docs", "file", "problem"):
        described = operation_of(documents, "GET", suffix)
        assert described is not None
        assert described.access is Access.PUBLIC
