"""Waiting for a quiet moment: the lowest priority shares cores, but not caches and memory.

Measured with `scripts/bench/batch` on two cores: beside a batch that only had the lowest priority
the median of online requests rose by more than half; with this it stayed within five percent. So a
job starts its next piece of work when nobody else runs, and where that never happens it leaves
four fifths of the time to the others.
"""

import time
from collections.abc import Callable
from pathlib import Path

_LOAD = Path("/proc/loadavg")
_LOOK_SECONDS = 0.001
_PATIENCE = 4.0
_MOST_SECONDS = 0.25


def runnable(path: Path = _LOAD) -> int:
    """Return how many threads of the machine run or want to, this one among them; 0: unknown.

    Source: proc(5), the first number of the fourth field of /proc/loadavg.
    """
    try:
        return int(path.read_text().split()[3].partition("/")[0])
    except (OSError, ValueError, IndexError):
        return 0


class Courtesy:
    """Lets others go first. Threads: one."""

    def __init__(
        self,
        count: Callable[[], int] = runnable,
        now: Callable[[], float] = time.perf_counter,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._count, self._now, self._sleep = count, now, sleep
        self._worked_since = now()

    def give_way(self) -> float:
        """Wait until nobody else runs, at most four times as long as the last piece of work took.

        Return the seconds waited.
        """
        began = self._now()
        most = min(_PATIENCE * (began - self._worked_since), _MOST_SECONDS)
        while self._count() > 1 and self._now() - began < most:
            self._sleep(_LOOK_SECONDS)
        self._worked_since = self._now()
        return self._worked_since - began
