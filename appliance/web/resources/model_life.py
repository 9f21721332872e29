"""What answers: activate, roll back, load, unload; how traffic is spread, and how that goes."""

from typing import Annotated

import falcon
import msgspec
from msgspec import UNSET, Meta, UnsetType

from appliance import errors
from appliance.actions.callers import require_model
from appliance.actions.model_settings import AutoRollback, Policy
from appliance.actions.serve_model import ModelChanges, Switched
from appliance.engine.comparison import ComparisonReport
from appliance.engine.engine import Engine
from appliance.engine.traffic import Traffic
from appliance.errors import InvalidInput
from appliance.web.operation import Access, operation
from appliance.web.resources.predict import version_number

Percent = Annotated[float, Meta(ge=0, le=100)]
VersionText = Annotated[str, Meta(pattern="^[1-9][0-9]{0,9}$(?!\n)")]
_MOST_VERSIONS = 8
_TAG = "Models"
_CHANGE = (errors.NotFound, errors.Conflict, errors.ModelInvalid)


class Activation(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a version is activated.

    `auto_rollback` overrules the model's policy this time; null is none.
    """

    auto_rollback: AutoRollback | UnsetType | None = UNSET


class WantedLoad(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What to load; without a version the active one, or that which was active last."""

    version: Annotated[int, Meta(ge=1, le=1_000_000_000)] | None = None


class WantedTraffic(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How requests are spread.

    `traffic` is percent by version, 100 in all, or empty for the active version alone; `shadow`
    gets a copy of what the active version answers.
    """

    traffic: Annotated[dict[VersionText, Percent], Meta(max_length=_MOST_VERSIONS)] = {}
    shadow: VersionText | None = None


class ModelLife:
    """Changes of what answers."""

    def __init__(self, engine: Engine, changes: ModelChanges) -> None:
        self._engine = engine
        self._changes = changes

    @operation(
        summary="Activate a version",
        description="A new process loads it and has to answer its golden samples; then it is"
        " written down, and from one request to the next it answers instead of the active version,"
        " which finishes what it has begun. When anything fails, nothing changes. A split or"
        " shadow of the model ends.",
        access=Access.OPERATOR,
        body=Activation,
        body_required=False,
        result=Switched,
        problems=_CHANGE,
        tag=_TAG,
    )
    def on_post_activate(
        self,
        request: falcon.Request,
        response: falcon.Response,
        *,
        model: str,
        version: str,
        body: Activation | None,
    ) -> Switched:
        """Let a version answer."""
        return self._changes.activate(
            request.context.caller,
            model,
            version_number(version),
            auto_rollback=(body or Activation()).auto_rollback,
        )

    @operation(
        summary="Go back to the version before",
        access=Access.OPERATOR,
        result=Switched,
        problems=_CHANGE,
        tag=_TAG,
    )
    def on_post_rollback(
        self, request: falcon.Request, response: falcon.Response, *, model: str
    ) -> Switched:
        """Let the version that was active before answer again."""
        return self._changes.roll_back(request.context.caller, model)

    @operation(
        summary="Load a model, or load it anew",
        access=Access.OPERATOR,
        body=WantedLoad,
        body_required=False,
        result=Switched,
        problems=_CHANGE,
        tag=_TAG,
    )
    def on_post_load(
        self,
        request: falcon.Request,
        response: falcon.Response,
        *,
        model: str,
        body: WantedLoad | None,
    ) -> Switched:
        """Start a model; the old process answers until the new one does."""
        return self._changes.load(request.context.caller, model, (body or WantedLoad()).version)

    @operation(
        summary="Unload a model",
        description="Its processes end and give their memory back. It stays installed, and"
        " unloaded over restarts until it is loaded or activated again.",
        access=Access.OPERATOR,
        result=Switched,
        problems=(errors.NotFound, errors.Conflict),
        tag=_TAG,
    )
    def on_post_unload(
        self, request: falcon.Request, response: falcon.Response, *, model: str
    ) -> Switched:
        """Take a model out of service."""
        return self._changes.unload(request.context.caller, model)

    @operation(
        summary="How a model's requests are spread",
        access=Access.OPERATOR,
        result=Traffic,
        problems=(errors.NotFound,),
        tag=_TAG,
    )
    def on_get_traffic(
        self, request: falcon.Request, response: falcon.Response, *, model: str
    ) -> Traffic:
        """Tell what is in force."""
        self._known(request, model)
        return self._engine.traffic(model)

    @operation(
        summary="Split a model's requests among versions, or copy them to a shadow",
        description="The same key, or the same address without one, always meets the same version."
        " A version that cannot answer is stood in for by the active one. Copies for a shadow are"
        " sent after the answer and dropped while the model is busy.",
        access=Access.OPERATOR,
        body=WantedTraffic,
        result=Traffic,
        problems=(*_CHANGE, InvalidInput),
        tag=_TAG,
    )
    def on_put_traffic(
        self,
        request: falcon.Request,
        response: falcon.Response,
        *,
        model: str,
        body: WantedTraffic,
    ) -> Traffic:
        """Spread requests from now on; what was compared before is forgotten."""
        total = sum(body.traffic.values())
        if body.traffic and abs(total - 100) > 1e-6:
            raise InvalidInput(
                f"The shares of traffic add up to {total:g} %, but must make 100 %.",
                pointer="/traffic",
            )
        wanted = Traffic(traffic=dict(body.traffic), shadow=body.shadow)
        return self._changes.set_traffic(request.context.caller, model, wanted)

    @operation(
        summary="What holds for activations of a model",
        access=Access.OPERATOR,
        result=Policy,
        problems=(errors.NotFound,),
        tag=_TAG,
    )
    def on_get_policy(
        self, request: falcon.Request, response: falcon.Response, *, model: str
    ) -> Policy:
        """Tell the policy."""
        return self._changes.policy(request.context.caller, model)

    @operation(
        summary="Set what holds for activations of a model",
        description="With `auto_rollback` a version that does worse than the one before gives way"
        " to it by itself: more calls fail, calls take longer, its process dies twice or it fails"
        " its canary.",
        access=Access.OPERATOR,
        body=Policy,
        result=Policy,
        problems=(errors.NotFound,),
        tag=_TAG,
    )
    def on_put_policy(
        self,
        request: falcon.Request,
        response: falcon.Response,
        *,
        model: str,
        body: Policy,
    ) -> Policy:
        """Keep the policy."""
        return self._changes.set_policy(request.context.caller, model, body)

    @operation(
        summary="How the versions that share a model's requests compare",
        description="Requests, failures and milliseconds of each version since its traffic was"
        " set, and how often the shadow agrees with the active version.",
        access=Access.OPERATOR,
        result=ComparisonReport,
        problems=(errors.NotFound,),
        tag=_TAG,
    )
    def on_get_comparison(
        self, request: falcon.Request, response: falcon.Response, *, model: str
    ) -> ComparisonReport:
        """Tell the figures."""
        self._known(request, model)
        return self._engine.comparison(model)

    def _known(self, request: falcon.Request, model: str) -> None:
        require_model(request.context.caller, model)
        self._engine.status(model, None)
