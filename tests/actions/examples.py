"""What the tests of actions share: callers, rows, versions, and an engine without processes."""

from typing import Any

from appliance.actions.callers import Caller, Role
from appliance.engine.status import ModelStatus, Statistics
from appliance.errors import ModelInvalid, NotFound, Problem
from appliance.identifiers import new_id
from appliance.store.predictions import Prediction

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

    def models(self) -> list[ModelStatus]:
        """Return every state."""
        return self.statuses

    def status(self, model: str, version: int | None) -> ModelStatus:
        """Return one state."""
        for one in self.statuses:
            if one.name == model and version in (None, one.version):
                return one
        raise NotFound(f"Request for unknown model: {model!r} is not found.")

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
        return reply, bytearray(self.result)

    def load(self, model: str) -> None:
        """Load, unless a fault was set."""
        self._change("load", model)

    def unload(self, model: str) -> None:
        """Unload, unless a fault was set."""
        self._change("unload", model)

    def activate(self, model: str, version: int) -> int | None:
        """Activate, unless a fault was set; return what was active."""
        self._change(f"activate {version}", model)
        return next((one.version for one in self.statuses if one.is_active), None)

    def _change(self, what: str, model: str) -> None:
        if self.fault is not None:
            raise self.fault
        self.status(model, None)
        self.changes.append(f"{what} {model}")


def broken() -> ModelInvalid:
    """Return what the engine raises for a version that does not start."""
    return ModelInvalid("failed to load 'vehicle-type@2': the weights are cut off")
