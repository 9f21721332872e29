"""/docs, /openapi.json and /problems/{slug}: the appliance explains itself, offline."""

import html
import inspect
from functools import cache
from pathlib import Path
from typing import Any

import falcon
import msgspec
import swagger_ui_bundle

from appliance import errors
from appliance.errors import NotFound
from appliance.web.operation import Access, operation

_SWAGGER_FILES = {
    "swagger-ui.css": "text/css",
    "swagger-ui-bundle.js": "text/javascript",
    "favicon-32x32.png": "image/png",
}
#: swagger-ui-bundle carries Swagger UI 4.15, which knows OpenAPI up to 3.0 and shows a
#: document of 3.1 not at all. Under the other number it shows ours whole: of what 3.1 brought it
#: merely leaves out hints, such as the types inside a fixed list.
_START = """\
window.onload = async () => {
  const answer = await fetch("/openapi.json");
  const spec = await answer.json();
  spec.openapi = "3.0.3";
  SwaggerUIBundle({spec, dom_id: "#swagger-ui", deepLinking: true, validatorUrl: null});
};
"""
_PAGE = """\
<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Inference appliance: API</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="stylesheet" href="/docs/swagger-ui.css">
<link rel="icon" href="/docs/favicon-32x32.png">
</head><body><div id="swagger-ui"></div>
<script src="/docs/swagger-ui-bundle.js"></script><script src="/docs/start.js"></script>
</body></html>
"""
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline';"
    " img-src 'self' data:; connect-src 'self'; frame-ancestors 'none'"
)


class Documents:
    """The API's own description. The OpenAPI document is set once all routes are known."""

    def __init__(self) -> None:
        self._openapi = b"{}"

    def describe(self, openapi: dict[str, Any]) -> None:
        """Given the OpenAPI document, serve it from now on."""
        self._openapi = msgspec.json.encode(openapi)

    @operation(
        summary="The OpenAPI 3.1 document of this API",
        access=Access.PUBLIC,
        produces={"application/json": {"type": "object"}},
        tag="Documentation",
    )
    def on_get_openapi(self, request: falcon.Request, response: falcon.Response) -> None:
        """Answer the document."""
        response.data, response.content_type = self._openapi, "application/json"

    @operation(
        summary="The API documentation as a page that can be tried out",
        access=Access.PUBLIC,
        produces={"text/html": {"type": "string"}},
        tag="Documentation",
    )
    def on_get_docs(self, request: falcon.Request, response: falcon.Response) -> None:
        """Answer the page."""
        response.set_header("Content-Security-Policy", _POLICY)
        response.text, response.content_type = _PAGE, "text/html; charset=utf-8"

    @operation(
        summary="A file of the documentation page",
        access=Access.PUBLIC,
        produces={"*/*": {"type": "string", "format": "binary"}},
        problems=(errors.NotFound,),
        tag="Documentation",
    )
    def on_get_file(
        self, request: falcon.Request, response: falcon.Response, *, file_name: str
    ) -> None:
        """Answer one of the few files the page needs."""
        if file_name == "start.js":
            response.text, response.content_type = _START, "text/javascript"
            return
        if file_name not in _SWAGGER_FILES:
            raise NotFound(f"The documentation page has no file {file_name[:60]!r}.")
        response.data = _swagger_file(file_name)
        response.content_type = _SWAGGER_FILES[file_name]
        response.cache_control = ["public", "max-age=86400"]

    @operation(
        summary="What a kind of problem means",
        access=Access.PUBLIC,
        produces={"text/html": {"type": "string"}},
        problems=(errors.NotFound,),
        tag="Documentation",
    )
    def on_get_problem(
        self, request: falcon.Request, response: falcon.Response, *, slug: str
    ) -> None:
        """Answer a page about one kind of problem."""
        kind = errors.all_problems().get(slug)
        if kind is None:
            raise NotFound(f"There is no problem type {slug[:60]!r}.")
        meaning = inspect.cleandoc(kind.__doc__) if kind.__doc__ else kind.title + "."
        response.set_header("Content-Security-Policy", "default-src 'none'")
        response.content_type = "text/html; charset=utf-8"
        response.text = (
            f"<!doctype html><html lang=en><meta charset=utf-8><title>{html.escape(kind.title)}"
            f"</title><h1>{html.escape(kind.title)}</h1><p>{html.escape(meaning)}</p>"
            f"<p>HTTP status {kind.status}. The answer's <code>detail</code> says what happened"
            " and what to do next.</p></html>"
        )


@cache
def _swagger_file(name: str) -> bytes:
    return Path(swagger_ui_bundle.swagger_ui_path, name).read_bytes()
