"""What the engine tells about its models."""

import threading
import time
from typing import Any

import msgspec


class Statistics(msgspec.Struct, frozen=True, kw_only=True):
    """Counts and summed nanoseconds since the version was first served.

    The terms are those of the Open Inference Protocol's statistics extension.
    """

    inference_count: int = 0
    execution_count: int = 0
    last_inference_ms: int = 0
    success_count: int = 0
    success_ns: int = 0
    fail_count: int = 0
    fail_ns: int = 0
    queue_ns: int = 0
    compute_input_ns: int = 0
    compute_infer_ns: int = 0
    compute_output_ns: int = 0


class ModelStatus(msgspec.Struct, frozen=True, kw_only=True):
    """One version of one model, as it is now."""

    name: str
    version: int
    task: str
    state: str
    reason: str
    is_active: bool
    inputs: tuple[dict[str, Any], ...]
    outputs: tuple[dict[str, Any], ...]
    labels: dict[str, tuple[str, ...]]
    statistics: Statistics
    restarts: int
    process_id: int | None
    load_seconds: float | None
    canary_ok: bool | None
    canary_seconds: float | None
    canary_age_seconds: float | None
    in_flight: int


class Counters:
    """The running sums behind Statistics.

    Threads: any; every change is under the lock.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._values = dict.fromkeys(Statistics.__struct_fields__, 0)

    def succeeded(
        self, queue: float, decode: float, infer: float, encode: float, *, batch: int
    ) -> None:
        """Given the seconds of each step of one answered call and its batch size, count it."""
        with self._lock:
            values = self._values
            values["success_count"] += 1
            values["inference_count"] += batch
            values["execution_count"] += 1
            values["last_inference_ms"] = int(time.time() * 1000)
            values["success_ns"] += int((queue + decode + infer + encode) * 1e9)
            values["queue_ns"] += int(queue * 1e9)
            values["compute_input_ns"] += int(decode * 1e9)
            values["compute_infer_ns"] += int(infer * 1e9)
            values["compute_output_ns"] += int(encode * 1e9)

    def failed(self, seconds: float) -> None:
        """Given how long a call took until it failed, count it."""
        with self._lock:
            self._values["fail_count"] += 1
            self._values["fail_ns"] += int(seconds * 1e9)

    def statistics(self) -> Statistics:
        """Return the sums as they are now."""
        with self._lock:
            return Statistics(**self._values)
