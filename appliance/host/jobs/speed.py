"""How many inferences a second a model makes with given streams and threads, and how long each
takes. Only the network is measured: no decoding, no HTTP.
"""

import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from appliance.host.openvino_import import ov

Arrays = Mapping[str, NDArray[Any]]


class Rate(NamedTuple):
    """Rows a second, and the milliseconds within which half and 95 of 100 inferences end."""

    per_second: float
    p50_ms: float
    p95_ms: float


class Contender:
    """One compiled model that is measured again and again. Threads: one."""

    def __init__(self, compiled: "ov.CompiledModel", *, in_flight: int, rows: int = 1) -> None:
        self._requests = [compiled.create_infer_request() for _ in range(in_flight)]
        self._arrays = [_filling(port) for port in compiled.inputs]
        self._rows = rows
        self._runs: list[tuple[float, list[float]]] = []
        self.run(0.05)  # the first inferences pay for set-up
        self._runs.clear()

    def run(self, seconds: float) -> None:
        """Infer for so long with all requests in flight, and remember how it went."""
        begun: deque[tuple[Any, float]] = deque()
        took: list[float] = []
        free = deque(self._requests)
        done, started = 0, time.perf_counter()
        until = started + seconds
        while time.perf_counter() < until:
            while free:
                request = free.popleft()
                begun.append((request, time.perf_counter()))
                request.start_async(dict(enumerate(self._arrays)), share_inputs=True)
            free.append(_finished(begun, took))
            done += self._rows
        while begun:
            _finished(begun, took)
            done += self._rows
        self._runs.append((done / (time.perf_counter() - started), took))

    def rate(self) -> Rate:
        """Return the median rate of the better half of the runs, and how long inferences took.

        What else the machine does only ever slows a run, so the slower half says more about that.
        """
        self._runs.sort(key=lambda run: -run[0])
        better = self._runs[: (len(self._runs) + 1) // 2]
        took = [seconds for _, run in better for seconds in run]
        p50, p95 = (float(value) * 1000 for value in np.percentile(took, (50, 95)))
        return Rate(float(np.median([rate for rate, _ in better])), p50, p95)


def _finished(begun: "deque[tuple[Any, float]]", took: list[float]) -> Any:
    """Wait for the inference that began first; note its seconds and return its request."""
    request, at = begun.popleft()
    request.wait()
    took.append(time.perf_counter() - at)
    return request


def race(
    contenders: Sequence[Contender],
    *,
    rounds: int,
    seconds: float,
    report: Callable[[float], None],
) -> list[Rate]:
    """Given contenders, let them run in turns and return the rate of each.

    In turns, because a machine that is busy for a while must not punish only one of them.
    """
    for number in range(rounds):
        for place, contender in enumerate(contenders):
            report((number + place / len(contenders)) / rounds)
            contender.run(seconds)
    return [contender.rate() for contender in contenders]


def compiled_for(
    model: "ov.Model", *, streams: int, threads: int, precision: str
) -> "ov.CompiledModel":
    """Given a model and how it may use the CPU, return it compiled; "auto" leaves precision."""
    settings = {"NUM_STREAMS": str(streams), "INFERENCE_NUM_THREADS": str(threads)}
    if precision != "auto":
        settings["INFERENCE_PRECISION_HINT"] = precision
    return ov.Core().compile_model(model, "CPU", settings)


def _filling(port: Any) -> NDArray[Any]:
    """Return values for an input: noise for pixels, since time does not depend on what they are.

    Variable dimensions are 1, but for sequences of a text, which get 64 tokens.
    """
    dimensions = [
        size.get_length() if size.is_static else (64 if number else 1)
        for number, size in enumerate(port.get_partial_shape())
    ]
    kind = port.get_element_type().to_dtype()
    random = np.random.default_rng(1)
    if kind == np.uint8:
        return random.integers(0, 255, dimensions, dtype=np.uint8)
    if np.issubdtype(kind, np.floating):
        return random.random(dimensions).astype(kind)
    return np.ones(dimensions, kind)
