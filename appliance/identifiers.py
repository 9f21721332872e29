"""Identifiers that sort by time, so that a table keyed by them is written at its end only."""

import os
import threading
import time

_lock = threading.Lock()
_last_milliseconds_and_counter = 0  # guarded by _lock


def new_id() -> str:
    """Return a UUIDv7 as 36 characters of text, greater than every one returned before.

    Source: RFC 9562 section 5.7, with the 12 bits of `rand_a` used as the counter of its
    method 1 (section 6.2). A clock that jumps back does not break the order: the last
    millisecond is then kept until the clock has caught up.
    """
    global _last_milliseconds_and_counter
    with _lock:
        now = (time.time_ns() // 1_000_000) << 12
        value = max(now, _last_milliseconds_and_counter + 1)
        _last_milliseconds_and_counter = value
    milliseconds, counter = value >> 12, value & 0xFFF
    tail = int.from_bytes(os.urandom(8), "big") & 0x3FFF_FFFF_FFFF_FFFF
    number = milliseconds << 80 | 0x7 << 76 | counter << 64 | 0b10 << 62 | tail
    text = f"{number:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def seconds_of(identifier: str) -> float:
    """Given an identifier made here, return when, in seconds since 1970 UTC."""
    return int(identifier[:8] + identifier[9:13], 16) / 1000
