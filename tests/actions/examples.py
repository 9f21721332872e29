"""What the tests of actions share: callers, rows, versions, and an engine without processes."""

from collections.abc import Callable
from typing import Any

from appliance.actions.callers import Caller, Role
from appliance.engine.comparison import (
    Agreement,
    ComparisonReport,
    Difference,
    VersionFigures,
)
from appliance.engine.status import ModelStatus, Statistics
from appliance.engine.traffic import Traffic
from appliance.errors import ModelInvalid, NotFound, Problem
from appliance.identifiers import new_id
from appliance.store.predictions import Prediction

Commit = Callable[[int | None], None]
TRUCK = (
    b'{"predictions":[{"head":"type","label":"truck","confidence":0.75,"top":['
    b'{"label":"truck","index":0,"confidence":0.75},{"label":"van","index":1,"confidence":0.2}]}]}'
)
ADMIN = Caller(key_name="ann", key_id="admin1", role=Role.ADMIN, address="192.0.2.1")
OPERATOR = Caller(key_name="oli", key_id="oper11", role=Role.OPERATOR, address="192.0.2.2")


def a_device(key_id: str = "cam001", **changes: Any) -> Caller:
    """Return a device's caller."""
    fields = {"key_name": f"camera {key_id}", "role": Role.DEVICE, "address": "192.0.2.7"}
    return Caller(key_id=key_id, **{**fields, **changes})


def a_status(name: str = "vehicle-type", version: int = 1, **changes: Any) -> ModelStatus:
    """Return the state of a version that serves well."""
    fields: dict[str, Any] = {
        "task": "image-classification",
        "state": "ready",
        "reason": "",
        "is_active": True,
        "inputs": ({"name": "image", "datatype": "FP32", "shape": [1, 8, 8, 3]},),
        "outputs": ({"name": "type", "datatype": "FP32", "shape": [1, 2]},),
        "labels": {"type": ("truck", "van")},
        "statistics": Statistics(),
        "restarts": 0,
        "process_id": None,
        "load_seconds": 1.5,
        "canary_ok": True,
        "canary_seconds": 0.01,
        "canary_age_seconds": 1.0,
        "in_flight": 0,
        **changes,
    }
    return ModelStatus(name=name, version=version, **fields)


def a_prediction(**changes: Any) -> Prediction:
    """Return a row of the history."""
    fields: dict[str, Any] = {
        "id": new_id(),
        "received_seconds": 1_790_000_000.0,
        "model": "vehicle-type",
        "version": 1,
        "task": "image-classification",
        "key_id": "cam001",
        "key_name": "camera 1",
        "label": "truck",
        "confidence": 0.75,
        "content_type": "image/jpeg",
        "input_bytes": 5,
        "result": TRUCK,
        "duration_ms": 1.5,
        "request_id": "r1",
        **changes,
    }
    return Prediction(**fields)


class StubEngine:
    """Answers like the engine, from a list of states and one result, without any process."""

    def __init__(self, *statuses: ModelStatus) -> None:
        self.statuses = list(statuses or [a_status()])
        self.calls: list[tuple[str, int | None, dict[str, Any], bytes]] = []
        self.changes: list[str] = []
        self.result = TRUCK
        self.label: str | None = "truck"
        self.confidence: float | None = 0.75
        self.fault: Problem | None = None
        self.spread = Traffic()

    def models(self) -> list[ModelStatus]:
        """Return every state."""
        return self.statuses

    def status(self, model: str, version: int | None) -> ModelStatus:
        """Return one state."""
        for one in self.statuses:
            if one.name == model and version in (None, one.version):
                return one
        raise NotFound(f"Request for unknown model: {model!r} is not found.")

    def active_versions(self) -> dict[str, int]:
        """Return the active version of each model."""
        return {one.name: one.version for one in self.statuses if one.is_active}

    def task_of(self, model: str, version: int | None) -> str:
        """Return the task of a version."""
        return self.status(model, version).task

    def call(
        self,
        model: str,
        version: int | None,
        header: dict[str, Any],
        body: bytes,
        *,
        waiting_since: float | None = None,
        sender: str = "",
    ) -> tuple[dict[str, Any], bytearray]:
        """Answer, or raise the fault that was set."""
        if self.fault is not None:
            raise self.fault
        self.calls.append((model, version, header, bytes(body)))
        found = self.status(model, version)
        reply = {
            "model": found.name,
            "version": found.version,
            "task": found.task,
            "queue": 0.001,
            "timing": (0.002, 0.003, 0.004),
            "label": self.label,
            "confidence": self.confidence,
        }
        if "draw" in header:
            return {**reply, "result": self.result}, bytearray(b"drawn " + body)
        return reply, bytearray(self.result)

    def load(self, model: str, version: int | None = None, *, commit: Commit) -> int:
        """Load, unless a fault was set."""
        self._change("load", model, commit)
        return self.status(model, version).version

    def unload(self, model: str, *, commit: Commit) -> None:
        """Unload, unless a fault was set."""
        self._change("unload", model, commit)

    def activate(self, model: str, version: int, *, commit: Commit) -> int | None:
        """Activate, unless a fault was set; return what was active."""
        before = self.active_versions().get(model)
        self._change(f"activate {version}", model, commit)
        return before

    def set_traffic(self, model: str, traffic: Traffic, *, commit: Commit) -> None:
        """Spread requests, unless a fault was set."""
        self._change("spread", model, commit)
        self.spread = traffic

    def traffic(self, model: str) -> Traffic:
        """Return how requests are spread."""
        return self.spread

    def comparison(self, model: str) -> ComparisonReport:
        """Return figures of one version."""
        figures = VersionFigures(
            version=1,
            role="active",
            requests=5,
            failures=0,
            mean_ms=1.0,
            p50_ms=1.5,
            p95_ms=2.5,
        )
        agreement = Agreement(
            compared=4,
            agreed=3,
            ratio=0.75,
            failed=0,
            dropped=1,
            mean_confidence_difference=None,
            differences=(Difference(active="truck", shadow="van", count=1),),
        )
        return ComparisonReport(
            model=model,
            active_version=1,
            traffic={},
            shadow="2",
            versions=(figures,),
            agreement=agreement,
        )

    def active(self, model: str) -> None:
        """Keep no record of anything."""

    def _change(self, what: str, model: str, commit: Commit) -> None:
        if self.fault is not None:
            raise self.fault
        self.status(model, None)
        commit(self.active_versions().get(model))
        self.changes.append(f"{what} {model}")


def broken() -> ModelInvalid:
    """Return what the engine raises for a version that does not start."""
    return ModelInvalid("failed to load 'vehicle-type@2': the weights are cut off")
