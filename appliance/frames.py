"""Messages between the front and its children: length-prefixed frames on Unix sockets.

A frame is `u32 header bytes | u64 body bytes` (little-endian), then a msgpack header, then the body
as raw bytes, so that a picture or a tensor is never copied into or out of a serialiser.
"""

import socket
import struct
from typing import Any

import msgspec

_PREFIX = struct.Struct("<IQ")
MAX_HEADER_BYTES = 4 * 1024 * 1024
MAX_BODY_BYTES = 2 * 1024 * 1024 * 1024

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder().decode


class FrameClosed(ConnectionError):
    """The other side closed the connection, between frames or inside one."""


def send(connection: socket.socket, header: Any, body: bytes | memoryview = b"") -> None:
    """Given a header msgpack can carry and a body, send them as one frame."""
    packed = _encode(header)
    prefix = _PREFIX.pack(len(packed), len(body))
    if len(body) < 65536:
        connection.sendall(b"".join((prefix, packed, body)))
    else:
        connection.sendall(prefix + packed)
        connection.sendall(body)


def receive(connection: socket.socket) -> tuple[Any, bytearray]:
    """Wait for one frame and return its header and body.

    Raise FrameClosed when the other side has gone, ValueError when a length is beyond the caps
    (then the stream cannot be trusted any more and must be closed).
    """
    header_bytes, body_bytes = _PREFIX.unpack(_exactly(connection, _PREFIX.size))
    if header_bytes > MAX_HEADER_BYTES or body_bytes > MAX_BODY_BYTES:
        raise ValueError(f"frame of {header_bytes} + {body_bytes} bytes is beyond the cap")
    header = _decode(_exactly(connection, header_bytes))
    return header, _exactly(connection, body_bytes) if body_bytes else bytearray()


def _exactly(connection: socket.socket, count: int) -> bytearray:
    buffer = bytearray(count)
    view = memoryview(buffer)
    filled = 0
    while filled < count:
        received = connection.recv_into(view[filled:])
        if received == 0:
            raise FrameClosed("the other side closed the connection")
        filled += received
    return buffer


def timeval(seconds: float) -> bytes:
    """Given a duration, return it as the `struct timeval` that SO_RCVTIMEO and SO_SNDTIMEO take."""
    whole = int(seconds)
    return struct.pack("@ll", whole, int((seconds - whole) * 1_000_000))
