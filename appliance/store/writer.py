"""The one thread that writes to the database: group commit, faults, heartbeat."""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any, Protocol

import apsw

from appliance import errors
from appliance.clock import Clock
from appliance.store.connection import Connection
from appliance.store.faults import Kind, as_problem, kind_of
from appliance.store.row_queue import RowQueue
from appliance.store.transaction import Batch, Item, Row, Work, run_batch

log = logging.getLogger("appliance.store")

#: Rows nobody waits for are gathered this long, so that one fsync serves many.
GATHER_SECONDS = 0.010
ITEMS_PER_COMMIT = 64
ROWS_PER_COMMIT = 1024
#: How long rows of `submit_latest` may be replaced by newer ones before they are written.
LATEST_SECONDS = 10.0
#: The longest the writer sleeps: its heartbeat and upkeep run at least this often.
TICK_SECONDS = 1.0
WRITE_SECONDS = 5.0
ITEMS_WAITING = 1024
#: Between attempts while another process holds the file, beside SQLite's own wait.
PAUSE_SECONDS = 0.05
#: The same fault is logged at most this often.
COMPLAINT_SECONDS = 60.0


class Chores(Protocol):
    """What the writer does besides writing, on its own thread."""

    def run(self, connection: Connection | None, *, has_failed: bool) -> None:
        """Do what is due; None stands for a damaged database."""

    def make_room(self, connection: Connection | None) -> bool:
        """A write met a full disk or quota: return whether to try it again."""


class Writer:
    """A queue and a thread that owns the only writing connection.

    Threads: `write`, `submit_row`, `submit_latest`, `flush` and `close` may be called from any
    thread but the writer's own. The connection is touched by the writer's thread only. `_items`,
    `_latest` and `_is_closing` are guarded by `_change`; `_rows` guards itself.
    """

    def __init__(
        self,
        connect: Callable[[], Connection],
        clock: Clock,
        rows: RowQueue,
        *,
        chores: Chores,
        on_commit: Callable[[float], None] = lambda seconds: None,
    ) -> None:
        self._on_commit = on_commit
        self._connect = connect
        self._clock = clock
        self._chores = chores
        self._change = threading.Condition()
        self._items: deque[Item] = deque()
        self._rows = rows
        self._latest: dict[object, Row] = {}
        self._is_asleep = False
        self._is_closing = False
        self._is_writing = False
        self._close_by = 0.0
        self._connection: Connection | None = None
        self._next_upkeep = 0.0
        self._next_latest = 0.0
        self._next_complaint = 0.0
        self._heartbeat = self._last_commit = clock.monotonic()
        self.is_corrupt = False
        self.has_failed = False
        self.lost_rows = 0
        self.last_error = ""
        self._thread = threading.Thread(target=self._run, name="database-writer", daemon=True)

    def start(self) -> None:
        """Open the connection and start the thread; raise an apsw error if it cannot be opened."""
        self._connection = self._connect()
        self._thread.start()

    # -- called by any thread ------------------------------------------------------------------

    def write(self, work: Work, *, timeout_seconds: float = WRITE_SECONDS) -> Any:
        """Given work, return its result once it is committed; raise its own error or a problem."""
        if threading.current_thread() is self._thread:
            raise RuntimeError("work inside a transaction must use the connection it was given")
        item = Item(work, time.monotonic() + timeout_seconds)
        with self._change:
            self._refuse_if_unusable()
            self._items.append(item)
            self._change.notify_all()
        if not item.done.wait(timeout_seconds):
            item.is_abandoned = True
            raise errors.DatabaseUnavailable(
                f"The database did not answer within {timeout_seconds:g} s, so this may or may not"
                f" have been recorded; the last fault was: {self.last_error or 'none'}."
            )
        if item.fault is not None:
            raise as_problem(item.fault) from item.fault
        return item.result

    def submit_row(self, row: Row) -> bool:
        """Given SQL and values, return whether they were accepted for writing."""
        if self.is_corrupt or self._is_closing or not self._rows.append(row):
            return False
        if self._is_asleep:
            with self._change:
                self._change.notify_all()
        return True

    def submit_latest(self, name: object, row: Row) -> None:
        """Given a name, SQL and values, write them soon unless newer ones come under that name."""
        with self._change:
            self._latest[name] = row

    def flush(self, timeout_seconds: float = WRITE_SECONDS) -> bool:
        """Return whether everything submitted before this call was settled within the time."""
        deadline = time.monotonic() + timeout_seconds
        self.release_latest()
        with self._change:
            while self._rows or self._items or self._is_writing:
                left = deadline - time.monotonic()
                if left <= 0 or not self._thread.is_alive():
                    return False
                self._change.notify_all()
                self._change.wait(min(left, 0.05))
        return True

    def close(self, timeout_seconds: float) -> bool:
        """Write what waits, end the thread; return whether all of it was written in time."""
        self.release_latest()
        with self._change:
            self._is_closing = True
            self._close_by = time.monotonic() + timeout_seconds
            self._change.notify_all()
        self._thread.join(timeout_seconds + WRITE_SECONDS)
        if self._thread.is_alive():
            return False
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        return not self._rows

    def release_latest(self) -> None:
        """Put the rows of `submit_latest` into the queue, if it has room for them."""
        with self._change:
            waiting, self._latest = self._latest, {}
            self._rows.extend(waiting.values())

    @property
    def queue_rows(self) -> int:
        """Return how many rows and how much work wait for the writer."""
        return len(self._rows) + len(self._items)

    @property
    def heartbeat_seconds_ago(self) -> float:
        """Return the time since the thread last turned."""
        return self._clock.monotonic() - self._heartbeat

    @property
    def last_commit_seconds_ago(self) -> float:
        """Return the time since the last successful COMMIT, or since the start."""
        return self._clock.monotonic() - self._last_commit

    @property
    def is_usable(self) -> bool:
        """Return whether the last transaction succeeded and another may be tried."""
        return (
            not (self.is_corrupt or self.has_failed or self._is_closing)
            and self._thread.is_alive()
        )

    def mark_corrupt(self, fault: BaseException) -> None:
        """Given SQLite's report of damage, stop writing for good; log it once."""
        with self._change:
            is_first = not self.is_corrupt
            self.is_corrupt = True
            self.last_error = str(fault)
        if is_first:
            log.critical("database damaged", extra={"fault": str(fault)})

    def _refuse_if_unusable(self) -> None:
        if self._is_closing:
            raise errors.ShuttingDown("The appliance is stopping; try again when it is back.")
        if self.is_corrupt:
            raise as_problem(apsw.CorruptError(self.last_error))
        if not self._thread.is_alive():
            raise errors.DatabaseUnavailable(
                "The database's writer has ended; restart the service."
            )
        if len(self._items) >= ITEMS_WAITING:
            raise errors.DatabaseUnavailable("Too many changes wait for the database; try again.")

    # -- the writer's thread -------------------------------------------------------------------

    def _run(self) -> None:
        while True:
            batch = self._next_batch()
            self._heartbeat = self._clock.monotonic()
            if batch is None:
                return
            try:
                self._settle(batch)
                self._keep_up()
            except Exception as fault:
                # The last resort: a bug in one batch must not end the thread all others need.
                log.exception("database writer failed")
                self._fail(batch.items, fault)
            with self._change:
                self._is_writing = False
                self._change.notify_all()

    def _next_batch(self) -> Batch | None:
        """Wait for something to write, at most a tick; return None when closing and done."""
        with self._change:
            self._is_asleep = True  # before looking, so that no row can slip in unseen
            if not (self._items or self._rows or self._is_closing):
                self._change.wait(TICK_SECONDS)
            self._is_asleep = False
            if self._rows and not (self._items or self._is_closing):
                # After a fault the rows can wait: trying at once would spin on a full disk.
                self._change.wait(TICK_SECONDS if self.has_failed else GATHER_SECONDS)
            items = [self._items.popleft() for _ in range(min(len(self._items), ITEMS_PER_COMMIT))]
            rows = self._rows.take(ROWS_PER_COMMIT)
            if self._is_closing and not (items or rows):
                return None
            self._is_writing = True
        return Batch(rows, items)

    def _settle(self, batch: Batch) -> None:
        if not (batch.rows or batch.items):
            return
        if self.is_corrupt:
            self._fail(batch.items, apsw.CorruptError(self.last_error))
            self._count_lost(len(batch.rows), None)
            return
        try:
            self._commit(batch)
        except Exception as fault:
            self._recover(batch, fault)

    def _commit(self, batch: Batch) -> None:
        batch.tries += 1
        started = time.perf_counter()
        run_batch(self._opened(), batch)
        self._on_commit(time.perf_counter() - started)
        self._last_commit = self._clock.monotonic()
        if self.has_failed:
            log.warning("database writable again")
        self.has_failed = False
        self._count_lost(batch.lost_rows, batch.row_fault)
        for item in batch.items:
            item.done.set()

    def _recover(self, batch: Batch, fault: Exception) -> None:
        """The whole transaction is lost: do what its kind of fault asks for."""
        self._note(fault)
        kind = kind_of(fault)
        if kind is Kind.FULL:
            self._recover_from_full(batch, fault)
        elif kind is Kind.BUSY:
            self._put_back(batch.items, batch.rows)
            time.sleep(PAUSE_SECONDS)
        elif kind is Kind.IO:
            self._disconnect()
            self._fail(batch.items, fault)
            self._put_back([], batch.rows)
        else:
            if kind is Kind.CORRUPT:
                self.mark_corrupt(fault)
            self._fail(batch.items, fault)
            self._count_lost(len(batch.rows), fault)

    def _recover_from_full(self, batch: Batch, fault: Exception) -> None:
        if batch.tries == 1 and self._room_was_made():
            self._settle(batch)
        elif len(batch.items) > 1 or (batch.items and batch.rows):
            # Somebody's work is what does not fit; each alone, the others need not fail with it.
            self._put_back([], batch.rows)
            for item in batch.items:
                self._settle(Batch([], [item], tries=1))
        else:
            self._fail(batch.items, fault)
            self._put_back([], batch.rows)

    def _room_was_made(self) -> bool:
        try:
            return self._chores.make_room(self._connection)
        except Exception as fault:
            self._note(fault)
            return False

    def _opened(self) -> Connection:
        if self._connection is None:
            self._connection = self._connect()
        return self._connection

    def _disconnect(self) -> None:
        """After an I/O fault SQLite's own view of the file cannot be trusted: start it afresh."""
        connection, self._connection = self._connection, None
        if connection is not None:
            try:
                connection.close()
            except apsw.Error as fault:
                log.warning("database connection did not close", extra={"fault": str(fault)})

    def _put_back(self, items: list[Item], rows: list[Row]) -> None:
        """Keep what may still succeed for the next attempt, within the bounds of the queue."""
        now = time.monotonic()
        keep = [item for item in items if item.deadline > now]
        with self._change:
            is_over = self._is_closing and now > self._close_by
            self._items.extendleft(reversed(keep))
            lost_rows = self._rows.put_back(rows, is_full=is_over)
        self._count_lost(lost_rows, None)
        self._fail(
            [item for item in items if item.deadline <= now], apsw.BusyError(self.last_error)
        )

    def _fail(self, items: list[Item], fault: BaseException) -> None:
        for item in items:
            if not item.done.is_set():
                item.fault = item.fault or fault
                item.done.set()

    def _count_lost(self, rows: int, fault: BaseException | None) -> None:
        if not rows:
            return
        self.lost_rows += rows
        if fault is not None:
            self.last_error = str(fault)
        log.error("history rows lost", extra={"rows": rows, "fault": self.last_error})

    def _note(self, fault: BaseException) -> None:
        text = f"{type(fault).__name__}: {fault}"
        now = time.monotonic()
        if text != self.last_error or now >= self._next_complaint:
            self._next_complaint = now + COMPLAINT_SECONDS
            log.error("database write failed", extra={"fault": text})
        self.has_failed = True
        self.last_error = text

    def _keep_up(self) -> None:
        now = time.monotonic()
        if now < self._next_upkeep:
            return
        self._next_upkeep = now + TICK_SECONDS
        if now >= self._next_latest:
            self._next_latest = now + LATEST_SECONDS
            self.release_latest()
        try:
            connection = None if self.is_corrupt else self._opened()
            self._chores.run(connection, has_failed=self.has_failed)
        except Exception as fault:
            self._note(fault)
            kind = kind_of(fault)
            if kind is Kind.CORRUPT:
                self.mark_corrupt(fault)
            elif kind is Kind.IO:
                self._disconnect()
        else:
            if connection is not None:
                self.has_failed = False
