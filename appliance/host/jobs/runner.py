"""The process of one attempt at a job: take the order, run the kind, say how it went, end."""

import contextlib
import errno
import importlib
import logging
import os
import select
import socket
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from appliance import frames
from appliance.errors import (
    DeadlineExceeded,
    InsufficientStorage,
    Internal,
    PayloadTooLarge,
    Problem,
    RateLimited,
    Unavailable,
)
from appliance.host import confinement
from appliance.host.jobs.contract import (
    Cancelled,
    JobKind,
    JobOrder,
    JobResult,
    JobRun,
    JobWord,
)
from appliance.host.specification import JobProcess

_log = logging.getLogger(__name__)
_OPEN_FILES = 1024
#: The front is told no more often than this, however often a kind reports.
_REPORT_SECONDS = 0.1
_MOST_MESSAGE_CHARACTERS = 500
#: The order comes at once, or the front is gone.
_ORDER_SECONDS = 60.0
#: After these, another attempt may go better; other problems are the job's own.
_PASSING = (Unavailable, DeadlineExceeded, RateLimited, Internal, InsufficientStorage)
_NO_SPACE = frozenset({errno.ENOSPC, errno.EDQUOT})


def serve(process: JobProcess, control: socket.socket) -> None:
    """Given what this process may use and its control socket, run one attempt.

    Ends the process. Order matters: confine before any byte of the job is read.
    """
    confinement.confine(memory_bytes=process.memory_bytes, open_files=_OPEN_FILES)
    confinement.bound_work(cpu_seconds=process.cpu_seconds, file_bytes=process.file_bytes)
    confinement.yield_to_others()
    if not confinement.leave_network():
        _log.warning("the job keeps its network: this kernel allows no way to give it up")
    message, _ = frames.receive(control, give_up_at=time.monotonic() + _ORDER_SECONDS)
    order = msgspec.convert(message, JobOrder)
    word = attempt(order, Reports(control))
    with contextlib.suppress(OSError):
        frames.send(control, msgspec.to_builtins(word))
    os._exit(0)


class Reports:
    """The way of a kind's reports to the front, and of the wish to cancel back.

    Threads: the one that runs the kind.
    """

    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._next = 0.0

    def __call__(self, progress: float, message: str) -> None:
        """Given how far the job is, tell the front; raise Cancelled when the job's end is wanted.

        The front closes its end only with its own, and then the kernel ends this process.
        """
        if select.select([self._control], [], [], 0)[0]:
            raise Cancelled
        now = time.monotonic()
        if now < self._next:
            return
        self._next = now + _REPORT_SECONDS
        share = min(max(float(progress), 0.0), 1.0) if progress == progress else 0.0
        word = JobWord(
            kind="progress", progress=share, message=str(message)[:_MOST_MESSAGE_CHARACTERS]
        )
        with contextlib.suppress(OSError):
            frames.send(self._control, msgspec.to_builtins(word))


def attempt(order: JobOrder, report: Callable[[float, str], None]) -> JobWord:
    """Given an order and where reports go, run the kind and return how it went."""
    try:
        kind = implementation_of(order.implementation)
        run = JobRun(
            params=msgspec.convert(order.params, kind.Params, strict=False),
            inputs=order.inputs,
            workspace=Path(order.workspace),
            results=Path(order.results),
            specifications=order.specifications,
            report=report,
            limits=order.limits,
        )
        return _done(order, kind.run(run))
    except Cancelled:
        return JobWord(kind="cancelled")
    except Problem as problem:
        return failure(problem)
    except MemoryError:
        too_large = PayloadTooLarge(
            "The job needs more memory than it may use (jobs.memory_bytes)."
        )
        return failure(too_large, is_worth_retrying=True)
    except Exception as fault:
        return failure(_named(order, fault))


def _named(order: JobOrder, fault: Exception) -> Problem:
    """Given what a kind should not have raised, return its problem: a full disk or our own bug."""
    if isinstance(fault, OSError) and fault.errno in _NO_SPACE:
        return InsufficientStorage("The disk became full while the job ran. Free some space.")
    _log.error("job failed", exc_info=fault, extra={"job": order.job_id})
    # What it is, is for the log alone.
    return Internal(
        "The job failed through a fault of the appliance itself. Its log has the cause under the"
        f" job's id, {order.job_id}."
    )


def failure(problem: Problem, *, is_worth_retrying: bool | None = None) -> JobWord:
    """Given why an attempt failed, return what to tell the front.

    Unless told otherwise, the problem's class says whether another attempt may help.
    """
    if is_worth_retrying is None:
        is_worth_retrying = isinstance(problem, _PASSING)
    return JobWord(kind="failed", problem=problem.encoded(), is_worth_retrying=is_worth_retrying)


def implementation_of(path: str) -> JobKind:
    """Given "module:attribute", import the module and return what runs the kind."""
    module, _, attribute = path.partition(":")
    kind: JobKind = getattr(importlib.import_module(module), attribute)
    return kind


def _done(order: JobOrder, result: JobResult) -> JobWord:
    document = msgspec.json.encode(result.document)
    if len(document) > order.result_bytes:
        raise PayloadTooLarge(
            f"The job's result has {len(document):,} bytes; {order.result_bytes:,} is the most"
            " (jobs.result_bytes)."
        )
    with open(order.document, "wb") as file:
        file.write(document)
    return JobWord(
        kind="done",
        message=result.message[:_MOST_MESSAGE_CHARACTERS],
        files=tuple(result.files),
        new_version=result.new_version,
    )
