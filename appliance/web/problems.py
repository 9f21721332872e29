"""Every error that leaves over HTTP has one shape, or the one a dialect's clients expect."""

import logging
from collections.abc import Callable

import falcon
import msgspec

from appliance import errors
from appliance.errors import Problem

_log = logging.getLogger(__name__)
PROBLEM_TYPE = "application/problem+json"

#: Given a problem and its request id, the status, media type and body of a dialect's error.
ErrorBody = Callable[[Problem, str], tuple[int, str, bytes]]

_BY_STATUS: dict[int, type[Problem]] = {
    400: errors.MalformedRequest,
    401: errors.Unauthenticated,
    403: errors.Forbidden,
    404: errors.NotFound,
    405: errors.MethodNotAllowed,
    406: errors.NotAcceptable,
    409: errors.Conflict,
    411: errors.LengthRequired,
    413: errors.PayloadTooLarge,
    415: errors.UnsupportedMedia,
    422: errors.InvalidInput,
    429: errors.RateLimited,
    431: errors.HeadersTooLarge,
    501: errors.NotImplementedHere,
    503: errors.Unavailable,
}


def problem_body(problem: Problem, request_id: str) -> tuple[int, str, bytes]:
    """Given a problem and the request's id, return status, media type and body by RFC 9457."""
    return problem.status, PROBLEM_TYPE, msgspec.json.encode(problem.document(request_id))


class ErrorShapes:
    """Chooses the shape of an error by the path it happened on."""

    def __init__(self, dialects: dict[str, ErrorBody]) -> None:
        self._dialects = tuple(dialects.items())

    def body(self, problem: Problem, path: str, request_id: str) -> tuple[int, str, bytes]:
        """Given a problem, the request's path and id, return status, media type and body."""
        for prefix, dialect in self._dialects:
            if path == prefix or path.startswith(prefix + "/"):
                return dialect(problem, request_id)
        return problem_body(problem, request_id)

    def install(self, app: "falcon.App[falcon.Request, falcon.Response]") -> None:
        """Given the Falcon app, answer every exception in it with a problem."""
        app.add_error_handler(Exception, self._unexpected)
        app.add_error_handler(falcon.HTTPError, self._from_falcon)
        app.add_error_handler(Problem, self._from_problem)

    def _from_problem(
        self, request: falcon.Request, response: falcon.Response, problem: Problem, params: object
    ) -> None:
        self._answer(request, response, problem)

    def _from_falcon(
        self,
        request: falcon.Request,
        response: falcon.Response,
        error: falcon.HTTPError,
        params: object,
    ) -> None:
        problem = translated(error, request)
        for name, value in dict(error.headers or {}).items():
            if name.lower() in ("allow", "retry-after"):
                response.set_header(name, value)
        self._answer(request, response, problem)

    def _unexpected(
        self, request: falcon.Request, response: falcon.Response, error: Exception, params: object
    ) -> None:
        _log.exception("request failed", extra={"request_id": request.context.get("request_id")})
        detail = (
            "The appliance failed on this request; its log has the cause under this request id."
        )
        self._answer(request, response, errors.Internal(detail))

    def _answer(
        self, request: falcon.Request, response: falcon.Response, problem: Problem
    ) -> None:
        request_id = request.context.get("request_id") or ""
        status, media_type, body = self.body(problem, request.path, request_id)
        response.status = status
        response.content_type = media_type
        response.data = body
        response.stream = None
        response.context.problem = problem.slug
        if problem.retry_after_seconds is not None:
            response.set_header("Retry-After", str(max(1, round(problem.retry_after_seconds))))


def translated(error: falcon.HTTPError, request: falcon.Request) -> Problem:
    """Given one of Falcon's own errors, return the same as one of ours, in a sentence of ours."""
    status = falcon.http_status_to_code(error.status)
    kind = _BY_STATUS.get(status)
    if kind is None:
        kind = errors.Internal if status >= 500 else errors.MalformedRequest
    if kind is errors.NotFound:
        return kind(f"There is nothing at {request.path[:200]}. The routes are listed at /docs.")
    if kind is errors.MethodNotAllowed:
        return kind(f"{request.method[:20]} is not allowed at {request.path[:200]}.")
    return kind(str(error.description or error.title or kind.title))
