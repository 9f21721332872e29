"""What a batch may be told; apart from what runs it, because the front reads only this."""

from typing import Any

import msgspec

from appliance.library.manifest import Name


class BatchParams(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Which model answers, with which parameters of its task; the active version by default."""

    model: Name
    version: int | None = None
    params: dict[str, Any] = {}
