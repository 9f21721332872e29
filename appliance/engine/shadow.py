"""Copies of requests for a version that is only tried: never waited for, dropped when busy."""

import logging
import queue
import threading
import time
from collections.abc import Callable
from typing import Any, NamedTuple

from appliance.engine.comparison import Comparison, Said
from appliance.engine.served import Served
from appliance.errors import Problem

_log = logging.getLogger(__name__)
#: Copies that may wait, and their bytes in all.
MOST_WAITING = 16
MOST_BYTES = 32 * 1024 * 1024

Ask = Callable[[Served, dict[str, Any], bytes], tuple[dict[str, Any], bytearray]]


class Copy(NamedTuple):
    """A request that was answered, for the shadow to answer too."""

    shadow: Served
    header: dict[str, Any]
    body: bytes
    said: Said
    comparison: Comparison


class ShadowCalls:
    """Sends copies one after the other.

    Threads: `offer` from any, its own for the calls, started with the first copy. Bounds:
    MOST_WAITING copies of MOST_BYTES in all; what does not fit is dropped and counted.
    """

    def __init__(self, ask: Ask) -> None:
        self._ask = ask
        self._waiting: queue.Queue[Copy | None] = queue.Queue(MOST_WAITING)
        self._lock = threading.Lock()
        self._bytes = 0  # guarded by _lock
        self._thread: threading.Thread | None = None  # guarded by _lock

    def has_room(self, size: int) -> bool:
        """Given a body's size, return whether a copy of it would be taken now."""
        return self._bytes + size <= MOST_BYTES and not self._waiting.full()

    def offer(self, copy: Copy) -> None:
        """Given a copy, send it later, or drop it when too many wait."""
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="shadow", daemon=True)
                self._thread.start()
            if self._bytes + len(copy.body) > MOST_BYTES:
                copy.comparison.dropped()
                return
            self._bytes += len(copy.body)
        try:
            self._waiting.put_nowait(copy)
        except queue.Full:
            self._forget(copy)
            copy.comparison.dropped()

    def stop(self) -> None:
        """End after the copy that is being answered."""
        with self._lock:
            thread, self._thread = self._thread, None
        if thread is not None:
            self._drain()
            self._waiting.put(None)

    def _drain(self) -> None:
        try:
            while True:
                self._waiting.get_nowait()
        except queue.Empty:
            return

    def _run(self) -> None:
        while (copy := self._waiting.get()) is not None:
            try:
                self._send(copy)
            except Exception:  # one odd answer must not end the comparison
                _log.exception("shadow call failed")
            finally:
                self._forget(copy)

    def _forget(self, copy: Copy) -> None:
        with self._lock:
            self._bytes -= len(copy.body)

    def _send(self, copy: Copy) -> None:
        started = time.monotonic()
        version, comparison = copy.shadow.place.version, copy.comparison
        try:
            reply, answer = self._ask(copy.shadow, copy.header, copy.body)
        except Problem:
            comparison.answered(version, 0.0, is_ok=False)
            comparison.shadow_failed()
            return
        comparison.answered(version, time.monotonic() - started, is_ok=True)
        comparison.compared(copy.said, Said.of(reply, answer))
