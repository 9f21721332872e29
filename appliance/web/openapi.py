"""The OpenAPI 3.1 document, written from the very operations that parse and answer."""

import re
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import msgspec

from appliance import __version__, errors
from appliance.errors import Problem, ProblemDocument
from appliance.web.operation import Access, Operation, operation_of
from appliance.web.problems import PROBLEM_TYPE

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
_REFERENCE = "#/components/schemas/{name}"
_PATH_FIELD = re.compile(r"{(\w+)(?::[^}]*)?}")
_PATH_SCHEMAS: dict[str, dict[str, Any]] = {
    "model": {"type": "string", "pattern": r"^[a-z0-9][a-z0-9._-]{0,63}$"},
    "version": {"type": "integer", "minimum": 1, "maximum": 999_999_999},
}
_OPENED_BY: dict[Access, list[dict[str, list[str]]]] = {
    Access.PUBLIC: [],
    Access.METRICS: [{}, {"ApiKey": []}, {"Bearer": []}],
}


class Route(NamedTuple):
    """One line of the route table."""

    path: str
    resource: object
    suffix: str | None = None


class DialectError(msgspec.Struct, frozen=True):
    """The error shape of the Open Inference Protocol and its relatives."""

    error: str


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
        paths.setdefault(template, {})[method.lower()] = _operation(path, method, described, schemas)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Inference appliance",
            "version": __version__,
            "summary": "Models answer over HTTP; every answer is recorded and measured.",
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
        types: list[Any] = [ProblemDocument, DialectError]
        for one in described:
            types.extend(kind for kind in (one.query, one.body, one.result) if kind is not None)
        unique = list(dict.fromkeys(types))
        shown, self.components = msgspec.json.schema_components(
            unique, ref_template=_REFERENCE
        )
        self._shown = dict(zip(unique, shown, strict=True))

    def of(self, kind: Any) -> dict[str, Any]:
        return self._shown[kind]

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
    }
    if described.tag:
        shown["tags"] = [described.tag]
    if described.description or described.access not in _OPENED_BY:
        needed = "" if described.access in _OPENED_BY else f"Needs a key with role {described.access}."
        shown["description"] = f"{described.description} {needed}".strip()
    parameters = [*_path_parameters(path), *_query_parameters(described, schemas)]
    parameters += [_header_parameter(name, text) for name, text in described.headers.items()]
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
            "schema": _PATH_SCHEMAS.get(name, {"type": "string", "minLength": 1, "maxLength": 128}),
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


def _header_parameter(name: str, text: str) -> dict[str, Any]:
    return {
        "name": name,
        "in": "header",
        "required": False,
        "description": text,
        "schema": {"type": "string"},
    }


def _responses(described: Operation, schemas: _Schemas) -> dict[str, Any]:
    content = {media: {"schema": schema} for media, schema in described.produces.items()}
    if described.result is not None:
        content["application/json"] = {"schema": schemas.of(described.result)}
    success: dict[str, Any] = {"description": described.summary}
    if content:
        success["content"] = content
    responses = {str(described.status): success}
    by_status: dict[int, list[type[Problem]]] = {}
    for problem in (*described.problems, *_implied(described)):
        by_status.setdefault(problem.status, []).append(problem)
    media = "application/json" if described.dialect else PROBLEM_TYPE
    shape = schemas.of(DialectError if described.dialect else ProblemDocument)
    for status, problems in sorted(by_status.items()):
        titles = list(dict.fromkeys(problem.title for problem in problems))
        answer = {"description": "; ".join(titles), "content": {media: {"schema": shape}}}
        responses.setdefault(str(status), answer)
    return responses


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
