"""What the engine tells about its models."""

import threading
import time
from typing import Any

import msgspec

#: Batch sizes that are told apart; who sends more different ones gets sums of the first ones.
_MOST_BATCH_SIZES = 64


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


class BatchStatistics(msgspec.Struct, frozen=True):
    """Calls of one batch size and the summed nanoseconds of their steps."""

    batch_size: int
    count: int
    compute_input_ns: int
    compute_infer_ns: int
    compute_output_ns: int


class Conduct(msgspec.Struct, frozen=True):
    """What a version is judged by: calls answered, calls failed through it, and time at work."""

    answered: int = 0
    faults: int = 0
    compute_seconds: float = 0.0

    @property
    def calls(self) -> int:
        """Calls that got to the version."""
        return self.answered + self.faults

    @property
    def error_rate(self) -> float:
        """The share of calls that failed."""
        return self.faults / self.calls if self.calls else 0.0

    @property
    def mean_seconds(self) -> float | None:
        """Mean time at work on an answered call; None without any."""
        return self.compute_seconds / self.answered if self.answered else None


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
    #: What its file and manifest say of it, in the terms of openvino-model-api.
    model_info: dict[str, str] = {}
    statistics: Statistics
    batches: tuple[BatchStatistics, ...] = ()
    restarts: int
    process_id: int | None
    load_seconds: float | None
    canary_ok: bool | None
    canary_seconds: float | None
    canary_age_seconds: float | None
    in_flight: int

    @property
    def is_answering(self) -> bool:
        """Whether a request would be answered: at once, or once its idle process has started."""
        return self.state in ("ready", "idle")


class Counters:
    """The running sums behind Statistics.

    Threads: any; every change is under the lock.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._values = dict.fromkeys(Statistics.__struct_fields__, 0)
        self._faults = 0
        self._batches: dict[int, tuple[int, int, int, int]] = {}

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
            self._count_batch(batch, decode, infer, encode)

    def _count_batch(self, batch: int, decode: float, infer: float, encode: float) -> None:
        known = self._batches.get(batch)
        if known is None and len(self._batches) >= _MOST_BATCH_SIZES:
            return
        count, decoded, inferred, encoded = known or (0, 0, 0, 0)
        self._batches[batch] = (
            count + 1,
            decoded + int(decode * 1e9),
            inferred + int(infer * 1e9),
            encoded + int(encode * 1e9),
        )

    def batches(self) -> tuple[BatchStatistics, ...]:
        """Return the sums of each batch size, smallest first."""
        with self._lock:
            return tuple(
                BatchStatistics(size, *sums) for size, sums in sorted(self._batches.items())
            )

    def failed(self, seconds: float, *, is_fault: bool = True) -> None:
        """Given how long a call took until it failed, count it.

        It is no fault of the version when the call never got in.
        """
        with self._lock:
            self._faults += is_fault
            self._values["fail_count"] += 1
            self._values["fail_ns"] += int(seconds * 1e9)

    def conduct(self) -> "Conduct":
        """Return what a version is judged by, as it is now."""
        with self._lock:
            values = self._values
            compute = ("compute_input_ns", "compute_infer_ns", "compute_output_ns")
            return Conduct(
                answered=values["success_count"],
                faults=self._faults,
                compute_seconds=sum(values[name] for name in compute) / 1e9,
            )

    def statistics(self) -> Statistics:
        """Return the sums as they are now."""
        with self._lock:
            return Statistics(**self._values)
