"""The connection below the requests: waitress' channel on our loop, sending without a detour.

A worker writes to the socket itself; only what the socket does not take waits for the loop, in
memory and up to a bound. Whoever does not read his answer is cut.
"""

import fcntl
import logging
import select
import socket
import struct
import termios
from contextlib import AbstractContextManager
from typing import Any

from waitress.channel import ClientDisconnected, HTTPChannel

from appliance.web.front import Front
from appliance.web.lanes import Lane, SparesExhausted
from appliance.web.pace import Pace

_log = logging.getLogger(__name__)
_GONE = select.EPOLLHUP | select.EPOLLERR
#: A body that was refused is still read this far, so that the client gets to see the answer.
_LINGER_SECONDS = 2.0
#: Socket buffers make the progress of a reader visible in bursts; this many windows cover one.
_READER_WINDOWS = 3


class Wire(HTTPChannel):  # type: ignore[misc]
    """A connection: its place in the loop, its output and its end.

    Threads: the serving loop; `write_soon` and `send` also the worker that owns the request in
    `requests`. waitress' `outbuf_lock` guards the output buffers and the socket while writing.
    """

    def __init__(
        self, front: Front, connection: socket.socket, address: str, *, is_counted: bool = True
    ) -> None:
        self.front = front
        self.address = address
        self._is_counted = is_counted
        self._lane = Lane.CONTROL
        self._is_paused = False
        self._is_lingering = False
        self._must_linger = False
        self._since = front.now
        self._patience_seconds = front.http.header_seconds
        self._pace = Pace()
        self._sent_bytes = 0
        self._watched = 0
        super().__init__(front, connection, (address, 0), front.adj, map=front.loop.sources)
        self.base_environ = front.environ_for(connection, address)

    @property
    def is_draining(self) -> bool:
        """Return whether the server is stopping."""
        return self.front.gate.is_draining

    @property
    def is_working(self) -> bool:
        """Return whether a stop has to wait for this connection."""
        return bool(
            self.requests
            or self.total_outbufs_len
            or self.close_when_flushed
            or self._is_lingering
        )

    @property
    def _is_ending(self) -> bool:
        return bool(self.close_when_flushed or self.will_close or not self.connected)

    def _begin_wait(self, patience_seconds: float) -> None:
        self._since = self.front.now
        self._patience_seconds = patience_seconds

    # Its place in the loop.

    def add_channel(self, map: Any = None) -> None:
        """Enter the loop; the name and signature are asyncore's."""
        super().add_channel(map)
        self._watched = select.EPOLLIN
        self.front.loop.watch(self._fileno, self._watched)

    def del_channel(self, map: Any = None) -> None:
        """Leave the loop and the census."""
        if self._fileno is not None:
            self.front.loop.forget(self._fileno)
            if self._is_counted:
                self.front.census.leave(self.address)
        super().del_channel(map)

    def readable(self) -> bool:
        """Return whether further bytes of the client are wanted now."""
        if self._is_lingering:
            return True
        return not (
            self._is_paused or self.will_close or self.close_when_flushed or self.total_outbufs_len
        )

    def writable(self) -> bool:
        """Return whether something is to be done as soon as the socket takes bytes."""
        if self._is_lingering:
            return False
        return bool(self.total_outbufs_len or self.will_close or self.close_when_flushed)

    def refresh(self) -> None:
        """Tell the loop what this connection waits for, if that has changed."""
        if self._fileno is None:
            return
        wanted = select.EPOLLIN if self.readable() else 0
        if self.writable():
            wanted |= select.EPOLLOUT
        if wanted != self._watched:
            self._watched = wanted
            self.front.loop.change(self._fileno, wanted)

    def handle_events(self, events: int) -> None:
        """Act on what epoll reports; an error here costs this connection only."""
        try:
            if events & _GONE:
                self.handle_close()
                return
            if events & select.EPOLLOUT:
                self.handle_write()
            if events & select.EPOLLIN and self.connected:
                self.handle_read()
            self.refresh()
        except ClientDisconnected:
            self.handle_close()
        except Exception:
            _log.exception("a connection met an error nobody caught")
            self.handle_close()

    # Sending.

    def send(self, data: bytes, do_close: bool = True) -> int:
        """Given bytes, send what the socket takes now, and count it."""
        sent: int = super().send(data, do_close)
        self._sent_bytes += sent
        return sent

    def write_soon(self, data: bytes) -> int:
        """Given bytes, send them; what the socket does not take waits for the loop.

        Block while more waits than the high watermark; raise ClientDisconnected when nobody reads.
        """
        if not self.connected:
            raise ClientDisconnected
        if not data:
            return 0
        with self.outbuf_lock:
            sent = self._send_directly(data)
            if sent < len(data):
                super().write_soon(data[sent:])
        return len(data)

    def _send_directly(self, data: bytes) -> int:
        if self.total_outbufs_len or not self.connected:
            return 0
        try:
            return self.send(data, False)
        except OSError:
            self.will_close = True
            self.front.pull_trigger()
            raise ClientDisconnected from None

    def _flush_outbufs_below_high_watermark(self) -> None:
        if self.total_outbufs_len <= self.adj.outbuf_high_watermark:
            return
        try:
            with self.front.gate.lanes.stalled(self._lane):
                super()._flush_outbufs_below_high_watermark()
        except SparesExhausted:
            self.will_close = True
            self.front.pull_trigger()
            raise ClientDisconnected from None

    def lent_thread(self) -> AbstractContextManager[None]:
        """Return what lends the lane a thread while the calling worker waits for something slow.

        Entered when too many wait already, it raises SparesExhausted.
        """
        return self.front.gate.lanes.stalled(self._lane)

    def handle_write(self) -> None:
        """Send what waits, then close, linger or go on reading as was decided."""
        flush = self._flush_some_if_lockable if self.requests else self._flush_some
        if self.total_outbufs_len:
            self._flush_exception(flush)
        if not self.connected:
            return
        if self.will_close:
            self.handle_close()
        elif not self.total_outbufs_len and not self.requests:
            self._after_flush()

    def _after_flush(self) -> None:
        if self.close_when_flushed and not self._is_lingering:
            # `_is_paused`: the client has sent more, which nobody will read
            self._linger() if self._must_linger or self._is_paused else self.handle_close()
        elif self._is_paused and not self.close_when_flushed:
            self._resume()

    def _resume(self) -> None:
        raise NotImplementedError

    def _linger(self) -> None:
        """Say that no more will be sent, and read on briefly: closing over unread input would
        reset the connection, and the client would never see the answer (RFC 9112 section 9.6).
        """
        try:
            self.socket.shutdown(socket.SHUT_WR)
        except OSError:
            self.handle_close()
            return
        self._is_lingering = True
        self._begin_wait(_LINGER_SECONDS)

    # Ending.

    def _is_late(self, now: float) -> bool:
        return now - self._since >= self._patience_seconds

    def _check_reader(self, now: float) -> None:
        """Cut a client that takes its answer too slowly; what counts is what it acknowledged."""
        unsent = struct.unpack("i", fcntl.ioctl(self.socket, termios.TIOCOUTQ, b"\0" * 4))[0]
        if self._pace.is_too_slow(
            "answer",
            self._sent_bytes - unsent,
            now,
            window_seconds=self.front.http.body_grace_seconds * _READER_WINDOWS,
            rate=self.front.http.response_bytes_per_second,
        ):
            # Without this the kernel would keep what it still holds for minutes.
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self._cut("slow-reader")

    def _cut(self, reason: str) -> None:
        self.front.cut(reason, self.address)
        self.handle_close()
