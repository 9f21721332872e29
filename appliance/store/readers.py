"""A pool of read-only connections, so that readers never wait for the writer."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from appliance import errors
from appliance.store.connection import Connection
from appliance.store.faults import Kind, as_problem, kind_of

MOST_CONNECTIONS = 16
WAIT_SECONDS = 5.0
#: Longest that one block of reading may run when nothing else is said, in seconds.
READ_SECONDS = 2.0


class Readers:
    """Connections that refuse every change, lent one to each reader at a time.

    Threads: any; `_idle`, `_open` and `_is_closed` are guarded by `_change`. The connection used
    last is lent first, because its page cache is warm.
    """

    def __init__(
        self,
        connect: Callable[[], Connection],
        *,
        on_damage: Callable[[BaseException], None],
        most_seconds: float = READ_SECONDS,
    ) -> None:
        self._connect = connect
        self._most_seconds = most_seconds
        self._on_damage = on_damage
        self._change = threading.Condition()
        self._idle: list[Connection] = []
        self._open = 0
        self._is_closed = False

    @contextmanager
    def read(self, *, patience: float = 1.0) -> Iterator[Connection]:
        """Yield a connection; turn SQLite's faults inside the block into problems.

        What runs in the block for longer than the usual time, multiplied by `patience`, is ended:
        a search that no index serves would else read for minutes and hold back the log.
        """
        connection: Connection | None = None
        is_sound = False
        try:
            connection = self._borrow()
            connection.limit(self._most_seconds * patience)
            yield connection
            is_sound = True
        except Exception as fault:
            kind = kind_of(fault)
            is_sound = kind not in (Kind.IO, Kind.CORRUPT, Kind.FULL)
            if kind is Kind.CORRUPT:
                self._on_damage(fault)
            problem = as_problem(fault)
            if problem is fault:
                raise
            raise problem from fault
        finally:
            if connection is not None:
                self._give_back(connection, is_sound=is_sound)

    def close(self) -> None:
        """Close every connection that is not lent; the others close when they come back."""
        with self._change:
            self._is_closed = True
            idle, self._idle = self._idle, []
            self._open -= len(idle)
            self._change.notify_all()
        for connection in idle:
            connection.close()

    def _borrow(self) -> Connection:
        deadline = time.monotonic() + WAIT_SECONDS
        with self._change:
            while not self._is_closed:
                if self._idle:
                    return self._idle.pop()
                if self._open < MOST_CONNECTIONS:
                    self._open += 1
                    break
                if not self._change.wait(max(deadline - time.monotonic(), 0)):
                    raise errors.DatabaseUnavailable("Too many readers wait; try again.")
            else:
                raise errors.ShuttingDown("The appliance is stopping.")
        try:
            return self._connect()
        except BaseException:
            self._forget_one()
            raise

    def _forget_one(self) -> None:
        with self._change:
            self._open -= 1
            self._change.notify()

    def _give_back(self, connection: Connection, *, is_sound: bool) -> None:
        with self._change:
            if is_sound and not self._is_closed:
                self._idle.append(connection)
                self._change.notify()
                return
        connection.close()
        self._forget_one()
