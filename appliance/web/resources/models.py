"""GET /api/v1/models and /api/v1/models/{model}."""

import falcon

from appliance import errors
from appliance.actions import describe_model
from appliance.actions.callers import require_model
from appliance.actions.describe_model import ModelDescription, ModelList
from appliance.engine.engine import Engine
from appliance.web.operation import Access, operation


class Models:
    """The models that are installed."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

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
        return describe_model.summaries(statuses)

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
        name = self._engine.status(model, None).name
        statuses = [status for status in self._engine.models() if status.name == name]
        return describe_model.description(statuses, "http://THIS-MACHINE:PORT")
