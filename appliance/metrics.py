"""The metrics of the appliance: how they get their values; their names are in metric_families.py.

What happens on the way of a request is counted as it happens, in two or three microseconds; what
can be asked (queues, disk, models, the machine) is asked when Prometheus scrapes. Names follow the
rules of `promtool check metrics`; label values are bounded, never a client, key or path.
"""

import logging
import threading
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Protocol

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.openmetrics import exposition as openmetrics
from prometheus_client.registry import Collector

from appliance import machine
from appliance.machine import Labels, Reading
from appliance.metric_families import COUNTED as COUNTED
from appliance.metric_families import MACHINE, Family
from appliance.metric_families import WATCHED as WATCHED

NAMESPACE = "inference_appliance"
#: Upper bounds in seconds. Small models answer in a millisecond, the deadline is ten seconds.
BOUNDS_SECONDS = (
    *(0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05),
    *(0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0),
)
#: More sets of label values than this in one metric share one set, whose values are "other".
LABEL_SETS = 1000
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_OTHER = "other"

_log = logging.getLogger(__name__)


class Connections(Protocol):
    """What the HTTP server tells of its connections."""

    @property
    def open(self) -> int:
        """Open connections."""

    @property
    def waiting_inference(self) -> int:
        """Requests waiting for a thread of the inference lane."""

    @property
    def waiting_control(self) -> int:
        """Requests waiting for a thread of the control lane."""

    @property
    def spooled_bytes(self) -> int:
        """Bytes of request bodies on disk."""


class Metrics:
    """The metrics of one appliance, in a registry of their own.

    Threads: any; `_lock` guards the counts, `_watch_lock` the list of what is asked at a scrape.
    """

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._lock = threading.Lock()
        self._watch_lock = threading.Lock()
        self._counts: dict[str, dict[Labels, float]] = {}
        self._histograms: dict[str, dict[Labels, _Histogram]] = {}
        self._readers: list[Callable[[], Mapping[str, Reading]]] = []
        for name, family in COUNTED.items():
            if family.kind == "counter":
                # Counters without labels start at 0, so that the first increase is seen as one.
                self._counts[name] = {} if family.labels else {(): 0.0}
            else:
                self._histograms[name] = {}
        self._requests = self._counts["requests_total"]
        self._calls = self._counts["inference_requests_total"]
        self._phases = tuple(
            self._histograms[f"{phase}_duration_seconds"]
            for phase in ("queue", "decode", "inference", "encode")
        )
        self.registry.register(_Collected(self))
        ProcessCollector(namespace=NAMESPACE, registry=self.registry)

    def request_finished(self, *, route: str, method: str, status: int, seconds: float) -> None:
        """Given an answered request (the route's template, not its path), count and time it."""
        labels = (route, method if method in _METHODS else _OTHER, str(status))
        with self._lock:
            _add(self._requests, labels, 1.0)
            _observe(self._histograms["request_duration_seconds"], (route,), seconds)

    def call_finished(
        self, model: str, version: int, outcome: str, seconds: tuple[float, float, float, float]
    ) -> None:
        """Given a call of a model and its queue, decode, inference and encode seconds, count it.

        Only an `ok` call has all four; of another only the queue time is kept.
        """
        key = (model,)
        with self._lock:
            _add(self._calls, (model, str(version), outcome), 1.0)
            if outcome == "ok":
                for series, value in zip(self._phases, seconds, strict=True):
                    _observe(series, key, value)
            else:
                _observe(self._phases[0], key, seconds[0])

    def commit_finished(self, seconds: float) -> None:
        """Given the time one group commit took, keep it."""
        with self._lock:
            _observe(self._histograms["database_commit_duration_seconds"], (), seconds)

    def host_restarted(self, model: str, reason: str) -> None:
        """Given a model whose process is started again and a reason of one word, count it."""
        self._count("host_restarts_total", model, reason)

    def model_load_failed(self, model: str) -> None:
        """Given a model of which a version did not become ready, count it."""
        self._count("model_load_failures_total", model)

    def auto_rolled_back(self, model: str) -> None:
        """Given a model that went back to its version before by itself, count it."""
        self._count("auto_rollbacks_total", model)

    def prediction_answered(self, *, is_recorded: bool) -> None:
        """Given whether an answered prediction was accepted for writing, count it."""
        self._count(f"predictions_{'' if is_recorded else 'un'}recorded_total")

    def rate_limited(self, kind: str) -> None:
        """Given what ran out of tokens, `key` or `address`, count a refused request."""
        self._count("rate_limited_total", kind)

    def job_ended(self, kind: str, outcome: str, seconds: float) -> None:
        """Given an attempt at a job that ended, how, and how long it took, count and time it."""
        with self._lock:
            _add(self._counts["jobs_processed_total"], (kind, outcome), 1.0)
            _observe(self._histograms["job_duration_seconds"], (kind,), seconds)

    def server_event(self, event: str, *, reason: str, **_: Any) -> None:
        """Given what the HTTP server did by itself (turned_away, cut or rejected), count it."""
        if event == "turned_away":
            self._count("http_connections_rejected_total", reason)
        elif event == "cut":
            self._count("http_connections_cut_total", reason)
        else:
            self._count("http_requests_rejected_total", reason)

    def watch(self, read: Callable[[], Mapping[str, Reading]]) -> None:
        """Given a function that returns values by names of WATCHED, ask it at every scrape."""
        with self._watch_lock:
            self._readers.append(read)

    def watch_connections(self, read: Callable[[], Connections]) -> None:
        """Given how to ask the HTTP server for its connections, do so at every scrape."""

        def readings() -> Mapping[str, Reading]:
            now = read()
            return {
                "http_connections": now.open,
                "waiting": {
                    ("inference",): now.waiting_inference,
                    ("control",): now.waiting_control,
                },
                "spool_bytes": now.spooled_bytes,
            }

        self.watch(readings)

    def exposition(self, accept: str = "") -> tuple[bytes, str]:
        """Given an Accept header, return all metrics and their media type: OpenMetrics 1.0 if
        that is asked for, else the Prometheus text format 0.0.4.
        """
        # Not the client library's own choice: it echoes the version it was asked for in the header
        # of the answer and fails on one that is no number.
        if "application/openmetrics-text" in accept.lower():
            body: bytes = openmetrics.generate_latest(self.registry)  # type: ignore[no-untyped-call]
            return body, openmetrics.CONTENT_TYPE_LATEST
        return generate_latest(self.registry), CONTENT_TYPE_PLAIN_0_0_4

    def families(self) -> Iterator[Metric]:
        """Return every metric but those of the process, with its values now."""
        watched = self._watched_families()
        with self._lock:
            counted = [
                _family(name, COUNTED[name], values.items())
                for name, values in self._counts.items()
            ]
            counted += [_histogram(name, values) for name, values in self._histograms.items()]
        yield from counted
        yield from watched
        readings = machine.readings()
        yield from (_family(name, MACHINE[name], _items(readings.get(name))) for name in MACHINE)

    def _watched_families(self) -> list[Metric]:
        with self._watch_lock:
            readers = list(self._readers)
        told: dict[str, dict[Labels, float]] = {name: {} for name in WATCHED}
        for read in readers:
            try:
                for name, reading in read().items():
                    told[name].update(_items(reading))
            except Exception:  # one part that cannot answer must not hide the others
                _log.exception("metrics reader failed")
                self._count("scrape_errors_total")
        return [_family(name, WATCHED[name], values.items()) for name, values in told.items()]

    def _count(self, name: str, *labels: str) -> None:
        with self._lock:
            _add(self._counts[name], labels, 1.0)


class _Histogram:
    """Counts per bucket and the sum; guarded by the lock of its Metrics.

    Ours, since `prometheus_client.Histogram.observe` takes two locks and a call of a model needs
    four of them: measured 8.5 µs for one call, against 4.2 µs under the one lock here.
    """

    __slots__ = ("counts", "sum_seconds")

    def __init__(self) -> None:
        self.counts = [0] * (len(BOUNDS_SECONDS) + 1)
        self.sum_seconds = 0.0


class _Collected(Collector):
    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def collect(self) -> Iterable[Metric]:
        return self._metrics.families()


def _add(values: dict[Labels, float], labels: Labels, amount: float) -> None:
    if labels not in values and len(values) >= LABEL_SETS:
        labels = (_OTHER,) * len(labels)
    values[labels] = values.get(labels, 0.0) + amount


def _observe(series: dict[Labels, _Histogram], labels: Labels, seconds: float) -> None:
    histogram = series.get(labels)
    if histogram is None:
        if len(series) >= LABEL_SETS:
            labels = (_OTHER,) * len(labels)
        histogram = series.setdefault(labels, _Histogram())
    histogram.counts[bisect_left(BOUNDS_SECONDS, seconds)] += 1
    histogram.sum_seconds += seconds


def _items(reading: Reading) -> Iterable[tuple[Labels, float]]:
    if reading is None:
        return ()
    return reading.items() if isinstance(reading, Mapping) else (((), float(reading)),)


def _family(name: str, family: Family, values: Iterable[tuple[Labels, float]]) -> Metric:
    kind = CounterMetricFamily if family.kind == "counter" else GaugeMetricFamily
    metric = kind(f"{NAMESPACE}_{name}", family.help, labels=family.labels)
    for labels, value in values:
        metric.add_metric(labels, value)
    return metric


def _histogram(name: str, series: Mapping[Labels, _Histogram]) -> Metric:
    family = COUNTED[name]
    metric = HistogramMetricFamily(f"{NAMESPACE}_{name}", family.help, labels=family.labels)
    for labels, histogram in series.items():
        buckets, total = [], 0
        for bound, count in zip((*BOUNDS_SECONDS, "+Inf"), histogram.counts, strict=True):
            total += count
            buckets.append((str(bound), float(total)))
        metric.add_metric(labels, buckets, histogram.sum_seconds)
    return metric
