"""GET /api/v1/predictions: the history, and one of its rows."""

import threading
from collections.abc import Callable, Iterator

import falcon

from appliance import errors
from appliance.actions import find_predictions
from appliance.actions.find_predictions import Row, RowPage, Search
from appliance.store.database import Database
from appliance.web.operation import Access, operation

_MEDIA_TYPES = {"csv": "text/csv; charset=utf-8", "jsonl": "application/jsonl"}


class _Export:
    """An answer in pieces that says once when it has ended, however it ended."""

    def __init__(self, pieces: Iterator[bytes], ended: Callable[[], None]) -> None:
        self._pieces = pieces
        self._ended: Callable[[], None] | None = ended

    def __iter__(self) -> Iterator[bytes]:
        return self._pieces

    def close(self) -> None:
        """Called by the server at the end of every answer, also one that was never begun."""
        ended, self._ended = self._ended, None
        if ended is not None:
            ended()


class Predictions:
    """What was predicted: a device sees its own rows, operators and admins all."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._export = threading.Lock()

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
        rows = find_predictions.exported(self._database, query, caller)
        response.stream = self._one_export(rows)
        response.content_type = _MEDIA_TYPES[query.format]
        response.downloadable_as = f"predictions.{query.format}"
        return None

    def _one_export(self, rows: Iterator[bytes]) -> "_Export":
        """One export at a time: several would hold all threads that health and keys need too."""
        if not self._export.acquire(blocking=False):
            raise errors.Overloaded(
                "Another export of the history is running; try again when it has ended.",
                retry_after_seconds=10.0,
            )
        return _Export(rows, self._export.release)

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
