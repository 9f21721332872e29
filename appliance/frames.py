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
    prefix = _PREFIX.pack(len(packed), len(body))
    if len(body) < 65536:
        connection.sendall(b"".join((prefix, packed, body)))
    else:
        connection.sendall(prefix + packed)
        connection.sendall(body)


def receive(
    connection: socket.socket, *, give_up_at: float | None = None
) -> tuple[Any, bytearray]:
    """Given a connection, wait for one frame and return its header and body.

    `give_up_at` (monotonic seconds) ends a frame that trickles in, which the socket's own timeout
    would let go on for ever. Raise FrameClosed when the other side has gone, TimeoutError past
    `give_up_at`, ValueError when a length is beyond the caps or the header is no msgpack (then the
    stream cannot be trusted any more and must be closed).
    """
    prefix = _exactly(connection, _PREFIX.size, give_up_at)
    header_bytes, body_bytes = _PREFIX.unpack(prefix)
    if header_bytes > MAX_HEADER_BYTES or body_bytes > MAX_BODY_BYTES:
        raise ValueError(f"frame of {header_bytes} + {body_bytes} bytes is beyond the cap")
    header = _decode(_exactly(connection, header_bytes, give_up_at))
    if not body_bytes:
        return header, bytearray()
    return header, _exactly(connection, body_bytes, give_up_at)


def _exactly(connection: socket.socket, count: int, give_up_at: float | None) -> bytearray:
    buffer = bytearray(count)
    view = memoryview(buffer)
    filled = 0
    while filled < count:
        received = connection.recv_into(view[filled:], 0, socket.MSG_WAITALL)
        if received == 0:
            raise FrameClosed("the other side closed the connection")
        filled += received
        if filled < count and give_up_at is not None and time.monotonic() > give_up_at:
            raise TimeoutError("the rest of the frame came too slowly")
    return buffer


def timeval(seconds: float) -> bytes:
    """Given a duration, return it as the `struct timeval` of SO_RCVTIMEO and SO_SNDTIMEO.

    Zero would mean "for ever" to the kernel, so the least is a microsecond.
    """
    microseconds = max(1, int(seconds * 1_000_000))
    return struct.pack("@ll", *divmod(microseconds, 1_000_000))
