"""The serving loop's wait: epoll with standing registrations, and a way to wake it from elsewhere.

waitress asks every connection what it waits for before each poll, which at 256 connections costs
more than answering; here a connection speaks up only when its wishes change.
"""

import logging
import os
import select
import threading
from collections import deque
from collections.abc import Callable
from typing import Protocol

_log = logging.getLogger(__name__)


class Source(Protocol):
    """Something with a file descriptor that the loop watches."""

    def handle_events(self, events: int) -> None:
        """Act on the epoll `events`."""


class Loop:
    """Watched descriptors and calls waiting for the loop's thread.

    Threads: only the loop's own, except `wake` and `call_soon`, which any thread or signal handler
    may use.
    """

    def __init__(self) -> None:
        #: By descriptor; waitress' channels enter themselves here as in an asyncore map.
        self.sources: dict[int, Source] = {}
        self._epoll = select.epoll()
        self._wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._epoll.register(self._wake, select.EPOLLIN)
        self._soon: deque[Callable[[], None]] = deque()
        self._last: set[int] = set()
        self._is_open = True
        # Reentrant, because a signal handler may wake the loop while its thread is in `wake`.
        self._closing = threading.RLock()

    def watch(self, descriptor: int, events: int, *, comes_last: bool = False) -> None:
        """Given a new descriptor, report these events for it, if wanted after all others."""
        self._epoll.register(descriptor, events)
        if comes_last:
            self._last.add(descriptor)

    def change(self, descriptor: int, events: int) -> None:
        """Given a watched descriptor, report other events from now on."""
        self._epoll.modify(descriptor, events)

    def forget(self, descriptor: int) -> None:
        """Stop watching; to be called before the descriptor is closed."""
        self._last.discard(descriptor)
        if self._is_open:
            self._epoll.unregister(descriptor)

    def wake(self) -> None:
        """Make the current or next wait return at once; safe in a signal handler."""
        with self._closing:
            if self._is_open:
                os.eventfd_write(self._wake, 1)

    def call_soon(self, call: Callable[[], None]) -> None:
        """Given something to call without arguments, call it in the loop's thread."""
        self._soon.append(call)
        self.wake()

    def wait(self, timeout_seconds: float) -> list[tuple[int, int]]:
        """Return what has happened, after at most so long."""
        return self._epoll.poll(timeout_seconds)

    def act(self, happened: list[tuple[int, int]]) -> None:
        """Given the result of `wait`, tell each source, and call what `call_soon` was given.

        New connections come last: one that got the descriptor of a connection closed just now
        would else receive that one's events.
        """
        late = []
        for descriptor, events in happened:
            if descriptor == self._wake or descriptor in self._last:
                late.append((descriptor, events))
                continue
            self._tell(descriptor, events)
        for descriptor, events in late:
            if descriptor == self._wake:
                self._run_soon()
            else:
                self._tell(descriptor, events)

    def _tell(self, descriptor: int, events: int) -> None:
        source = self.sources.get(descriptor)
        try:
            if source is not None:
                source.handle_events(events)
        except Exception:  # whatever it is, everyone else is still to be served
            _log.exception("the serving loop met an error nobody caught")

    def _run_soon(self) -> None:
        os.eventfd_read(self._wake)
        for _ in range(len(self._soon)):
            try:
                self._soon.popleft()()
            except Exception:
                _log.exception("the serving loop met an error nobody caught")

    def close(self) -> None:
        """Release the descriptors; waking it afterwards does nothing."""
        with self._closing:
            self._is_open = False
            self._epoll.close()
            os.close(self._wake)
