"""Parts of the tests of streams: an engine that counts letters, and callers."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import falcon
import falcon.testing
import msgspec

from appliance.actions.admit import Gate
from appliance.actions.callers import Caller, Role
from appliance.actions.key_ring import KeyRing
from appliance.actions.streams import Chunk, StreamSessions
from appliance.clock import ManualClock
from appliance.config import Access, Config, Limits, Metrics
from appliance.errors import HostDied, InvalidInput, NotFound
from appliance.identifiers import new_id
from appliance.store.database import Database
from appliance.web.dialects.steps_guide import StepsGuide
from appliance.web.middleware.access import AccessMiddleware
from appliance.web.middleware.requests import Requests
from appliance.web.problems import ErrorShapes
from appliance.web.resources.streams import StreamResource, StreamsResource

DEVICE = Caller(key_name="phone", key_id="abc123", address="192.0.2.7", role=Role.DEVICE)
OTHER = Caller(key_name="watch", key_id="def456", address="192.0.2.8", role=Role.DEVICE)
OPERATOR = Caller(key_name="ann", key_id="opr789", address="192.0.2.9", role=Role.OPERATOR)


GUIDE = {
    "detect_step": "detect",
    "step_count": "count",
    "reset_count": "reset",
    "session_summary": "summary",
    "model_info": "model",
}


class Unobserved:
    """Wants to know of no request."""

    def request_finished(self, **_: object) -> None:
        pass


class Status(NamedTuple):
    """What the engine says of a model."""

    name: str
    version: int
    task: str
    state: str = "ready"


class LetterEngine:
    """An engine whose model `letters` finds an event in each letter but the last one so far.

    That one is held back in the state until the next letter or the end: as a step detector does.
    In JSON, a reading with `az` above 15 is a letter.
    """

    def __init__(self) -> None:
        self.active = {"letters": 1, "step-detector": 1}
        self.tasks = {1: "step-detection", 2: "step-detection", 3: "image-classification"}
        self.calls: list[tuple[str, int]] = []
        self.dies_at: set[int] = set()
        self.ending_fails_with: Exception | None = None

    def active_versions(self) -> dict[str, int]:
        return dict(self.active)

    def status(self, model: str, version: int | None) -> Status:
        if model not in self.active:
            raise NotFound(f"There is no {model}.")
        found = version or self.active[model]
        return Status(model, found, self.tasks[found])

    def task_of(self, model: str, version: int | None) -> str:
        return self.status(model, version).task

    def call(
        self,
        model: str,
        version: int | None,
        header: Mapping[str, Any],
        body: bytes,
        *,
        waiting_since: float | None = None,
        sender: str = "",
    ) -> tuple[dict[str, Any], bytearray]:
        self.calls.append((header["method"], version or 0))
        if len(self.calls) in self.dies_at:
            raise HostDied("The host ended.")
        held = header.get("state") or b""
        if header["method"] == "end":
            if self.ending_fails_with is not None:
                raise self.ending_fails_with
            return {}, bytearray(_result(held) if held else b"")
        if b"!" in body:
            raise InvalidInput("No letter.", pointer="/0")
        letters = held + _letters(body)
        found, kept = letters[:-1], letters[-1:]
        return {"state": kept, "label": None, "confidence": None}, bytearray(_result(found))


def _letters(body: bytes) -> bytes:
    if not body.startswith(b"{"):
        return body
    fields = msgspec.json.decode(body)
    heights = fields["az"] if "az" in fields else [row["az"] for row in fields["readings"]]
    return b"s" * sum(height > 15 for height in heights)


def _result(letters: bytes) -> bytes:
    events = [{"letter": chr(letter), "confidence": 0.75} for letter in letters]
    return msgspec.json.encode({"events": events})


class Parts:
    """Sessions over a real database, and the routes in front of them."""

    def __init__(self, database: Database, clock: ManualClock, **settings: Any) -> None:
        self.engine = LetterEngine()
        self.database = database
        self.clock = clock
        history = settings.pop("history", {})
        config = msgspec.convert({"streams": settings, "history": history}, Config)
        self.sessions = StreamSessions(self.engine, database, clock, config)  # type: ignore[arg-type]
        self.ring = KeyRing(database, clock)
        self.app = self._app()
        self.client = falcon.testing.TestClient(self.app)

    def _app(self) -> falcon.App:
        guide = StepsGuide(self.sessions, self.engine, self.clock)  # type: ignore[arg-type]
        gate = Gate(self.ring, self.clock, access=Access(), metrics=Metrics())
        suffixes = {f"/{name}": suffix for name, suffix in GUIDE.items()}
        app = falcon.App(
            middleware=[Requests(Unobserved(), None), AccessMiddleware(gate, suffixes)]
        )
        ErrorShapes({}).install(app)
        app.add_route("/api/v1/streams", StreamsResource(self.sessions))
        app.add_route("/api/v1/streams/{stream_id}", StreamResource(self.sessions, Limits()))
        for path, suffix in suffixes.items():
            app.add_route(path, guide, suffix=suffix)
        return app

    def call(self, method: str, path: str, key: str | None, **given: Any) -> falcon.testing.Result:
        headers = {**given.pop("headers", {}), **({"X-API-Key": key} if key else {})}
        return self.client.simulate_request(
            method, path, headers=headers, remote_addr="192.0.2.7", **given
        )

    def feed(
        self, stream_id: str, body: bytes, sequence: int | None = None, *, caller: Caller = DEVICE
    ) -> bytes:
        return self.sessions.feed(
            Chunk(
                caller=caller,
                stream_id=stream_id,
                sequence=sequence,
                content_type="text/csv",
                body=body,
                request_id=new_id(),
                received_monotonic=self.clock.monotonic(),
            )
        )


def events_of(answer: bytes) -> str:
    """Return the letters of one answer, those flushed at a switch included."""
    fields = msgspec.json.decode(answer)
    parts = [fields["flushed"], fields["result"]]
    return "".join(event["letter"] for part in parts if part for event in part["events"])
