"""One operation of the HTTP surface: what it parses, who may call it and what it answers.

The decorator `operation` makes a Falcon responder out of a method that takes parsed structs and
returns one; `openapi.py` writes the document from the very same objects, so they cannot differ.
"""

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import falcon
import msgspec

from appliance.errors import Problem
from appliance.web import parsing


class Access(StrEnum):
    """Who may call an operation; each of device, operator and admin includes the ones before."""

    PUBLIC = "public"
    METRICS = "metrics"  # networks in metrics.public, or any key
    DEVICE = "device"
    OPERATOR = "operator"
    ADMIN = "admin"


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """The description of one responder.

    `consumes` maps media types of a raw body to their schema; `produces` likewise for answers that
    are not the JSON of `result`. `dialect` names the error shape where it is not RFC 9457.
    """

    summary: str
    access: Access
    query: type[msgspec.Struct] | None = None
    body: type | None = None
    body_required: bool = True
    result: Any = None
    status: int = 200
    problems: tuple[type[Problem], ...] = ()
    consumes: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    produces: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    #: Request headers with a meaning here, each with its JSON Schema (and a `description`).
    headers: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    #: Headers of the answer, each with what it tells.
    answer_headers: Mapping[str, str] = field(default_factory=dict)
    #: Results of another shape (None: empty) under another status, which the method sets itself.
    also: Mapping[int, Any] = field(default_factory=dict)
    tag: str = ""
    dialect: str = ""
    #: Parameters are the task's own, or a dialect's clients add theirs: the method looks itself.
    any_query: bool = False
    #: The method reads bodies under a Content-Encoding; everywhere else they are refused.
    takes_packed: bool = False
    description: str = ""


def operation(**described: Any) -> Callable[[Callable[..., Any]], Callable[..., None]]:
    """Given the fields of an Operation, return a decorator for a responder method.

    The method is called with `request, response`, the path's fields, and `query=` / `body=` when
    those are described; a returned value other than None becomes the JSON answer. A query or body
    that does not fit raises InvalidInput or MalformedRequest before the method runs.
    """
    description = Operation(**described)

    def decorate(method: Callable[..., Any]) -> Callable[..., None]:
        @functools.wraps(method)
        def responder(
            resource: Any, request: falcon.Request, response: falcon.Response, **path: Any
        ) -> None:
            if description.query is not None:
                path["query"] = parsing.query(request, description.query)
            elif not description.any_query:
                parsing.no_query(request)
            if not description.takes_packed and (description.body or description.consumes):
                parsing.not_packed(request)
            if description.body is not None:
                path["body"] = parsing.json_body(
                    request, description.body, required=description.body_required
                )
            response.status = description.status
            result = method(resource, request, response, **path)
            if result is not None:
                response.data = msgspec.json.encode(result)
                response.content_type = "application/json"

        responder.operation = description  # type: ignore[attr-defined]
        return responder

    return decorate


def operation_of(resource: object, method: str, suffix: str | None) -> Operation | None:
    """Given a resource, HTTP method and route suffix, return what answers there, or None."""
    name = f"on_{method.lower()}" + (f"_{suffix}" if suffix else "")
    return getattr(getattr(resource, name, None), "operation", None)


def offer_head(resource: object, suffix: str | None) -> None:
    """Given a resource, answer HEAD where GET answers everybody (RFC 9110 section 9.3.2).

    Load balancers and monitors probe that way. What needs a key may be long or come as a stream,
    and is asked for by nobody without wanting it; there HEAD stays 405.
    """
    described = operation_of(resource, "GET", suffix)
    if described is not None and described.access in (Access.PUBLIC, Access.METRICS):
        ending = f"_{suffix}" if suffix else ""
        setattr(resource, f"on_head{ending}", getattr(resource, f"on_get{ending}"))
