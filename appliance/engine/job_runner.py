"""The front's side of the processes that run jobs: start, hear, cancel, kill, bury.

They have a nursery of their own, so that whatever a job does to it no model's host is touched. It
starts with the first job and ends when there has been none for a while, so that its memory is
spent only while jobs run.
"""

import contextlib
import logging
import os
import selectors
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import msgspec

from appliance import frames
from appliance.engine.host import kill_process
from appliance.engine.nursery import Nursery, return_code_words
from appliance.host.jobs.contract import JobOrder, JobWord
from appliance.host.specification import JobProcess, NurseryEvent

_log = logging.getLogger(__name__)
_IDLE_SECONDS = 60.0
_WORD_SECONDS = 1.0
_ORDER_SECONDS = 10.0
#: A process that has said its last word may take so long to end before it is killed.
_FAREWELL_SECONDS = 5.0
#: The nursery may take so long to report an end that was seen before it counts as hung.
_REPORT_SECONDS = 5.0


class JobEvent(NamedTuple):
    """What an attempt's process did: a word of progress, or its end.

    At its end `word` is the last one it said (None: none but progress) and `death` how the process
    ended in words; it is gone then.
    """

    token: int
    has_ended: bool
    word: JobWord | None
    death: str = ""


@dataclass(slots=True, eq=False)
class _Attempt:
    control: socket.socket
    process_id: int | None = None
    last_word: JobWord | None = None
    killed_because: str = ""
    is_heard: bool = True
    #: Monotonic seconds at which it is killed, and at which the nursery counts as hung.
    kill_at: float | None = None
    bury_by: float | None = None


class JobRunners:
    """Every process that runs a job.

    Threads: one that owns it, because the kernel ties the nursery's life to the thread that
    started it; only `wake` is for any.
    """

    def __init__(self, process: JobProcess, *, nursery: Callable[[], Nursery] = Nursery) -> None:
        self._process = process
        self._make_nursery = nursery
        self._nursery: Nursery | None = None
        self._selector = selectors.DefaultSelector()
        self._wakeup, self._waker = socket.socketpair()
        self._waker.setblocking(False)
        self._selector.register(self._wakeup, selectors.EVENT_READ)
        self._attempts: dict[int, _Attempt] = {}
        self._last_token = 0
        self._last_used = time.monotonic()
        self._events: list[JobEvent] = []

    def wake(self) -> None:
        """Have `wait` return; any thread."""
        with contextlib.suppress(OSError):  # full: it will wake anyway; closed: it has ended
            self._waker.send(b"x")

    def start(self, order: JobOrder) -> int:
        """Given an order, start a process for it and return the token its events will carry.

        Raise OSError when that cannot be now.
        """
        if self._nursery is None:
            self._nursery = self._make_nursery()
            self._selector.register(self._nursery.socket, selectors.EVENT_READ)
        self._last_token += 1
        token = self._last_token
        control = self._nursery.spawn_job(token, self._process)
        attempt = _Attempt(control=control)
        self._attempts[token] = attempt
        self._selector.register(control, selectors.EVENT_READ, token)
        # A long order waits until the nursery has been started and the process takes it.
        control.settimeout(_ORDER_SECONDS)
        with contextlib.suppress(OSError):  # it has died already, which is heard of otherwise
            frames.send(control, msgspec.to_builtins(order))
        control.settimeout(_WORD_SECONDS)
        return token

    def cancel(self, token: int, *, patience_seconds: float) -> None:
        """Given an attempt, ask it to end; one that has not after that time is killed."""
        attempt = self._attempts.get(token)
        if attempt is None:
            return
        with contextlib.suppress(OSError):
            attempt.control.send(b"c")
        self._kill_later(attempt, patience_seconds)

    def kill(self, token: int, because: str) -> None:
        """Given an attempt, end its process; its end will say why."""
        attempt = self._attempts.get(token)
        if attempt is not None:
            self._kill(attempt, because)

    def process_ids(self) -> dict[int, int]:
        """Return the process id of each attempt that has one, by token."""
        return {
            token: attempt.process_id
            for token, attempt in self._attempts.items()
            if attempt.process_id is not None
        }

    def wait(self, seconds: float) -> list[JobEvent]:
        """Return what happened, at the latest after that time."""
        for key, _ in self._selector.select(0 if self._events else max(0.0, seconds)):
            if key.fileobj is self._wakeup:
                self._wakeup.recv(4096)
            elif self._nursery is not None and key.fileobj is self._nursery.socket:
                self._hear_nursery(self._nursery)
            elif key.data in self._attempts:
                self._hear(key.data, self._attempts[key.data])
        self._keep_time()
        events, self._events = self._events, []
        return events

    def stop(self) -> None:
        """End every process and the nursery; what they were doing is lost."""
        self._lose_nursery(quietly=True)
        self._selector.close()
        self._wakeup.close()
        self._waker.close()

    def _hear(self, token: int, attempt: _Attempt) -> None:
        try:
            give_up_at = time.monotonic() + _WORD_SECONDS
            message, _ = frames.receive(attempt.control, give_up_at=give_up_at)
            word = msgspec.convert(message, JobWord)
        except (OSError, ValueError):
            self._stop_hearing(attempt)
            attempt.bury_by = time.monotonic() + _REPORT_SECONDS
            if attempt.last_word is None:
                self._kill(attempt, "")  # if it only talked nonsense
            return
        if word.kind == "progress":
            self._events.append(JobEvent(token, False, word))
        else:
            attempt.last_word = word
            self._kill_later(attempt, _FAREWELL_SECONDS)

    def _hear_nursery(self, nursery: Nursery) -> None:
        event = nursery.event()
        if event is None:
            self._lose_nursery()
        elif event.kind == "ended":
            self._bury(event)
        elif event.token in self._attempts:
            attempt = self._attempts[event.token]
            if event.kind == "unborn":
                self._end(event.token, f"not started: {event.reason}")
                return
            attempt.process_id = event.process_id
            if attempt.killed_because:  # given up while the nursery was still busy
                kill_process(event.process_id)

    def _bury(self, event: NurseryEvent) -> None:
        for token, attempt in list(self._attempts.items()):
            if attempt.process_id == event.process_id:
                words = return_code_words(os.waitstatus_to_exitcode(event.wait_status))
                self._end(token, words)

    def _end(self, token: int, words: str) -> None:
        attempt = self._attempts.pop(token)
        while attempt.is_heard:  # what it said last may still lie in the socket
            self._hear(token, attempt)
        self._last_used = time.monotonic()
        death = attempt.killed_because or words
        self._events.append(JobEvent(token, True, attempt.last_word, death))

    def _stop_hearing(self, attempt: _Attempt) -> None:
        if attempt.is_heard:
            attempt.is_heard = False
            with contextlib.suppress(KeyError, ValueError):
                self._selector.unregister(attempt.control)
            attempt.control.close()

    def _kill_later(self, attempt: _Attempt, seconds: float) -> None:
        at = time.monotonic() + seconds
        attempt.kill_at = at if attempt.kill_at is None else min(at, attempt.kill_at)

    def _kill(self, attempt: _Attempt, because: str) -> None:
        attempt.killed_because = attempt.killed_because or because
        attempt.kill_at = None
        attempt.bury_by = attempt.bury_by or time.monotonic() + _REPORT_SECONDS
        if attempt.process_id is not None:
            kill_process(attempt.process_id)

    def _keep_time(self) -> None:
        now = time.monotonic()
        for attempt in list(self._attempts.values()):
            if attempt.kill_at is not None and attempt.kill_at <= now:
                self._kill(attempt, "it did not end when it was told to")
            elif attempt.bury_by is not None and attempt.bury_by <= now:
                _log.error("job nursery hangs: it has not reported the end of a job")
                self._lose_nursery()
                return
        if not self._attempts and now - self._last_used > _IDLE_SECONDS:
            self._lose_nursery(quietly=True)

    def _lose_nursery(self, *, quietly: bool = False) -> None:
        """The nursery died, hangs or is not needed; the kernel ends its processes with it."""
        nursery, self._nursery = self._nursery, None
        if nursery is None:
            return
        self._selector.unregister(nursery.socket)
        words = nursery.end()
        if not quietly:
            _log.error("job nursery died", extra={"reason": words})
        for token in list(self._attempts):
            self._end(token, f"the process that starts jobs ended: {words}")
