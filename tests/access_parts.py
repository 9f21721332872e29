"""A real database, ring, gate and Falcon app for the tests of access."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import falcon
import falcon.testing
import msgspec

from appliance import config
from appliance.actions.admit import Gate
from appliance.actions.callers import Caller, Role, local_admin
from appliance.actions.issue_key import NewKey, issue_key
from appliance.actions.key_ring import KeyRing
from appliance.clock import ManualClock
from appliance.errors import Problem
from appliance.store.database import Database
from appliance.web.middleware.access import AccessMiddleware
from appliance.web.operation import Access, operation
from appliance.web.resources.audit import AuditResource, AuditVerifyResource
from appliance.web.resources.keys import KeyResource, KeysResource

DEVICE_ADDRESS = "192.0.2.7"


@contextmanager
def opened(state_dir: Path, clock: ManualClock) -> Iterator[Database]:
    """Yield the database of a state directory and close it."""
    state_dir.mkdir(mode=0o700, exist_ok=True)
    database = Database.open(
        state_dir / "appliance.db", clock=clock, quota_bytes=1 << 30, queue_rows=1000
    )
    try:
        yield database
    finally:
        database.close()


def issued(ring: KeyRing, role: Role = Role.DEVICE, **wanted: Any) -> str:
    """Return the text of a new key."""
    return issued_with_id(ring, role, **wanted)[0]


def issued_with_id(ring: KeyRing, role: Role = Role.DEVICE, **wanted: Any) -> tuple[str, str]:
    """Return the text and the id of a new key."""
    name = wanted.pop("name", f"a {role.value}")
    text, key = issue_key(ring, NewKey(name=name, role=role, **wanted), caller=local_admin())
    return text, key.id


def edit(database: Database, statement: str) -> None:
    """Change the database file as somebody with a shell would: from another process.

    Inside this process a second SQLite library would drop the first one's locks (POSIX).
    """
    program = (
        "import sqlite3,sys; c=sqlite3.connect(sys.argv[1]); c.execute(sys.argv[2]); c.commit()"
    )
    subprocess.run([sys.executable, "-c", program, str(database.path), statement], check=True)


class _Who(msgspec.Struct):
    name: str
    role: str | None
    address: str


class Probe:
    """A resource with one operation for each access."""

    @operation(summary="public", access=Access.PUBLIC)
    def on_get_public(self, request: falcon.Request, response: falcon.Response) -> _Who:
        return self._who(request)

    @operation(summary="metrics", access=Access.METRICS)
    def on_get_metrics(self, request: falcon.Request, response: falcon.Response) -> _Who:
        return self._who(request)

    @operation(summary="device", access=Access.DEVICE)
    def on_get_device(
        self, request: falcon.Request, response: falcon.Response, model: str = ""
    ) -> _Who:
        return self._who(request)

    @operation(summary="operator", access=Access.OPERATOR)
    def on_get_operator(self, request: falcon.Request, response: falcon.Response) -> _Who:
        return self._who(request)

    @operation(summary="admin", access=Access.ADMIN)
    def on_get_admin(self, request: falcon.Request, response: falcon.Response) -> _Who:
        return self._who(request)

    def on_get_forgotten(self, request: falcon.Request, response: falcon.Response) -> None:
        response.text = "nobody described this"

    @staticmethod
    def _who(request: falcon.Request) -> _Who:
        caller: Caller = request.context.caller
        return _Who(caller.key_name, caller.role, caller.address)


class Parts:
    """Everything access needs, on one state directory."""

    def __init__(self, database: Database, clock: ManualClock, **access: Any) -> None:
        self.database = database
        self.clock = clock
        self.ring = KeyRing(database, clock)
        self.gate = Gate(
            self.ring, clock, access=config.Access(**access), metrics=config.Metrics()
        )
        probe = Probe()
        kinds = [*(access.value for access in Access), "forgotten"]
        suffixes = {f"/{kind}": kind for kind in kinds} | {"/models/{model}": "device"}
        app = falcon.App(middleware=[AccessMiddleware(self.gate, suffixes)])
        app.add_error_handler(Problem, _problem)
        for template, suffix in suffixes.items():
            app.add_route(template, probe, suffix=suffix)
        app.add_route("/api/v1/keys", KeysResource(self.ring))
        app.add_route("/api/v1/keys/{key_id}", KeyResource(self.ring))
        app.add_route("/api/v1/audit", AuditResource(database))
        app.add_route("/api/v1/audit/verify", AuditVerifyResource(database))
        self.app = app
        self.client = falcon.testing.TestClient(app)

    def get(self, path: str, key: str | None = None, **given: Any) -> falcon.testing.Result:
        """Return the answer to a GET from a device's address."""
        return self.call("GET", path, key, **given)

    def call(
        self, method: str, path: str, key: str | None = None, **given: Any
    ) -> falcon.testing.Result:
        """Return the answer to a request from a device's address."""
        headers = {**given.pop("headers", {})}
        if key is not None:
            headers["X-API-Key"] = key
        given.setdefault("remote_addr", DEVICE_ADDRESS)
        return self.client.simulate_request(method, path, headers=headers, **given)


def _problem(
    request: falcon.Request, response: falcon.Response, fault: Problem, params: Any
) -> None:
    response.status = fault.status
    response.data = msgspec.json.encode(fault.document())
    response.content_type = "application/problem+json"
    if fault.retry_after_seconds is not None:
        response.set_header("Retry-After", str(max(1, round(fault.retry_after_seconds))))
