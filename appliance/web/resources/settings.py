"""/api/v1/settings/reload: put a changed configuration into force."""

import falcon

from appliance import errors
from appliance.actions.reload import Reload, Reloaded
from appliance.web.operation import Access, operation


class ReloadResource:
    """The configuration in force."""

    def __init__(self, reload: Reload) -> None:
        self._reload = reload

    @operation(
        summary="Read the configuration again",
        access=Access.ADMIN,
        result=Reloaded,
        problems=(errors.InvalidInput,),
        tag="Operations",
    )
    def on_post(self, request: falcon.Request, response: falcon.Response) -> Reloaded:
        """Do what `systemctl reload` does; what needs a restart is named, not applied."""
        try:
            return self._reload.reload(request.context.caller)
        except errors.ConfigInvalid as fault:
            raise errors.InvalidInput(
                f"The configuration has faults; nothing was changed.\n{fault.detail}"
            ) from None
