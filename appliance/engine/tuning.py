"""How the hosts of a version use the CPU, as it was measured on this very machine."""

import threading
from collections.abc import Mapping

import msgspec

#: The oldest goes for a new one; nobody has so many versions.
_MOST = 1000


class Tuning(msgspec.Struct, frozen=True, kw_only=True):
    """What was measured to be best with so many `cores`: it says nothing about other numbers."""

    fingerprint: str
    cores: int
    streams: int
    threads: int
    in_flight: int


class Tunings:
    """The tuning of each version.

    Threads: any. `_lock` guards changes; looking up is one step.
    """

    def __init__(self, fingerprint: str) -> None:
        self._fingerprint = fingerprint
        self._known: dict[str, Tuning] = {}
        self._lock = threading.Lock()

    def restore(self, known: Mapping[str, Tuning]) -> None:
        """Given what was known before, by `model@version`, use it instead."""
        with self._lock:
            self._known = dict(known)

    def of(self, model: str, version: int, *, cores: int) -> Tuning | None:
        """Given a version and the cores that it may use, return its tuning.

        None where there is none, or it was measured on another machine or with other cores.
        """
        found = self._known.get(f"{model}@{version}")
        if found is None or (found.fingerprint, found.cores) != (self._fingerprint, cores):
            return None
        return found

    def put(self, model: str, version: int, tuning: Tuning) -> dict[str, Tuning]:
        """Given a version and its tuning, use it from its next start on; return all of them."""
        name = f"{model}@{version}"
        with self._lock:
            others = [(key, kept) for key, kept in self._known.items() if key != name]
            self._known = {**dict(others[1 - _MOST :]), name: tuning}
            return self._known
