"""Resources on a Falcon app with the appliance's own errors and request ids, without a server."""

from typing import Any

import falcon
import falcon.testing

from appliance.actions.callers import Caller
from appliance.log import RequestLine
from appliance.web.middleware.requests import Requests
from appliance.web.openapi import Route
from appliance.web.problems import ErrorShapes
from tests.actions.examples import ADMIN


class Observed:
    """Remembers every finished request and every one that met a limit."""

    def __init__(self) -> None:
        self.finished: list[dict[str, Any]] = []
        self.limited: list[str] = []

    def request_finished(self, **fields: Any) -> None:
        """Remember one request."""
        self.finished.append(fields)

    def rate_limited(self, kind: str) -> None:
        """Remember whose limit it was."""
        self.limited.append(kind)


class Routed:
    """Some routes, one caller, and what was told of each request."""

    def __init__(self, *routes: Route, caller: Caller = ADMIN, dialects: Any = None) -> None:
        self.caller: Caller | None = caller
        self.observed = Observed()
        self.lines: list[RequestLine] = []
        app: falcon.App[Any, Any] = falcon.App(
            middleware=[Requests(self.observed, self.lines.append), self]
        )
        app.req_options.strip_url_path_trailing_slash = True
        app.req_options.keep_blank_qs_values = True
        app.req_options.auto_parse_qs_csv = False
        ErrorShapes(dialects or {}).install(app)
        for route in routes:
            app.add_route(route.path, route.resource, suffix=route.suffix)
        self.client = falcon.testing.TestClient(app)

    def process_request(self, request: falcon.Request, response: falcon.Response) -> None:
        """Stand in for authentication."""
        if self.caller is not None:
            request.context.caller = self.caller

    def get(self, path: str, **given: Any) -> falcon.testing.Result:
        """Return the answer to a GET."""
        return self.client.simulate_get(path, **given)

    def post(self, path: str, body: bytes = b"", **given: Any) -> falcon.testing.Result:
        """Return the answer to a POST."""
        return self.client.simulate_post(path, body=body, **given)


def form(*parts: tuple[str, bytes], boundary: str = "cut") -> tuple[bytes, dict[str, str]]:
    """Given the headers and body of each part, return a multipart body and its header."""
    body = b"".join(
        f"--{boundary}\r\n{headers}\r\n\r\n".encode() + content + b"\r\n"
        for headers, content in parts
    )
    body += f"--{boundary}--\r\n".encode()
    return body, {"Content-Type": f"multipart/form-data; boundary={boundary}"}


def a_file(content: bytes, *, field: str = "file", media: str = "image/png") -> tuple[str, bytes]:
    """Return one part of a form that is a file."""
    disposition = f'Content-Disposition: form-data; name="{field}"; filename="p.png"'
    return f"{disposition}\r\nContent-Type: {media}", content
