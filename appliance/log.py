"""Log lines: one JSON object each, on stderr and optionally in a file, from every process alike.

Everything else in the package logs with the standard library, `logging.getLogger(__name__)`, an
event of a few fixed words and `extra={…}` for the fields; only this file knows what becomes of it.
A flood of one event is counted, not written; what a line looks like is in `log_line.py`.
"""

import logging
import logging.handlers
import sys
import threading
from types import TracebackType
from typing import TextIO

import msgspec

from appliance import config
from appliance.clock import Clock, SystemClock
from appliance.errors import StateUnusable
from appliance.log_line import LineFormatter

_LEVELS = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}
_EVENTS_COUNTED_APART = 256
_OTHER_EVENTS = "other events"


class RequestLine(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The fields of the line `request`; `key` is the public id of an API key, never its text."""

    request_id: str
    method: str
    route: str
    status: int
    duration_ms: float
    address: str = ""
    key: str = ""
    path: str = ""
    model: str = ""
    version: int = 0
    problem: str = ""
    received_bytes: int = 0
    sent_bytes: int = 0
    user_agent: str = ""


class LineLimiter:
    """Lets through so many lines of each event per second and counts the others.

    Threads: any; `_lock` guards all of it. Bounded: events beyond 256 in a second count as one.
    """

    def __init__(self, lines_per_second: int, *, clock: Clock) -> None:
        self.lines_per_second = lines_per_second
        self._clock = clock
        self._lock = threading.Lock()
        self._second = 0
        self._seen: dict[str, int] = {}
        self._due: dict[str, int] = {}
        self._suppressed_total = 0

    @property
    def suppressed_total(self) -> int:
        """The lines held back since the start."""
        return self._suppressed_total

    def admits(self, event: str) -> bool:
        """Given an event's fixed words, count it and return whether its line may be written."""
        second = int(self._clock.monotonic())
        with self._lock:
            if second != self._second:
                self._turn(second)
            if event not in self._seen and len(self._seen) >= _EVENTS_COUNTED_APART:
                event = _OTHER_EVENTS
            count = self._seen.get(event, 0) + 1
            self._seen[event] = count
            if count <= self.lines_per_second:
                return True
            self._suppressed_total += 1
            return False

    def take_suppressed(self) -> dict[str, int]:
        """Return how many lines of which event were held back in seconds that are over, once."""
        second = int(self._clock.monotonic())
        with self._lock:
            if second != self._second:
                self._turn(second)
            due, self._due = self._due, {}
            return due

    def _turn(self, second: int) -> None:
        for event, count in self._seen.items():
            if count > self.lines_per_second:
                over = count - self.lines_per_second
                if event not in self._due and len(self._due) >= _EVENTS_COUNTED_APART:
                    event = _OTHER_EVENTS
                self._due[event] = self._due.get(event, 0) + over
        self._seen.clear()
        self._second = second


class Journal(logging.Handler):
    """Where all lines of this process go through: limits them and writes each to every output.

    Threads: any; the handler's own lock covers writing, the limiter has its own.
    """

    def __init__(
        self, settings: config.Log, *, process: str, clock: Clock, stream: TextIO | None
    ) -> None:
        super().__init__(_LEVELS[settings.level])
        self.limiter = LineLimiter(settings.lines_per_second, clock=clock)
        self.unwritten_total = 0
        self._requests = settings.requests
        self._outputs: list[logging.Handler] = [_Stream(self, stream)]
        if settings.file:
            self._outputs.append(_File(self, _opened(settings.file)))
        for output in self._outputs:
            output.setFormatter(LineFormatter(process))

    def emit(self, record: logging.LogRecord) -> None:
        """Given a record, write its line unless its event has had its share of this second."""
        if getattr(record, "admitted", False) or self.limiter.admits(str(record.msg)):
            record.__dict__.pop("admitted", None)
            self.report_suppressed()
            self._write(record)

    def request(self, line: RequestLine) -> None:
        """Given what is to be said of a finished request, write it if the settings want it."""
        level = logging.WARNING if line.status >= 500 else logging.INFO
        if not self._requests or level < self.level or not self.limiter.admits("request"):
            return
        record = logging.LogRecord("appliance.request", level, "", 0, "request", None, None)
        record.__dict__.update(msgspec.to_builtins(line), admitted=True)
        self.handle(record)

    def use_settings(self, settings: config.Log) -> None:
        """Given the section [log], write by its level and limits from now on; not its file."""
        self.setLevel(_LEVELS[settings.level])
        _set_levels(settings)
        self._requests = settings.requests
        self.limiter.lines_per_second = settings.lines_per_second

    def report_suppressed(self) -> None:
        """Write one line for each event of which lines were held back; call it now and then."""
        for event, count in self.limiter.take_suppressed().items():
            record = logging.LogRecord(
                __name__, logging.WARNING, "", 0, "lines suppressed", None, None
            )
            record.__dict__.update(suppressed_event=event, lines=count)
            self._write(record)

    def readings(self) -> dict[str, float]:
        """Return the counts of lines not written, by metric name, for `Metrics.watch`."""
        return {
            "log_lines_suppressed_total": float(self.limiter.suppressed_total),
            "log_lines_unwritten_total": float(self.unwritten_total),
        }

    def close(self) -> None:
        """Write what is still to be reported and close the file."""
        self.report_suppressed()
        for output in self._outputs:
            output.close()
        super().close()

    def _write(self, record: logging.LogRecord) -> None:
        for output in self._outputs:
            output.handle(record)


def configure(
    settings: config.Log,
    *,
    process: str = "front",
    clock: Clock | None = None,
    stream: TextIO | None = None,
) -> Journal:
    """Given the section [log] and the name of this process, send all its logging through a new
    journal and return that; raise StateUnusable if the log file cannot be opened.

    `stream` stands in for stderr. Warnings and exceptions nobody caught become lines as well. Call
    it once in each process, children included; again, it replaces the journal before.
    """
    journal = Journal(settings, process=process, clock=clock or SystemClock(), stream=stream)
    root = logging.getLogger()
    for old in list(root.handlers):
        if isinstance(old, Journal):
            root.removeHandler(old)
            old.close()
    root.addHandler(journal)
    _set_levels(settings)
    # Waitress warns at each request that has to wait; the metrics say that better.
    logging.getLogger("waitress.queue").setLevel(logging.ERROR)
    logging.captureWarnings(True)
    sys.excepthook = _log_uncaught
    threading.excepthook = _log_uncaught_in_thread
    return journal


def _set_levels(settings: config.Log) -> None:
    # Other people's libraries are only heard when something is wrong: some log request bodies.
    logging.getLogger().setLevel(max(_LEVELS[settings.level], logging.WARNING))
    logging.getLogger("appliance").setLevel(_LEVELS[settings.level])


class _Stream(logging.StreamHandler[TextIO]):
    def __init__(self, journal: Journal, stream: TextIO | None) -> None:
        super().__init__(stream)
        self._journal = journal

    def handleError(self, record: logging.LogRecord) -> None:
        """Count the line as lost: a closed stderr must not stop the work that wanted to log."""
        self._journal.unwritten_total += 1


class _File(logging.handlers.WatchedFileHandler):
    def __init__(self, journal: Journal, path: str) -> None:
        super().__init__(path, encoding="ascii", errors="backslashreplace")
        self._journal = journal

    def emit(self, record: logging.LogRecord) -> None:
        """Write the line, into a new file if logrotate moved the old one away."""
        try:
            super().emit(record)
        except OSError:
            # Reopening fails outside of the standard handler's own care.
            self.handleError(record)

    def handleError(self, record: logging.LogRecord) -> None:
        """Count the line as lost: stderr still has it, and a full disk must not stop the work."""
        self._journal.unwritten_total += 1


def _opened(path: str) -> str:
    try:
        with open(path, "a", encoding="ascii"):
            return path
    except OSError as error:
        raise StateUnusable(
            f"The log file {path} cannot be opened ({error.strerror}). Create its directory and"
            " let the service's user write there, or clear log.file."
        ) from error


def _log_uncaught(
    kind: type[BaseException], error: BaseException, trace: TracebackType | None
) -> None:
    if issubclass(kind, KeyboardInterrupt):
        sys.__excepthook__(kind, error, trace)
        return
    logging.getLogger(__name__).critical("uncaught error", exc_info=(kind, error, trace))


def _log_uncaught_in_thread(args: threading.ExceptHookArgs) -> None:
    if args.exc_value is None or issubclass(args.exc_type, SystemExit):
        return
    logging.getLogger(__name__).critical(
        "uncaught error in a thread",
        exc_info=(args.exc_type, args.exc_value, args.exc_traceback),
        extra={"thread_name": args.thread.name if args.thread else ""},
    )
