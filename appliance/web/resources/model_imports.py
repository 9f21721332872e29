"""POST /api/v1/models and its versions: install, look inside, watch, remove."""

from typing import Annotated, Any

import falcon
import msgspec
from msgspec import Meta

from appliance import errors
from appliance.actions.callers import require_model
from appliance.actions.import_work import FAILED, READY
from appliance.actions.install_model import Inspection, ModelLibrary
from appliance.actions.remove_model import ModelRemoval
from appliance.actions.version_views import VersionView, VersionViews
from appliance.engine.engine import Engine
from appliance.errors import InvalidInput, ModelInvalid, NotFound
from appliance.library.import_request import ImportRequest
from appliance.web import parsing
from appliance.web.model_upload import receive_model
from appliance.web.operation import Access, operation
from appliance.web.patience import lent_thread
from appliance.web.resources.models import Models
from appliance.web.resources.predict import version_number
from appliance.web.uploads import media_type

_BINARY: dict[str, Any] = {"type": "string", "format": "binary"}
_CONSUMES: dict[str, dict[str, Any]] = {
    "application/octet-stream": _BINARY,
    "application/zip": _BINARY,
    "multipart/form-data": {
        "type": "object",
        "properties": {"file": _BINARY, "labels": _BINARY},
        "required": ["file"],
    },
}
_FROM_URL: dict[str, Any] = {
    "type": "object",
    "properties": {
        "url": {"type": "string", "format": "uri", "maxLength": 2000},
        "sha256": {"type": "string", "pattern": "^[0-9a-f]{64}$"},
    },
    "required": ["url", "sha256"],
    "additionalProperties": False,
}
_TAKEN = (
    errors.MalformedRequest,
    errors.UnsupportedMedia,
    errors.PayloadTooLarge,
    errors.InvalidInput,
    errors.ModelInvalid,
    errors.Overloaded,
    errors.InsufficientStorage,
)
#: Addresses under /api/v1/models that a model of that name would hide.
_TAKEN_NAMES = frozenset({"inspect"})
_DESCRIPTION = (
    "The body is the model itself: an OpenVINO IR (.xml and .bin in a .zip, or as two parts `file`"
    " of a form), ONNX, TFLite, TensorFlow (SavedModel in a .zip, or frozen graph) or Paddle. The"
    " query says what cannot be found in it. With `wait` the answer is held until the import has"
    " ended: 201 with the version that is ready, or 422 with the reason why it is not."
)


class ImportQuery(ImportRequest, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What is said of the model, and how long to hold the answer."""

    wait: Annotated[
        float, Meta(ge=0, le=3600, description="Seconds to hold the answer until it has ended.")
    ] = 0.0


class InspectQuery(ImportRequest, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What is said of the model; here it needs no name."""

    name: Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$(?!\n)")] = "model"


class UrlSource(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Where a model is fetched from, and what must come from there."""

    url: Annotated[str, Meta(max_length=2000)]
    sha256: Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]


class WaitQuery(msgspec.Struct, frozen=True, kw_only=True):
    """How long to hold the answer."""

    wait: Annotated[
        float, Meta(ge=0, le=3600, description="Seconds to hold the answer until it has ended.")
    ] = 0.0


class ModelImports(Models):
    """Models on their way in and out, besides those that are there."""

    def __init__(
        self,
        engine: Engine,
        library: ModelLibrary,
        removal: ModelRemoval,
        views: VersionViews,
    ) -> None:
        super().__init__(engine, not_served=views.not_served)
        self._library = library
        self._removal = removal
        self._views = views

    @operation(
        summary="Install a model",
        access=Access.OPERATOR,
        query=ImportQuery,
        consumes={**_CONSUMES, "application/json": _FROM_URL},
        result=VersionView,
        status=202,
        also={201: VersionView},
        answer_headers={"Location": "Where the version's state is told."},
        problems=(*_TAKEN, errors.Conflict, errors.Forbidden),
        description=_DESCRIPTION,
        tag="Models",
    )
    def on_post(
        self, request: falcon.Request, response: falcon.Response, *, query: ImportQuery
    ) -> VersionView:
        """Take the model in and, if asked to, wait until it is ready or has failed."""
        caller = request.context.caller
        require_model(caller, query.name)
        if query.name in _TAKEN_NAMES:
            raise InvalidInput(f"A model cannot be called {query.name!r}.", pointer="/query/name")
        wanted, url = _request_of(query), ""
        if media_type(request.content_type) == "application/json":
            source: UrlSource = parsing.json_body(request, UrlSource)
            wanted, url = msgspec.structs.replace(wanted, sha256=source.sha256), source.url
        incoming = self._library.receive()
        if not url:
            self._receive(request, incoming, wanted)
        begun = self._library.accept(caller, incoming, wanted, url=url)
        done = self._waited(request, begun.name, begun.version, query.wait)
        if done.state == FAILED:
            raise ModelInvalid(done.reason)
        if done.state == READY:
            response.status = 201
        response.set_header("Location", f"/api/v1/models/{done.name}/versions/{done.version}")
        return done

    @operation(
        summary="Look inside a model without installing it",
        access=Access.OPERATOR,
        query=InspectQuery,
        consumes=_CONSUMES,
        result=Inspection,
        problems=_TAKEN,
        tag="Models",
    )
    def on_post_inspect(
        self, request: falcon.Request, response: falcon.Response, *, query: InspectQuery
    ) -> Inspection:
        """Return what it is and the manifest an import would write."""
        wanted = _request_of(query)
        incoming = self._library.receive()
        self._receive(request, incoming, wanted)
        with lent_thread(request):
            return self._library.inspect(incoming, wanted)

    @operation(
        summary="Describe one version of a model",
        access=Access.DEVICE,
        query=WaitQuery,
        result=VersionView,
        problems=(errors.NotFound,),
        tag="Models",
    )
    def on_get_version(
        self,
        request: falcon.Request,
        response: falcon.Response,
        *,
        model: str,
        version: str,
        query: WaitQuery,
    ) -> VersionView:
        """Return its state, and the reason when it has failed."""
        require_model(request.context.caller, model)
        number = version_number(version)
        if self._views.of(model, number) is None:
            raise NotFound(f"There is no version {number} of {model[:64]!r}.")
        return self._waited(request, model, number, query.wait)

    @operation(
        summary="Remove one version of a model",
        access=Access.OPERATOR,
        status=204,
        problems=(errors.NotFound, errors.Conflict),
        description="Not while it is active, gets traffic, is imported, or waiting jobs need it.",
        tag="Models",
    )
    def on_delete_version(
        self, request: falcon.Request, response: falcon.Response, *, model: str, version: str
    ) -> None:
        """Forget it and delete its files."""
        self._removal.remove(request.context.caller, model, version_number(version))

    def _receive(self, request: falcon.Request, incoming: Any, wanted: ImportRequest) -> None:
        try:
            receive_model(
                request,
                incoming,
                file_name=wanted.file_name,
                sha256=wanted.sha256,
                most_bytes=self._library.most_bytes,
            )
        except BaseException:
            incoming.discard()
            raise

    def _waited(
        self, request: falcon.Request, model: str, version: int, seconds: float
    ) -> VersionView:
        if seconds > 0:
            with lent_thread(request) as is_lent:
                self._library.wait(model, version, seconds=seconds if is_lent else 0)
        view = self._views.of(model, version)
        if view is None:
            raise NotFound(f"There is no version {version} of {model[:64]!r}.")
        return view


def _request_of(query: ImportRequest) -> ImportRequest:
    names = ImportRequest.__struct_fields__
    return ImportRequest(**{name: getattr(query, name) for name in names})
