"""How versions of one model compare while they share its traffic: failures, latency, agreement."""

import threading
from collections import Counter, deque
from typing import Any, NamedTuple

import msgspec

#: Latencies kept of each version: enough for a 95th percentile that does not jump.
_LATENCIES = 2000
_MOST_VERSIONS = 16
_MOST_DIFFERENCES = 100
_SHOWN_DIFFERENCES = 20


class VersionFigures(msgspec.Struct, frozen=True, kw_only=True):
    """One version since the comparison began; times are milliseconds in its host."""

    version: int
    role: str
    requests: int
    failures: int
    mean_ms: float | None
    p50_ms: float | None
    p95_ms: float | None


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """A pair of differing answers and how often it came."""

    active: str
    shadow: str
    count: int


class Agreement(msgspec.Struct, frozen=True, kw_only=True):
    """How often the shadow gave the active version's answer.

    Answers with a label agree when the top labels are equal, others when the results are.
    `dropped` copies were never sent, because the machine had better to do.
    """

    compared: int
    agreed: int
    ratio: float | None
    failed: int
    dropped: int
    mean_confidence_difference: float | None
    differences: tuple[Difference, ...]


class ComparisonReport(msgspec.Struct, frozen=True, kw_only=True):
    """What `GET …/comparison` tells."""

    model: str
    active_version: int | None
    traffic: dict[str, float]
    shadow: str | None
    versions: tuple[VersionFigures, ...]
    agreement: Agreement | None


class Said(NamedTuple):
    """What one version answered, as far as it is compared."""

    label: str | None
    confidence: float | None
    result: bytes

    @staticmethod
    def of(reply: dict[str, Any], answer: bytes | bytearray) -> "Said":
        """Given a reply and its body, return what of it is compared."""
        label = reply.get("label")
        return Said(label, reply.get("confidence"), b"" if label is not None else bytes(answer))


class _Figures:
    def __init__(self) -> None:
        self.requests = self.failures = 0
        self.seconds: deque[float] = deque(maxlen=_LATENCIES)


class Comparison:
    """Running figures of one model's versions. Threads: any; all is under the lock."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._figures: dict[int, _Figures] = {}
        self._compared = self._agreed = self._failed = self._dropped = 0
        self._confidence_pairs = 0
        self._confidence_sum = 0.0
        self._differences: Counter[tuple[str, str]] = Counter()

    def answered(self, version: int, seconds: float, *, is_ok: bool) -> None:
        """Given an answered or failed call of a version, count it."""
        with self._lock:
            figures = self._figures.get(version)
            if figures is None:
                if len(self._figures) >= _MOST_VERSIONS:
                    return
                figures = self._figures[version] = _Figures()
            figures.requests += 1
            figures.failures += not is_ok
            if is_ok:
                figures.seconds.append(seconds)

    def compared(self, active: Said, shadow: Said) -> None:
        """Given both answers to one request, count whether they agree."""
        has_label = active.label is not None or shadow.label is not None
        agrees = active.label == shadow.label if has_label else active.result == shadow.result
        with self._lock:
            self._compared += 1
            self._agreed += agrees
            if agrees and active.confidence is not None and shadow.confidence is not None:
                self._confidence_pairs += 1
                self._confidence_sum += abs(active.confidence - shadow.confidence)
            pair = (active.label or "", shadow.label or "")
            has_room = pair in self._differences or len(self._differences) < _MOST_DIFFERENCES
            if has_label and not agrees and has_room:
                self._differences[pair] += 1

    def shadow_failed(self) -> None:
        """Count a copy that the shadow did not answer."""
        with self._lock:
            self._failed += 1

    def dropped(self) -> None:
        """Count a copy that was not sent."""
        with self._lock:
            self._dropped += 1

    def figures(self, roles: dict[int, str]) -> tuple[VersionFigures, ...]:
        """Given the role of each version, return the figures of those and of all that answered."""
        with self._lock:
            versions = sorted({*roles, *self._figures})
            return tuple(
                _told(version, roles.get(version, "earlier"), self._figures.get(version))
                for version in versions
            )

    def agreement(self) -> Agreement:
        """Return how far the shadow agrees."""
        with self._lock:
            pairs = self._differences.most_common(_SHOWN_DIFFERENCES)
            return Agreement(
                compared=self._compared,
                agreed=self._agreed,
                ratio=round(self._agreed / self._compared, 6) if self._compared else None,
                failed=self._failed,
                dropped=self._dropped,
                mean_confidence_difference=(
                    round(self._confidence_sum / self._confidence_pairs, 6)
                    if self._confidence_pairs
                    else None
                ),
                differences=tuple(
                    Difference(active=ours, shadow=theirs, count=count)
                    for (ours, theirs), count in pairs
                ),
            )


def _told(version: int, role: str, figures: _Figures | None) -> VersionFigures:
    seconds = sorted(figures.seconds) if figures else []
    count = len(seconds)
    return VersionFigures(
        version=version,
        role=role,
        requests=figures.requests if figures else 0,
        failures=figures.failures if figures else 0,
        mean_ms=round(sum(seconds) / count * 1000, 3) if count else None,
        p50_ms=round(seconds[count // 2] * 1000, 3) if count else None,
        p95_ms=round(seconds[min(count - 1, count * 95 // 100)] * 1000, 3) if count else None,
    )
