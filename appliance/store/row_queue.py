"""Rows that wait for the writer, bounded by their number and by their bytes."""

import threading
from collections import deque
from collections.abc import Iterable

from appliance.store.connection import bytes_of
from appliance.store.transaction import Row

#: Bytes that may wait when nothing else is said, and what a row costs besides its values.
QUEUE_BYTES = 64 * 1024 * 1024
ROW_BYTES = 512


class RowQueue:
    """A line of rows nobody waits for.

    Threads: any may append, the writer's takes and puts back; `_rows` is a deque whose ends are
    atomic, `_lock` guards the sum of bytes.
    """

    def __init__(self, most_rows: int, most_bytes: int = QUEUE_BYTES) -> None:
        self._most_rows = most_rows
        self._most_bytes = most_bytes
        self._rows: deque[Row] = deque()
        self._bytes = 0
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._rows)

    def append(self, row: Row) -> bool:
        """Given a row, return whether there was room for it."""
        if len(self._rows) >= self._most_rows:
            return False
        size = _size_of(row)
        with self._lock:
            # A row larger than the bound itself goes in alone: it was small enough to be answered.
            if self._rows and self._bytes + size > self._most_bytes:
                return False
            self._bytes += size
            self._rows.append(row)
        return True

    def extend(self, rows: Iterable[Row]) -> None:
        """Given few rows, put as many of them at the end as there are places."""
        kept = list(rows)[: self._most_rows]
        with self._lock:
            self._bytes += sum(map(_size_of, kept))
            self._rows.extend(kept)

    def take(self, most: int) -> list[Row]:
        """Given a number, return and remove as many rows from the front, or all."""
        with self._lock:
            taken = [self._rows.popleft() for _ in range(min(len(self._rows), most))]
            self._bytes -= sum(map(_size_of, taken))
        return taken

    def put_back(self, rows: list[Row], *, is_full: bool = False) -> int:
        """Given rows that were taken, put them in front again; return how many found no room.

        With `is_full` none does.
        """
        with self._lock:
            room = 0 if is_full else max(self._most_rows - len(self._rows), 0)
            kept = rows[:room]
            self._bytes += sum(map(_size_of, kept))
            self._rows.extendleft(reversed(kept))
        return len(rows) - len(kept)


def _size_of(row: Row) -> int:
    return ROW_BYTES + bytes_of(row[1])
