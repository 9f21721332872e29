"""Messages between the front and its children: length-prefixed frames on Unix sockets.

A frame is `u32 header bytes | u64 body bytes` (little-endian), then a msgpack header, then the
body as raw bytes, so that a picture or a tensor is never copied into or out of a serialiser.
"""

import socket
import struct
import time
from typing import Any

import msgspec

_PREFIX = struct.Struct("<IQ")
MAX_HEADER_BYTES = 4 * 1024 * 1024
MAX_BODY_BYTES = 2 * 1024 * 1024 * 1024
#: malloc's own: no number that is sent needs more.
_ALIGNMENT = 16
_MOST_KEPT_BYTES = 1024 * 1024

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder().decode


class FrameTooLarge(ValueError):
    """What is to be sent is beyond the caps; nothing of it was sent."""


class FrameClosed(ConnectionError):
    """The other side closed the connection, between frames or inside one."""


def send(connection: socket.socket, header: Any, body: bytes | memoryview = b"") -> None:
    """Given a header msgpack can carry and a body, send them as one frame.

    Raise FrameTooLarge beyond the caps, where the other side would take the stream for broken.
    """
    packed = _encode(header)
    if len(packed) > MAX_HEADER_BYTES or len(body) > MAX_BODY_BYTES:
        raise FrameTooLarge(f"a frame of {len(packed)} + {len(body)} bytes is beyond the cap")
    head = _PREFIX.pack(len(packed), len(body)) + packed
    # In one call, so that the other side is woken once; only a full socket makes it several.
    sent = connection.sendmsg((head, body))
    if sent < len(head):
        connection.sendall(head[sent:])
    if sent < len(head) + len(body):
        connection.sendall(memoryview(body)[max(0, sent - len(head)) :])


def receive(
    connection: socket.socket, *, give_up_at: float | None = None
) -> tuple[Any, bytearray]:
    """Given a connection, wait for one frame and return its header and body.

    `give_up_at` (monotonic seconds) ends a frame that trickles in, which the socket's own timeout
    would let go on for ever. Raise FrameClosed when the other side has gone, TimeoutError past
    `give_up_at`, ValueError when a length is beyond the caps or the header is no msgpack (then the
    stream cannot be trusted any more and must be closed).
    """
    header, body_bytes = _head(connection, give_up_at)
    if not body_bytes:
        return header, bytearray()
    return header, _exactly(connection, body_bytes, give_up_at)


class Inbox:
    """The frames of one connection, whose bodies all lie in one block of memory where they can.

    A fresh block for each tensor of 600 kB costs more than receiving it. A body ends at an address
    that `_ALIGNMENT` divides, so that the tensors at its end can mostly be used where they lie.
    Threads: one only. Bounds: no block of more than `_MOST_KEPT_BYTES` is kept.
    """

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._block = bytearray()

    def receive(self) -> tuple[Any, memoryview]:
        """Wait for one frame; return its header, and its body until the next one is received.

        Raise as `receive` does.
        """
        header, body_bytes = _head(self._connection, None)
        lead = -body_bytes % _ALIGNMENT
        block = self._block
        if len(block) < lead + body_bytes:
            block = bytearray(lead + body_bytes)
            self._block = block if len(block) <= _MOST_KEPT_BYTES else bytearray()
        body = memoryview(block)[lead : lead + body_bytes]
        _fill(self._connection, body, None)
        return header, body


def _head(connection: socket.socket, give_up_at: float | None) -> tuple[Any, int]:
    """Return the next frame's header and the length of its body."""
    prefix = _exactly(connection, _PREFIX.size, give_up_at)
    header_bytes, body_bytes = _PREFIX.unpack(prefix)
    if header_bytes > MAX_HEADER_BYTES or body_bytes > MAX_BODY_BYTES:
        raise ValueError(f"frame of {header_bytes} + {body_bytes} bytes is beyond the cap")
    return _decode(_exactly(connection, header_bytes, give_up_at)), body_bytes


def _exactly(connection: socket.socket, count: int, give_up_at: float | None) -> bytearray:
    buffer = bytearray(count)
    _fill(connection, memoryview(buffer), give_up_at)
    return buffer


def _fill(connection: socket.socket, view: memoryview, give_up_at: float | None) -> None:
    count = len(view)
    filled = 0
    while filled < count:
        received = connection.recv_into(view[filled:], 0, socket.MSG_WAITALL)
        if received == 0:
            raise FrameClosed("the other side closed the connection")
        filled += received
        if filled < count and give_up_at is not None and time.monotonic() > give_up_at:
            raise TimeoutError("the rest of the frame came too slowly")


def timeval(seconds: float) -> bytes:
    """Given a duration, return it as the `struct timeval` of SO_RCVTIMEO and SO_SNDTIMEO.

    Zero would mean "for ever" to the kernel, so the least is a microsecond.
    """
    microseconds = max(1, int(seconds * 1_000_000))
    return struct.pack("@ll", *divmod(microseconds, 1_000_000))
