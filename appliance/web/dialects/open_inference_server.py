"""GET /v2 and /v2/health/…: what this server is and whether it answers."""

import falcon

from appliance import __version__
from appliance.errors import ModelUnavailable
from appliance.web.dialects.open_inference_engine import STOPPED, Engine
from appliance.web.dialects.open_inference_schemas import ServerLive, ServerMetadata, ServerReady
from appliance.web.operation import Access, operation

SERVER_NAME = "inference-appliance"
#: Only what is really served: clients decide by these names what they may send.
EXTENSIONS = (
    "binary_tensor_data",
    "classification",
    "model_configuration",
    "model_repository",
    "model_repository(unload_dependents)",
    "parameters",
    "sequence",
    "sequence(string_id)",
    "statistics",
)


class Server:
    """The server as a whole."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    @operation(
        summary="Name, version and extensions of this server",
        access=Access.DEVICE,
        any_query=True,
        result=ServerMetadata,
        tag="Open Inference Protocol",
        dialect="open-inference",
    )
    def on_get(self, request: falcon.Request, response: falcon.Response) -> ServerMetadata:
        """Describe the server."""
        return ServerMetadata(SERVER_NAME, __version__, EXTENSIONS)

    @operation(
        summary="Whether this server runs",
        access=Access.PUBLIC,
        any_query=True,
        result=ServerLive,
        tag="Open Inference Protocol",
        dialect="open-inference",
    )
    def on_get_live(self, request: falcon.Request, response: falcon.Response) -> ServerLive:
        """Say that the server runs; being able to say so is the proof."""
        return ServerLive(live=True)

    @operation(
        summary="Whether every active model answers",
        access=Access.PUBLIC,
        any_query=True,
        result=ServerReady,
        problems=(ModelUnavailable,),
        tag="Open Inference Protocol",
        dialect="open-inference",
    )
    def on_get_ready(self, request: falcon.Request, response: falcon.Response) -> ServerReady:
        """Say that all active models are ready, or raise ModelUnavailable naming the others."""
        waiting = [
            status.name
            for status in self._engine.models()
            if status.is_active
            and status.state != STOPPED  # unloaded on purpose, as /ready has it
            and (not status.is_answering or status.canary_ok is False)
        ]
        if waiting:
            raise ModelUnavailable(f"These models are not ready: {', '.join(sorted(waiting))}.")
        return ServerReady(live=True, ready=True)
