"""One line of the log: what a record becomes, and what of it is never written.

A line is one JSON object in ASCII without control characters and at most 8 KiB, so nothing a
client sends can forge, hide or split one; keys and passwords are cut out.
"""

import json
import logging
import math
import re
import traceback
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from appliance.clock import utc_text

#: The longest line in bytes, newline included (reliability test 118).
LINE_BYTES = 8192
REDACTED = "[redacted]"

_TEXT_CHARS = 2048
_TRACE_CHARS = 6000
_TRACE_SEARCHED_CHARS = 100_000
_ITEMS = 64
_DEPTH = 4
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
_JSON = json.JSONEncoder(separators=(",", ":"), ensure_ascii=True, allow_nan=False)


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
            document[name] = REDACTED if _names_secret(name) else _plain(value, text_chars)
        if record.exc_info:
            document.update(_trace(record.exc_info, text_chars))
        return _encoded(document)


def _message(record: logging.LogRecord) -> str:
    try:
        return record.getMessage()
    except Exception:  # a wrong format string must not cost the line
        return str(record.msg)


def _encoded(document: Mapping[str, Any]) -> str:
    # The standard encoder, because it can escape all that is not printable ASCII: terminals act on
    # C1 controls and bidirectional overrides too.
    return _JSON.encode(document)


def _plain(value: Any, text_chars: int, depth: int = _DEPTH) -> Any:
    """Given any value, return something bounded that JSON can say, without secrets."""
    if type(value) is str:
        return _cut(value, text_chars)
    if value is None or isinstance(value, int):
        return value if value is None or abs(value) < 1 << 63 else "[huge]"
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
        document[name] = REDACTED if _names_secret(name) else _plain(item, text_chars, depth - 1)
    return document


@lru_cache(maxsize=1024)
def _names_secret(name: str) -> bool:
    return name.lower().replace("-", "_") in _SECRET_NAMES


def _said(value: Any) -> str:
    try:
        return value if isinstance(value, str) else str(value)
    except Exception:  # somebody's __str__ is broken; the line matters more
        return f"[{type(value).__name__}]"


def _cut(text: str, chars: int) -> str:
    # Cut once with a margin first, so that a megabyte is not searched; then redact, then cut: a
    # key that the cut would split must not stay behind in half.
    text = _without_secrets(text[: chars + 256])
    return text if len(text) <= chars else text[: chars - 3] + "..."


def _without_secrets(text: str) -> str:
    # The pattern takes ten times as long as looking for what it must contain.
    lower = text.lower()
    if "iak_" in lower or "bearer" in lower or "basic" in lower:
        return _SECRET_TEXT.sub(_redacted, text)
    return text


def _redacted(found: re.Match[str]) -> str:
    return f"{found['id']}_{REDACTED}" if found["id"] else f"{found['scheme']} {REDACTED}"


def _trace(exc_info: Any, text_chars: int) -> dict[str, Any]:
    kind, error, _ = exc_info
    if kind is None:
        return {}
    text = "".join(traceback.format_exception(*exc_info))[-_TRACE_SEARCHED_CHARS:]
    text = _without_secrets(text)
    room = min(_TRACE_CHARS, text_chars * 3)
    # The end says where it happened, the beginning only who called.
    return {
        "error": _plain(f"{kind.__name__}: {_said(error)}", text_chars),
        "trace": text[-room:],
    }
