"""Log lines: one JSON object each, on stderr and optionally in a file, from every process alike.

Everything else in the package logs with the standard library, `logging.getLogger(__name__)`, an
event of a few fixed words and `extra={…}` for the fields; only this file knows what becomes of it.
A line is ASCII without control characters and at most 8 KiB, so nothing a client sends can forge,
hide or split one; keys and passwords are cut out; a flood of one event is counted, not written.
"""

import json
import logging
import logging.handlers
import math
import re
import sys
import threading
import traceback
from collections.abc import Mapping
from types import TracebackType
from typing import Any, TextIO

import msgspec

from appliance import config
from appliance.clock import Clock, SystemClock, utc_text
from appliance.errors import StateUnusable

#: The longest line in bytes, newline included (reliability test 118).
LINE_BYTES = 8192
REDACTED = "[redacted]"

_LEVELS = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}
_TEXT_CHARS = 2048
_TRACE_CHARS = 6000
_TRACE_SEARCHED_CHARS = 100_000
_ITEMS = 64
_DEPTH = 4
_EVENTS_COUNTED_APART = 256
_OTHER_EVENTS = "other events"
_STANDARD_ATTRIBUTES = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime"}
_OWN_NAMES = frozenset({"time", "level", "event", "logger", "process"})
_SECRET_NAMES = frozenset(
    {"authorization", "proxy_authorization", "api_key", "x_api_key", "cookie", "set_cookie"}
    | {"password", "passphrase", "secret", "token", "access_token", "key_text", "credential"}
)
_SECRET_TEXT = re.compile(
    r"(?P<id>iak_[0-9A-Za-z]{6})_[0-9A-Za-z]{1,64}"  # actions/key_format.py
    r"|(?P<scheme>\b(?:bearer|basic))\s+[^\s\"',;]+",
    re.IGNORECASE,
)


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
        self._lines_per_second = lines_per_second
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
            if count <= self._lines_per_second:
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
            if count > self._lines_per_second:
                over = count - self._lines_per_second
                if event not in self._due and len(self._due) >= _EVENTS_COUNTED_APART:
                    event = _OTHER_EVENTS
                self._due[event] = self._due.get(event, 0) + over
        self._seen.clear()
        self._second = second


class LineFormatter(logging.Formatter):
    """Turns a record into one line of JSON, without its newline."""

    def __init__(self, process: str) -> None:
        super().__init__()
        self._process = process

    def format(self, record: logging.LogRecord) -> str:
        """Given any record, return its line: ASCII, no control characters, below LINE_BYTES."""
        text_chars = _TEXT_CHARS
        line = self._line(record, text_chars)
        while len(line) >= LINE_BYTES and text_chars > 16:
            # One character may take twelve once escaped, and there may be many fields.
            text_chars //= 2
            line = self._line(record, text_chars)
        if len(line) >= LINE_BYTES:
            return _encoded({**self._head(record, 64), "cut": True})
        return line

    def _head(self, record: logging.LogRecord, text_chars: int) -> dict[str, Any]:
        return {
            "time": utc_text(record.created),
            "level": record.levelname.lower(),
            "event": _plain(_message(record), text_chars),
            "process": self._process,
            "logger": _plain(record.name, text_chars),
        }

    def _line(self, record: logging.LogRecord, text_chars: int) -> str:
        document = self._head(record, text_chars)
        for name, value in vars(record).items():
            if name in _STANDARD_ATTRIBUTES:
                continue
            name = f"field_{name}" if name in _OWN_NAMES else name[:64]
            secret = name.lower().replace("-", "_") in _SECRET_NAMES
            document[name] = REDACTED if secret else _plain(value, text_chars)
        if record.exc_info:
            document.update(_trace(record.exc_info, text_chars))
        return _encoded(document)


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

    def report_suppressed(self) -> None:
        """Write one line for each event of which lines were held back; call it now and then."""
        for event, count in self.limiter.take_suppressed().items():
            record = logging.LogRecord(
                __name__, logging.WARNING, "", 0, "lines suppressed", None, None
            )
            record.__dict__.update(suppressed_event=event, lines=count)
            self._write(record)

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
    # Other people's libraries are only heard when something is wrong: some log request bodies.
    root.setLevel(max(_LEVELS[settings.level], logging.WARNING))
    logging.getLogger("appliance").setLevel(_LEVELS[settings.level])
    # Waitress warns at each request that has to wait; the metrics say that better.
    logging.getLogger("waitress.queue").setLevel(logging.ERROR)
    logging.captureWarnings(True)
    sys.excepthook = _log_uncaught
    threading.excepthook = _log_uncaught_in_thread
    return journal


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


def _message(record: logging.LogRecord) -> str:
    try:
        return record.getMessage()
    except Exception:  # a wrong format string must not cost the line
        return str(record.msg)


def _encoded(document: Mapping[str, Any]) -> str:
    # The standard encoder, because it can escape all that is not printable ASCII: terminals act on
    # C1 controls and bidirectional overrides too. skipkeys is not needed: keys were made text.
    return json.dumps(document, separators=(",", ":"), ensure_ascii=True, allow_nan=False)


def _plain(value: Any, text_chars: int, depth: int = _DEPTH) -> Any:
    """Given any value, return something bounded that JSON can say, without secrets."""
    if value is None or isinstance(value, bool | int):
        return value if not isinstance(value, int) or abs(value) < 1 << 63 else "[huge]"
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, bytes | bytearray | memoryview):
        return f"[{len(value)} bytes]"
    if isinstance(value, Mapping) and depth > 0:
        return _plain_mapping(value, text_chars, depth)
    if isinstance(value, list | tuple | set | frozenset) and depth > 0:
        return [_plain(item, text_chars, depth - 1) for item in list(value)[:_ITEMS]]
    return _cut(_said(value), text_chars)


def _plain_mapping(value: Mapping[Any, Any], text_chars: int, depth: int) -> dict[str, Any]:
    document: dict[str, Any] = {}
    for key, item in list(value.items())[:_ITEMS]:
        name = _cut(_said(key), 64)
        secret = name.lower().replace("-", "_") in _SECRET_NAMES
        document[name] = REDACTED if secret else _plain(item, text_chars, depth - 1)
    return document


def _said(value: Any) -> str:
    try:
        return value if isinstance(value, str) else str(value)
    except Exception:  # somebody's __str__ is broken; the line matters more
        return f"[{type(value).__name__}]"


def _cut(text: str, chars: int) -> str:
    # Cut once with a margin first, so that a megabyte is not searched; then redact, then cut: a
    # key that the cut would split must not stay behind in half.
    text = _SECRET_TEXT.sub(_redacted, text[: chars + 256])
    return text if len(text) <= chars else text[: chars - 3] + "..."


def _redacted(found: re.Match[str]) -> str:
    return f"{found['id']}_{REDACTED}" if found["id"] else f"{found['scheme']} {REDACTED}"


def _trace(exc_info: Any, text_chars: int) -> dict[str, Any]:
    kind, error, _ = exc_info
    if kind is None:
        return {}
    text = "".join(traceback.format_exception(*exc_info))[-_TRACE_SEARCHED_CHARS:]
    text = _SECRET_TEXT.sub(_redacted, text)
    room = min(_TRACE_CHARS, text_chars * 3)
    # The end says where it happened, the beginning only who called.
    return {
        "error": _plain(f"{kind.__name__}: {_said(error)}", text_chars),
        "trace": text[-room:],
    }


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
