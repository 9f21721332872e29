"""GET /api/v1/predictions/{id}/input: what a model was asked, as it came, where that is kept."""

import falcon

from appliance import errors
from appliance.actions.read_input import InputReading
from appliance.web.operation import Access, operation


class PredictionInput:
    """The input of one prediction."""

    def __init__(self, inputs: InputReading) -> None:
        self._inputs = inputs

    @operation(
        summary="Fetch the input of a prediction, if it is kept",
        description="A key fetches what it sent itself; admins fetch all, which the audit notes.",
        access=Access.DEVICE,
        produces={"application/octet-stream": {"type": "string", "format": "binary"}},
        problems=(errors.NotFound, errors.DatabaseUnavailable, errors.InsufficientStorage),
        tag="Predictions",
    )
    def on_get(
        self, request: falcon.Request, response: falcon.Response, *, prediction_id: str
    ) -> None:
        """Send it as a file to be saved: whatever a client once sent must not act as a page."""
        found = self._inputs.read(request.context.caller, prediction_id)
        response.set_stream(found.stream, found.bytes)
        response.content_type = found.content_type
        response.downloadable_as = found.name
        response.set_header("X-Content-Type-Options", "nosniff")
        response.set_header("Cache-Control", "no-store")
