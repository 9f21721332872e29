"""The dialect on a real waitress server with an engine inside this process."""

import http.client
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import falcon
import numpy as np
import tritonclient.http as triton
from waitress.server import create_server

from appliance.actions.callers import Caller, Role
from appliance.config import Limits
from appliance.errors import Problem
from appliance.web.dialects import open_inference
from appliance.web.dialects.open_inference import Inferred
from appliance.web.dialects.open_inference_sequences import Sequences
from appliance.web.dialects.tensor_relay import Relay
from appliance.web.middleware.requests import Requests
from appliance.web.problems import ErrorShapes
from tests.tensor_models import ALL, MOST_BATCH, InProcessEngine

BODY_BYTES = 200_000


class _Observer:
    def request_finished(self, **fields: Any) -> None:
        """Look away."""


@dataclass
class Served:
    """A running dialect and what it told its surroundings."""

    engine: InProcessEngine = field(default_factory=lambda: InProcessEngine(*ALL))
    caller: Caller = field(
        default_factory=lambda: Caller(key_name="k", address="127.0.0.1", role=Role.ADMIN)
    )
    records: list[Inferred] = field(default_factory=list)
    changes: list[tuple[str, str]] = field(default_factory=list)
    sessions: Any = None
    unrecordable: Problem | None = None
    address: str = ""

    def process_request(self, request: falcon.Request, response: falcon.Response) -> None:
        """Stand in for authentication."""
        request.context.caller = self.caller

    def require_recordable(self) -> None:
        """Raise what was set, as a full disk would."""
        if self.unrecordable is not None:
            raise self.unrecordable

    def record(self, inferred: Inferred) -> None:
        """Remember an answered request."""
        self.records.append(inferred)

    def load(self, caller: Caller, model: str) -> None:
        """Load, and remember who asked."""
        self.changes.append((caller.key_name, f"load {model}"))
        self.engine.load(model)

    def unload(self, caller: Caller, model: str) -> None:
        """Unload, and remember who asked."""
        self.changes.append((caller.key_name, f"unload {model}"))
        self.engine.unload(model)

    def app(self) -> "falcon.App[falcon.Request, falcon.Response]":
        """Return the dialect as an application with the appliance's own error shapes."""
        app = falcon.App(middleware=[Requests(_Observer(), None), self])
        app.req_options.strip_url_path_trailing_slash = True
        ErrorShapes({open_inference.PREFIX: open_inference.error_body}).install(app)
        limits = Limits(input_bytes=BODY_BYTES - 1000, json_bytes=1000, tensor_batch=MOST_BATCH)
        for route in open_inference.routes(
            self.engine,
            Relay(self.engine, limits, self),
            Sequences(self.sessions),
            limits=limits,
            load=self.load,
            unload=self.unload,
        ):
            app.add_route(route.path, route.resource, suffix=route.suffix)
        return app


@contextmanager
def serving() -> Iterator[Served]:
    """Serve the dialect on a free loopback port until the block ends."""
    served = Served()
    server = create_server(served.app(), host="127.0.0.1", port=0, threads=4)
    served.address = f"127.0.0.1:{server.effective_port}"
    loop = threading.Thread(target=server.run, daemon=True)
    loop.start()
    try:
        yield served
    finally:
        server.close()
        server.task_dispatcher.shutdown()
        server.asyncore.close_all(server._map)
        loop.join(10)


def tensor(name: str, array: np.ndarray, datatype: str, *, binary: bool = True) -> Any:
    found = triton.InferInput(name, list(array.shape), datatype)
    found.set_data_from_numpy(array, binary_data=binary)
    return found


def features(rows: int = 1, *, binary: bool = True) -> Any:
    array = np.arange(rows * 5, dtype=np.float32).reshape(rows, 5)
    return tensor("features", array, "FP32", binary=binary)


def raw(
    served: Served,
    method: str,
    path: str,
    body: bytes | None = None,
    headers: dict[str, str] | None = None,
) -> tuple[int, dict[str, str], bytes]:
    connection = http.client.HTTPConnection(served.address, timeout=30)
    try:
        connection.request(method, path, body, headers or {})
        response = connection.getresponse()
        return response.status, {k.lower(): v for k, v in response.getheaders()}, response.read()
    finally:
        connection.close()


def error(answer: tuple[int, dict[str, str], bytes], status: int) -> str:
    """Return the text of an answer that must be the protocol's error."""
    got, headers, body = answer
    document = json.loads(body)
    assert (got, headers["content-type"], list(document)) == (
        status,
        "application/json",
        ["error"],
    )
    assert document["error"]
    return str(document["error"])


def json_request(rows: int = 1, **more: Any) -> bytes:
    data = list(range(rows * 5))
    one = {"name": "features", "shape": [rows, 5], "datatype": "FP32", "data": data}
    return json.dumps({"inputs": [one]} | more).encode()


def infer(
    served: Served, body: bytes, model: str = "scores", **headers: str
) -> tuple[int, dict[str, str], bytes]:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return raw(served, "POST", f"/v2/models/{model}/infer", body, named)
