"""Chunked request bodies, read strictly (RFC 9112 section 7.1) and in bounded memory.

waitress' own receiver keeps a chunk-size line or trailer of any length and copies the rest of its
input for every chunk; a client that sends a gigabyte of one-byte chunks pays for neither.
"""

import re

from appliance.errors import MalformedRequest
from appliance.web.body import Body

_SIZE_LINE = re.compile(rb"(?P<size>[0-9A-Fa-f]{1,15})(?:[ \t]*;[\t\x20-\x7e\x80-\xff]*)?\r\n")
_MOST_LINE_BYTES = 256
_MOST_TRAILER_BYTES = 8192
_HEX = frozenset(b"0123456789abcdefABCDEF")
_NEEDS_MORE = -1


class ChunkedBody:
    """A receiver in waitress' sense: fed with bytes until `completed`."""

    def __init__(self, body: Body) -> None:
        self.completed = False
        self.error: object = None  # waitress looks at it; faults are raised instead
        self._body = body
        self._held = b""  # the cut-off line at the end of what was fed last
        self._left_bytes = 0  # of the current chunk, its final CRLF not counted
        self._reads_trailer = False
        self._trailer_bytes = 0

    def __len__(self) -> int:
        return len(self._body)

    @property
    def promised_bytes(self) -> int:
        """Return the decoded bytes so far plus the rest of the chunk that has been announced."""
        return len(self._body) + self._left_bytes

    def getfile(self) -> object:
        """Return the decoded body as a file."""
        return self._body.getfile()

    def getbuf(self) -> Body:
        """Return the buffer behind it."""
        return self._body

    def received(self, data: bytes) -> int:
        """Given the next bytes of the connection, return how many belong to this body.

        Raise MalformedRequest for framing that is not exactly chunked.
        """
        held_bytes = len(self._held)
        data = self._held + data
        decoded = bytearray()
        place = 0
        while place < len(data) and not self.completed:
            step = self._step(data, place, decoded)
            if step == _NEEDS_MORE:
                break
            place = step
        if decoded:
            self._body.append(bytes(decoded))
        self._held = b"" if self.completed else data[place:]
        return (place if self.completed else len(data)) - held_bytes

    def _step(self, data: bytes, place: int, decoded: bytearray) -> int:
        if self._left_bytes:
            return self._take_content(data, place, decoded)
        if self._reads_trailer:
            return self._skip_trailer_line(data, place)
        return self._read_size(data, place, decoded)

    def _take_content(self, data: bytes, place: int, decoded: bytearray) -> int:
        end = place + self._left_bytes
        if len(data) < end + 2:
            # All but the last byte may go: the chunk is closed only together with its CRLF.
            count = min(len(data) - place, self._left_bytes - 1)
            decoded += data[place : place + count]
            self._left_bytes -= count
            return place + count if count else _NEEDS_MORE
        if data[end : end + 2] != b"\r\n":
            raise MalformedRequest("A chunk of the body is not closed by CR LF.")
        decoded += data[place:end]
        self._left_bytes = 0
        return end + 2

    def _read_size(self, data: bytes, place: int, decoded: bytearray) -> int:
        line = _SIZE_LINE.match(data, place, place + _MOST_LINE_BYTES)
        if line is None:
            started = data[place : place + _MOST_LINE_BYTES]
            if len(started) == _MOST_LINE_BYTES or b"\n" in started or started[0] not in _HEX:
                raise MalformedRequest("A chunk of the body has no valid size line.")
            return _NEEDS_MORE
        self._left_bytes = int(line["size"], 16)
        self._reads_trailer = not self._left_bytes
        return line.end()

    def _skip_trailer_line(self, data: bytes, place: int) -> int:
        end = data.find(b"\r\n", place)
        if end < 0:
            if len(data) - place > _MOST_TRAILER_BYTES:
                raise MalformedRequest("The trailer after the body is too long.")
            return _NEEDS_MORE
        self._trailer_bytes += end + 2 - place
        if self._trailer_bytes > _MOST_TRAILER_BYTES:
            raise MalformedRequest("The trailer after the body is too long.")
        self.completed = end == place
        return end + 2
