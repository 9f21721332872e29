"""GET /api/v1/models and /api/v1/models/{model}."""

from collections.abc import Callable

import falcon

from appliance import errors
from appliance.actions import describe_model
from appliance.actions.callers import require_model
from appliance.actions.describe_model import ModelDescription, ModelList
from appliance.engine.engine import Engine
from appliance.store.models import Version
from appliance.web.operation import Access, operation


class Models:
    """The models that are installed."""

    def __init__(
        self, engine: Engine, *, not_served: Callable[[], tuple[Version, ...]] = tuple
    ) -> None:
        """Given the engine and what returns the versions under way or failed, tell of both."""
        self._engine = engine
        self._not_served = not_served

    @operation(
        summary="List the installed models",
        access=Access.DEVICE,
        result=ModelList,
        tag="Models",
    )
    def on_get(self, request: falcon.Request, response: falcon.Response) -> ModelList:
        """List the models inside the caller's scope."""
        caller = request.context.caller
        statuses = [status for status in self._engine.models() if caller.may_use(status.name)]
        rows = [row for row in self._not_served() if caller.may_use(row.name)]
        return describe_model.summaries(statuses, rows)

    @operation(
        summary="Describe one model",
        access=Access.DEVICE,
        result=ModelDescription,
        problems=(errors.NotFound,),
        tag="Models",
    )
    def on_get_model(
        self, request: falcon.Request, response: falcon.Response, *, model: str
    ) -> ModelDescription:
        """Describe one model, its versions and how to call it."""
        require_model(request.context.caller, model)
        rows = [row for row in self._not_served() if row.name == model]
        statuses = [status for status in self._engine.models() if status.name == model]
        if not statuses and not rows:
            self._engine.status(model, None)  # says that there is none
        return describe_model.description(statuses, "http://THIS-MACHINE:PORT", rows)
