"""Which version of a model answers whom, and which one is asked on the side."""

import hashlib
from collections.abc import Mapping

import msgspec

#: The resolution of a split: hundredths of a percent.
_SLOTS = 10_000


class Traffic(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How a model's requests are spread.

    `traffic` is percent by version, 100 in all, or empty; `shadow` is a version that gets copies.
    """

    traffic: dict[str, float] = {}
    shadow: str | None = None

    def versions(self) -> frozenset[int]:
        """Return every version that has to run for this."""
        numbers = {int(version) for version in self.traffic}
        return frozenset(numbers if self.shadow is None else numbers | {int(self.shadow)})


class Split:
    """A split of senders among versions. Threads: immutable.

    The same sender always meets the same version, across restarts too, and senders that were moved
    to a version stay there when its share grows.
    """

    def __init__(self, model: str, percent: Mapping[str, float]) -> None:
        self._salt = model.encode()[:16]  # else the same devices would try every new model
        self._bounds: list[tuple[float, int]] = []
        total = 0.0
        # The newest version first: its share begins at 0 and grows upwards.
        for version in sorted(map(int, percent), reverse=True):
            total += percent[str(version)] * _SLOTS / 100
            self._bounds.append((total, version))

    def version_for(self, sender: str) -> int:
        """Given what stands for a sender (a key's id or an address), return its version."""
        digest = hashlib.blake2b(sender.encode(), digest_size=8, key=self._salt).digest()
        slot = int.from_bytes(digest, "little") % _SLOTS
        for bound, version in self._bounds:
            if slot < bound:
                return version
        return self._bounds[-1][1]
