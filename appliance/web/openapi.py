"""The OpenAPI 3.1 document, written from the very operations that parse and answer."""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import msgspec

from appliance import __version__, errors
from appliance.errors import Problem, ProblemDocument
from appliance.tasks.registry import TASKS
from appliance.web.operation import Access, Operation, operation_of
from appliance.web.problems import PROBLEM_TYPE

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
_REFERENCE = "#/components/schemas/{name}"
_PATH_FIELD = re.compile(r"{(\w+)(?::[^}]*)?}")
_IDENTIFIER = r"^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$"
_PATH_SCHEMAS: dict[str, dict[str, Any]] = {
    "model": {"type": "string", "pattern": r"^[a-z0-9][a-z0-9._-]{0,63}$"},
    "version": {"type": "integer", "minimum": 1, "maximum": 999_999_999},
    # TensorFlow Serving's: 0 is whichever answers.
    "model_version": {"type": "integer", "minimum": 0, "maximum": 9_999_999_999},
    "label": {"type": "string", "enum": ["stable", "latest"]},
    "prediction_id": {"type": "string", "pattern": _IDENTIFIER},
    "stream_id": {"type": "string", "pattern": _IDENTIFIER},
    "job_id": {"type": "string", "pattern": _IDENTIFIER},
    "key_id": {"type": "string", "pattern": r"^[0-9A-Za-z]{6}$"},
}
_ANY_NAME = {"type": "string", "pattern": r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$"}
_OPENED_BY: dict[Access, list[dict[str, list[str]]]] = {
    Access.PUBLIC: [],
    Access.METRICS: [{}, {"ApiKey": []}, {"Bearer": []}],
}


_BEFORE_ANY_OPERATION = """\
A request that never reaches an operation is answered in the shape of a problem too: 404 and 405 \
for what is not listed here, 408 when it arrives too slowly, 411 without a length, 421 for a host \
name that is not this appliance's, 431 for headers that are too large, 501 for what HTTP has and \
the appliance has not.
"""


class Route(NamedTuple):
    """One line of the route table."""

    path: str
    resource: object
    suffix: str | None = None


class DialectError(msgspec.Struct, frozen=True):
    """The error shape of the Open Inference Protocol and its relatives."""

    error: str


class VisionError(msgspec.Struct, frozen=True):
    """The error shape of DeepStack and CodeProject.AI."""

    success: bool
    error: str
    code: int


class DetailError(msgspec.Struct, frozen=True):
    """The error shape of the guides that were written with FastAPI."""

    detail: str


#: The error shape of each dialect that has its own.
DIALECT_ERRORS: dict[str, type[msgspec.Struct]] = {
    "open-inference": DialectError,
    "tensorflow-serving": DialectError,
    "deepstack": VisionError,
    "modelship": DetailError,
}


def operations(routes: Iterable[Route]) -> Iterator[tuple[str, str, Operation]]:
    """Given the route table, yield path, method and operation of everything that is served."""
    for route in routes:
        for method in METHODS:
            described = operation_of(route.resource, method, route.suffix)
            if described is not None:
                yield route.path, method, described


def document(routes: Iterable[Route]) -> dict[str, Any]:
    """Given the route table, return the OpenAPI 3.1 document as plain values."""
    served = list(operations(routes))
    schemas = _Schemas([described for _, _, described in served])
    paths: dict[str, dict[str, Any]] = {}
    for path, method, described in served:
        template = _PATH_FIELD.sub(r"{\1}", path)
        paths.setdefault(template, {})[method.lower()] = _operation(
            path, method, described, schemas
        )
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Inference appliance",
            "version": __version__,
            "summary": "Models answer over HTTP; every answer is recorded and measured.",
            "description": _BEFORE_ANY_OPERATION,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "paths": paths,
        "components": {
            "schemas": schemas.components,
            "securitySchemes": {
                "ApiKey": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
                "Bearer": {"type": "http", "scheme": "bearer"},
            },
        },
    }


class _Schemas:
    """The JSON Schemas of every struct in the table, each under its own name once."""

    def __init__(self, described: list[Operation]) -> None:
        types: list[Any] = [ProblemDocument, *DIALECT_ERRORS.values()]
        types += [task.Result for task in TASKS]  # the parts of a prediction's answer
        for one in described:
            kinds = (one.query, one.body, one.result, *one.also.values())
            types.extend(kind for kind in kinds if kind is not None)
        unique = list(dict.fromkeys(types))
        shown, self.components = msgspec.json.schema_components(unique, ref_template=_REFERENCE)
        self._shown = dict(zip(unique, shown, strict=True))

    def of(self, kind: Any) -> dict[str, Any]:
        shown: dict[str, Any] = self._shown[kind]
        return shown

    def fields(self, kind: type[msgspec.Struct]) -> Iterator[tuple[str, dict[str, Any], bool]]:
        name = self.of(kind)["$ref"].rpartition("/")[2]
        body = self.components[name]
        for field, schema in body.get("properties", {}).items():
            yield field, schema, field in body.get("required", ())


def _operation(path: str, method: str, described: Operation, schemas: _Schemas) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "operationId": _identifier(path, method),
        "summary": described.summary,
        "responses": _responses(described, schemas),
        "security": _OPENED_BY.get(described.access, [{"ApiKey": []}, {"Bearer": []}]),
        "x-access": described.access.value,
    }
    if described.tag:
        shown["tags"] = [described.tag]
    needed = "" if described.access in _OPENED_BY else f"Needs a key with role {described.access}."
    if described.description or needed:
        shown["description"] = f"{described.description} {needed}".strip()
    parameters = [*_path_parameters(path), *_query_parameters(described, schemas)]
    parameters += [_header_parameter(name, schema) for name, schema in described.headers.items()]
    if parameters:
        shown["parameters"] = parameters
    content = {media: {"schema": schema} for media, schema in described.consumes.items()}
    if described.body is not None:
        content["application/json"] = {"schema": schemas.of(described.body)}
    if content:
        shown["requestBody"] = {"content": content, "required": described.body_required}
    return shown


def _path_parameters(path: str) -> list[dict[str, Any]]:
    return [
        {
            "name": name,
            "in": "path",
            "required": True,
            "schema": _PATH_SCHEMAS.get(name, _ANY_NAME),
        }
        for name in _PATH_FIELD.findall(path)
    ]


def _query_parameters(described: Operation, schemas: _Schemas) -> list[dict[str, Any]]:
    if described.query is None:
        return []
    return [
        {
            "name": name,
            "in": "query",
            "required": is_required,
            "schema": {key: value for key, value in schema.items() if key != "description"},
            **({"description": schema["description"]} if "description" in schema else {}),
            **({"explode": False} if schema.get("type") == "array" else {}),
        }
        for name, schema, is_required in schemas.fields(described.query)
    ]


def _header_parameter(name: str, schema: Mapping[str, Any]) -> dict[str, Any]:
    return {"name": name, "in": "header", "required": False, "schema": dict(schema)}


def _responses(described: Operation, schemas: _Schemas) -> dict[str, Any]:
    content = {media: {"schema": schema} for media, schema in described.produces.items()}
    if described.result is not None:
        content["application/json"] = {"schema": schemas.of(described.result)}
    success: dict[str, Any] = {"description": described.summary}
    if content:
        success["content"] = content
    if described.answer_headers:
        success["headers"] = {
            name: {"description": text, "schema": {"type": "string"}}
            for name, text in described.answer_headers.items()
        }
    responses = {str(described.status): success}
    for status, kind in described.also.items():
        responses[str(status)] = {"description": described.summary}
        if kind is not None:
            shown = {"application/json": {"schema": schemas.of(kind)}}
            responses[str(status)]["content"] = shown
    responses.update(_refusals(described, schemas))
    return responses


def _refusals(described: Operation, schemas: _Schemas) -> dict[str, Any]:
    by_status: dict[int, list[type[Problem]]] = {}
    for problem in (*described.problems, *_implied(described)):
        if problem.status not in described.also:
            by_status.setdefault(problem.status, []).append(problem)
    media = "application/json" if described.dialect else PROBLEM_TYPE
    of_dialect = DIALECT_ERRORS.get(described.dialect, DialectError)
    shape = schemas.of(of_dialect if described.dialect else ProblemDocument)
    refusals = {}
    for status, problems in sorted(by_status.items()):
        titles = list(dict.fromkeys(problem.title for problem in problems))
        refusals[str(status)] = {
            "description": "; ".join(titles),
            "content": {media: {"schema": shape}},
        }
    return refusals


def _implied(described: Operation) -> tuple[type[Problem], ...]:
    """Return the problems any operation of this kind can answer without saying so."""
    implied: list[type[Problem]] = [
        errors.MalformedRequest,
        errors.InvalidInput,
        errors.RateLimited,
        errors.Unavailable,
    ]
    if described.access is not Access.PUBLIC:
        implied += [errors.Unauthenticated, errors.Forbidden]
    if described.body is not None or described.consumes:
        implied += [errors.PayloadTooLarge, errors.UnsupportedMedia]
    return tuple(implied)


def _identifier(path: str, method: str) -> str:
    words = re.sub(r"[^a-zA-Z0-9]+", "_", path).strip("_")
    return f"{method.lower()}_{words}"
