"""Doors on Unix sockets with plain rules, for whoever needs to come in through one."""

from pathlib import Path
from typing import Any

from appliance.config import Http, Limits
from appliance.web.body import Spool
from appliance.web.lanes import Lane
from appliance.web.problems import problem_body
from appliance.web.unix_door import UnixDoor


def door_at(path: Path, application: Any, mode: int = 0o600, **changes: Any) -> UnixDoor:
    """Return a door that is not open yet; `changes` are `http`, `limits` and rules of `Server`."""
    http = changes.pop("http", Http(drain_seconds=10))
    limits = changes.pop("limits", Limits())
    rules = {
        "spool": Spool(path.parent / "spool", 10_000_000),
        "lane_of": lambda method, path: Lane.CONTROL,
        "problem_bytes": lambda problem, path, request_id: problem_body(problem, request_id),
        "on_event": lambda name, **labels: None,
        "authorised": lambda headers, address: headers.get("x-api-key") == "known",
        **changes,
    }
    return UnixDoor(
        application, path, name="door", mode=mode, http=http, limits=limits, threads=4, rules=rules
    )
