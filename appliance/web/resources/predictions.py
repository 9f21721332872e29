"""GET /api/v1/predictions: the history, and one of its rows."""

import falcon

from appliance import errors
from appliance.actions import find_predictions
from appliance.actions.find_predictions import Row, RowPage, Search
from appliance.store.database import Database
from appliance.web.operation import Access, operation

_MEDIA_TYPES = {"csv": "text/csv; charset=utf-8", "jsonl": "application/jsonl"}


class Predictions:
    """What was predicted: a device sees its own rows, operators and admins all."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @operation(
        summary="Search the recorded predictions",
        access=Access.DEVICE,
        query=Search,
        result=RowPage,
        produces={"text/csv": {"type": "string"}, "application/jsonl": {"type": "string"}},
        problems=(errors.NotFound, errors.DatabaseUnavailable),
        tag="Predictions",
    )
    def on_get(
        self, request: falcon.Request, response: falcon.Response, *, query: Search
    ) -> RowPage | None:
        """Return one page as JSON, or stream everything as CSV or JSON lines."""
        caller = request.context.caller
        if query.format == "json":
            return find_predictions.page(self._database, query, caller)
        response.content_type = _MEDIA_TYPES[query.format]
        response.downloadable_as = f"predictions.{query.format}"
        response.stream = find_predictions.exported(self._database, query, caller)
        return None

    @operation(
        summary="Read one recorded prediction",
        access=Access.DEVICE,
        result=Row,
        problems=(errors.NotFound, errors.DatabaseUnavailable),
        tag="Predictions",
    )
    def on_get_prediction(
        self, request: falcon.Request, response: falcon.Response, *, prediction_id: str
    ) -> Row:
        """Return one row."""
        return find_predictions.one(self._database, prediction_id, request.context.caller)
