"""The document says what the operations do, and its every reference leads somewhere."""

import json
import re
from collections.abc import Iterator
from typing import Annotated, Any

import falcon
import jsonschema_rs
import msgspec
import pytest
from msgspec import Meta

from appliance import __version__
from appliance.config import Limits
from appliance.errors import Conflict, NotFound
from appliance.tasks.registry import TASKS
from appliance.web.openapi import Route, document, operations
from appliance.web.operation import Access, operation
from appliance.web.resources.predict import Predict


class Search(msgspec.Struct, kw_only=True):
    name: Annotated[str, Meta(max_length=5, description="Whose.")]
    limit: Annotated[int, Meta(ge=1, le=9)] = 3
    kinds: tuple[str, ...] = ()


class Made(msgspec.Struct):
    id: str


class Wanted(msgspec.Struct):
    name: str


Request, Response = falcon.Request, falcon.Response


class Things:
    @operation(summary="List", access=Access.DEVICE, query=Search, result=Made, tag="Things")
    def on_get(self, request: Request, response: Response, *, query: Search) -> None:
        """List."""

    @operation(
        summary="Make",
        access=Access.ADMIN,
        body=Wanted,
        body_required=False,
        result=Made,
        status=201,
        problems=(Conflict,),
        headers={"X-Order": {"type": "integer", "description": "Which."}},
        answer_headers={"Location": "Where it is."},
    )
    def on_post(self, request: Request, response: Response, *, body: Wanted | None) -> None:
        """Make."""

    @operation(
        summary="Watch",
        access=Access.METRICS,
        produces={"text/plain": {"type": "string"}},
        also={503: Made},
        description="Now.",
    )
    def on_get_one(self, request: Request, response: Response, *, key_id: str) -> None:
        """Watch."""

    @operation(
        summary="Infer",
        access=Access.PUBLIC,
        consumes={"image/png": {"type": "string", "format": "binary"}},
        dialect="v2",
        problems=(NotFound,),
    )
    def on_post_one(self, request: Request, response: Response, *, key_id: str) -> None:
        """Infer."""

    def on_delete(self, request: Request, response: Response) -> None:
        """Answer without any description."""


ROUTES = [Route("/things", Things()), Route("/things/{key_id}", Things(), "one")]


@pytest.fixture
def told() -> dict[str, Any]:
    """The document as clients read it."""
    return json.loads(msgspec.json.encode(document(ROUTES)))  # type: ignore[no-any-return]


def references(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        for name, value in node.items():
            if name == "$ref":
                yield value
            yield from references(value)
    elif isinstance(node, list):
        for value in node:
            yield from references(value)


def test_the_head_tells_the_version_and_the_standard(told: dict[str, Any]) -> None:
    assert told["openapi"] == "3.1.0"
    assert told["info"]["version"] == __version__
    assert {"title", "license", "description"} <= set(told["info"])


def test_every_schema_is_valid_json_schema(told: dict[str, Any]) -> None:
    for name, schema in told["components"]["schemas"].items():
        assert jsonschema_rs.Draft202012Validator(schema | {"components": told["components"]})
        assert jsonschema_rs.meta.is_valid(schema), name


def test_every_reference_leads_somewhere(told: dict[str, Any]) -> None:
    names = {reference.removeprefix("#/components/schemas/") for reference in references(told)}
    assert names
    assert names <= set(told["components"]["schemas"])


def test_what_is_described_is_listed_and_nothing_else() -> None:
    listed = [(path, method) for path, method, _ in operations(ROUTES)]
    assert listed == [
        ("/things", "GET"),
        ("/things", "POST"),
        ("/things/{key_id}", "GET"),
        ("/things/{key_id}", "POST"),
    ]


def test_query_parameters_come_from_the_struct(told: dict[str, Any]) -> None:
    parameters = {one["name"]: one for one in told["paths"]["/things"]["get"]["parameters"]}
    assert set(parameters) == {"name", "limit", "kinds"}
    assert parameters["name"]["required"]
    assert parameters["name"]["description"] == "Whose."
    assert not parameters["limit"]["required"]
    assert parameters["limit"]["schema"]["maximum"] == 9
    assert parameters["limit"]["schema"]["default"] == 3
    assert parameters["kinds"]["explode"] is False, "lists are separated by commas"


def test_a_field_of_the_path_is_a_parameter_with_its_form(told: dict[str, Any]) -> None:
    (field,) = told["paths"]["/things/{key_id}"]["get"]["parameters"]
    assert (field["name"], field["in"], field["required"]) == ("key_id", "path", True)
    assert re.fullmatch(field["schema"]["pattern"], "a1B2c3")
    assert not re.fullmatch(field["schema"]["pattern"], "../etc")


def test_bodies_answers_and_headers_are_told(told: dict[str, Any]) -> None:
    make = told["paths"]["/things"]["post"]
    assert make["requestBody"]["required"] is False
    assert list(make["requestBody"]["content"]) == ["application/json"]
    created = make["responses"]["201"]
    reference = created["content"]["application/json"]["schema"]["$ref"]
    assert reference == "#/components/schemas/Made"
    assert created["headers"]["Location"]["description"] == "Where it is."
    assert [one["name"] for one in make["parameters"]] == ["X-Order"]
    watch = told["paths"]["/things/{key_id}"]["get"]
    assert list(watch["responses"]["200"]["content"]) == ["text/plain"]
    assert watch["responses"]["503"]["content"]["application/json"]["schema"]["$ref"] == reference


def test_the_problems_of_an_operation_are_told(told: dict[str, Any]) -> None:
    make = told["paths"]["/things"]["post"]["responses"]
    for status in ("400", "401", "403", "409", "413", "415", "422", "429", "503"):
        assert list(make[status]["content"]) == ["application/problem+json"], status
    assert "The current state forbids this" in make["409"]["description"]
    public = told["paths"]["/things/{key_id}"]["post"]["responses"]
    assert "401" not in public
    assert "403" not in public


def test_a_dialect_has_its_own_error(told: dict[str, Any]) -> None:
    missing = told["paths"]["/things/{key_id}"]["post"]["responses"]["404"]
    assert list(missing["content"]) == ["application/json"]
    name = missing["content"]["application/json"]["schema"]["$ref"].rpartition("/")[2]
    assert list(told["components"]["schemas"][name]["properties"]) == ["error"]


def test_who_may_call_is_told(told: dict[str, Any]) -> None:
    keys = [{"ApiKey": []}, {"Bearer": []}]
    things, thing = told["paths"]["/things"], told["paths"]["/things/{key_id}"]
    assert things["get"]["security"] == keys
    assert "role device" in things["get"]["description"]
    assert "role admin" in things["post"]["description"]
    assert thing["get"]["security"] == [{}, *keys]
    assert thing["get"]["description"] == "Now."
    assert thing["post"]["security"] == []


def test_every_operation_has_an_identifier_of_its_own(told: dict[str, Any]) -> None:
    found = [one["operationId"] for path in told["paths"].values() for one in path.values()]
    assert len(set(found)) == len(found) == 4


def test_the_result_of_a_prediction_is_that_of_one_of_the_tasks() -> None:
    told = document([Route("/predict/{model}", Predict(None, Limits()))])  # type: ignore[arg-type]
    schemas = told["components"]["schemas"]
    references = [one["$ref"] for one in schemas["Answer"]["properties"]["result"]["anyOf"]]
    assert "#/components/schemas/Detection" in references
    assert len(references) == len(TASKS)
    for reference in references:
        assert reference.rpartition("/")[2] in schemas
    content = told["paths"]["/predict/{model}"]["post"]["responses"]["200"]["content"]
    assert set(content) == {"application/json", "image/jpeg", "image/png"}
