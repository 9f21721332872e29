"""Keep inputs: put what some models were asked aside, bounded, for calibration and for a look.

It stands beside the answers, never in their way: an input is offered after its prediction was
accepted for recording, waits in a bounded line, and is dropped and counted when there is no room.
"""

import contextlib
import logging
import random
import threading
from collections import deque
from collections.abc import Callable, Iterator
from typing import NamedTuple

import msgspec

from appliance.clock import Clock
from appliance.config import History
from appliance.errors import Problem
from appliance.identifiers import seconds_of
from appliance.store import predictions
from appliance.store.database import Database
from appliance.store.disk import DiskWatch, Level
from appliance.store.kept_inputs import KeptInput, KeptInputs

_log = logging.getLogger(__name__)
EVERY_MODEL = "*"
#: What may wait for the disk; at a full line an input is dropped rather than an answer slowed.
_MOST_WAITING = 256
_MOST_WAITING_BYTES = 64 * 1024 * 1024
#: More files than this would make looking through them slow.
MOST_FILES = 200_000
#: Where room runs out this much more goes at once, so that it does not run out with each input.
_SPARE_SHARE = 0.05
#: A prediction's row may wait for the database's writer for so long.
_UNCOMMITTED_SECONDS = 120.0
_IDS_PER_LOOK = 500
_SECONDS_PER_DAY = 86400.0
_STOP_SECONDS = 5.0


class InputsStatus(msgspec.Struct, frozen=True, kw_only=True):
    """Kept inputs for health and metrics; `paused` says why none is kept now although some are
    wanted. `dropped` counts since the start those for which there was no room.
    """

    is_on: bool
    paused: str
    kept: int
    kept_bytes: int
    waiting: int
    dropped: int


class _Offered(NamedTuple):
    model: str
    prediction_id: str
    body: bytes


class InputKeeper:
    """Keeps inputs.

    Threads: any may `offer`; one of its own writes; `sweep` is the maintenance's. `_lock` guards
    the line and the counts, `_files_lock` that nobody counts files while others come or go.
    """

    def __init__(
        self,
        history: History,
        clock: Clock,
        *,
        database: Database,
        disk: DiskWatch,
        files: KeptInputs,
        draw: Callable[[], float] = random.random,
    ) -> None:
        self._history = history
        self._clock = clock
        self._database = database
        self._disk = disk
        self.files = files
        self._draw = draw
        self._line: deque[_Offered] = deque()
        self._unwritten = self._waiting_bytes = 0
        self._kept = self._kept_bytes = self._dropped = 0
        self._is_stopping = False
        self._lock = threading.Lock()
        self._news = threading.Condition(self._lock)
        self._files_lock = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="inputs", daemon=True)

    def use_history(self, history: History) -> None:
        """Given the section [history], keep what it says from now on; the next sweep does the
        rest.
        """
        self._history = history

    def start(self) -> None:
        """Count what is there, remove what may not be, and begin."""
        self.files.remove_unfinished()
        self.sweep()
        self._thread.start()

    def stop(self) -> None:
        """Write what waits, for a few seconds at most, and end."""
        with self._lock:
            self._is_stopping = True
            self._news.notify()
        if self._thread.is_alive():
            self._thread.join(_STOP_SECONDS)

    def is_kept(self, model: str) -> bool:
        """Given a model, return whether its inputs are to be kept."""
        wanted = self._history.keep_inputs
        return bool(wanted) and (model in wanted or EVERY_MODEL in wanted)

    def offer(self, model: str, prediction_id: str, body: bytes) -> None:
        """Given a prediction that was accepted for recording and its input, keep that if it is
        wanted and there is room; return at once in any case.
        """
        if not self.is_kept(model) or self._draw() >= self._history.keep_inputs_share:
            return
        offered = _Offered(model, prediction_id, body)
        with self._lock:
            has_room = len(self._line) < _MOST_WAITING and (
                self._waiting_bytes + len(body) <= _MOST_WAITING_BYTES
            )
            if not has_room or self._is_stopping or self._disk.level() >= Level.TIGHT:
                self._dropped += 1
                return
            self._line.append(offered)
            self._unwritten += 1
            self._waiting_bytes += len(body)
            self._news.notify()

    def status(self) -> InputsStatus:
        """Return how much is kept and whether that goes on."""
        is_on = bool(self._history.keep_inputs)
        paused = ""
        if is_on and not self._history.enabled:
            paused = "predictions are not recorded (history.enabled)"
        elif is_on and self._disk.level() >= Level.TIGHT:
            paused = "the disk is short of room"
        with self._lock:
            return InputsStatus(
                is_on=is_on,
                paused=paused,
                kept=self._kept,
                kept_bytes=self._kept_bytes,
                waiting=self._unwritten,
                dropped=self._dropped,
            )

    def flush(self, seconds: float = 10.0) -> bool:
        """Wait until nothing waits any more; return whether that was so in time."""
        with self._lock:
            return self._news.wait_for(lambda: not self._unwritten, seconds)

    def sweep(self) -> int:
        """Remove what is not wanted, too old, too much or without its prediction; return how
        many went. On a full disk that is all: samples go before records do.
        """
        with self._files_lock:
            for model in self.files.models():
                if not self.is_kept(model) or self._disk.level() >= Level.CRITICAL:
                    self.files.remove_model(model)
            kept = self.files.listed()
            gone = set(self._too_old(kept)) | self._orphans(kept)
            left = [one for one in kept if one not in gone]
            gone.update(self._beyond_room(left, spare_share=0.0))
            removed = self.files.remove(gone)
            self._count([one for one in left if one not in gone])
        if removed:
            _log.info("kept inputs removed", extra={"inputs": removed})
        return removed

    def _too_old(self, kept: list[KeptInput]) -> Iterator[KeptInput]:
        if self._database.status().clock_is_suspect:
            return
        keep_seconds = self._history.keep_inputs_days * _SECONDS_PER_DAY
        before = self._clock.wall_seconds() - keep_seconds
        yield from (one for one in kept if seconds_of(one.id) < before)

    def _orphans(self, kept: list[KeptInput]) -> set[KeptInput]:
        """Return inputs whose prediction is not in the history: it was let go, or never came."""
        if not self._database.status().is_writable:
            return set()
        before = self._clock.wall_seconds() - _UNCOMMITTED_SECONDS
        settled = [one for one in kept if seconds_of(one.id) < before]
        gone: set[KeptInput] = set()
        with contextlib.suppress(Problem):
            for start in range(0, len(settled), _IDS_PER_LOOK):
                some = settled[start : start + _IDS_PER_LOOK]
                known = predictions.known_ids(self._database, [one.id for one in some])
                gone.update(one for one in some if one.id not in known)
        return gone

    def _beyond_room(self, kept: list[KeptInput], *, spare_share: float) -> Iterator[KeptInput]:
        """Return the oldest that have to go for the rest to fit, and some more on top."""
        room = self._history.keep_inputs_bytes
        used, count = sum(one.bytes for one in kept), len(kept)
        if used <= room and count <= MOST_FILES:
            return
        room, most = int(room * (1 - spare_share)), int(MOST_FILES * (1 - spare_share))
        for one in kept:
            if used <= room and count <= most:
                return
            used, count = used - one.bytes, count - 1
            yield one

    def _count(self, kept: list[KeptInput]) -> None:
        with self._lock:
            self._kept, self._kept_bytes = len(kept), sum(one.bytes for one in kept)

    def _run(self) -> None:
        while True:
            with self._lock:
                self._news.wait_for(lambda: self._line or self._is_stopping)
                if not self._line:
                    return
                offered = self._line.popleft()
            try:
                self._keep(offered)
            except Exception:  # the last resort: keeping must go on
                _log.exception("input not kept")
            finally:
                with self._lock:
                    self._unwritten -= 1
                    self._waiting_bytes -= len(offered.body)
                    self._news.notify_all()

    def _keep(self, offered: _Offered) -> None:
        size = 0
        with self._files_lock:
            if self.is_kept(offered.model) and self._disk.level() < Level.TIGHT:
                try:
                    size = self.files.write(offered.model, offered.prediction_id, offered.body)
                except OSError as fault:
                    _log.warning("input not kept", extra={"reason": fault.strerror})
            with self._lock:
                self._dropped += not size
                self._kept += bool(size)
                self._kept_bytes += size
                is_too_much = (
                    self._kept_bytes > self._history.keep_inputs_bytes or self._kept > MOST_FILES
                )
            if is_too_much:
                self._make_room()

    def _make_room(self) -> None:
        kept = self.files.listed()
        gone = set(self._beyond_room(kept, spare_share=_SPARE_SHARE))
        self.files.remove(gone)
        self._count([one for one in kept if one not in gone])
