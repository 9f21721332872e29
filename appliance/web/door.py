"""The listening socket: who comes in, who is told that there is no place.

A server that merely stops accepting looks dead to its clients, and one without descriptors spins;
so clients over the cap get an answer, and a spare descriptor is there for the worst case.
"""

import contextlib
import errno
import os
import select
import socket

from appliance.errors import ConfigInvalid, RateLimited, StateUnusable, Unavailable
from appliance.web.census import plain_address
from appliance.web.channel import Channel
from appliance.web.front import BACKLOG, Front

_ACCEPTS_PER_TURN = 64
#: Connections over the cap that are told so at once; more are closed without a word.
_MOST_TURNED_AWAY = 64
#: How often those who hold places for nothing are looked for while every place is taken.
_LOOK_PAUSE_SECONDS = 0.1
_NO_DESCRIPTORS = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})


def bind(host: str, port: int) -> socket.socket:
    """Given an address (IPv4, IPv6 or a name) and a port, return a listening socket.

    `::` takes IPv4 as well. Raise ConfigInvalid for an address that is not this machine's or a
    port that needs other rights, StateUnusable when another program has it.
    """
    try:
        found = socket.getaddrinfo(
            host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        family, kind, protocol, _, address = found[0]
        listener = socket.socket(family, kind, protocol)
    except OSError as fault:
        raise ConfigInvalid(f"http.host {host!r} is not an address: {fault}.") from None
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        listener.bind(address)
        listener.listen(BACKLOG)
    except OSError as fault:
        listener.close()
        if fault.errno == errno.EADDRINUSE:
            raise StateUnusable(
                f"Another program listens on {host} port {port}; stop it or set http.port."
            ) from None
        raise ConfigInvalid(f"Cannot listen on {host} port {port}: {fault.strerror}.") from None
    return listener


def _peer_of(address: object) -> str:
    """Return a client's address; one of a Unix socket has none, but it is on this machine."""
    return plain_address(str(address[0])) if isinstance(address, tuple) else "local"


class Door:
    """The listening socket: lets clients in, or tells them that it is full.

    Threads: only the serving loop.
    """

    def __init__(self, listener: socket.socket, front: Front) -> None:
        listener.setblocking(False)
        self._listener = listener
        self._descriptor = listener.fileno()
        self._front = front
        self._is_open = False
        self._is_paused = False
        self._next_look = 0.0
        #: Given up when no descriptor is left, so that one client can be taken and closed.
        self._spare: int | None = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)

    def open(self) -> None:
        """Begin to accept."""
        self._front.loop.sources[self._descriptor] = self
        self._front.loop.watch(self._descriptor, select.EPOLLIN, comes_last=True)
        self._is_open = True

    def close(self, *, keeps_listener: bool) -> None:
        """Accept nobody from now on; who still waits is left to a successor, if there is one."""
        if self._is_open:
            self._is_open = False
            if not keeps_listener:
                self._accept_some()
            self._front.loop.forget(self._descriptor)
            del self._front.loop.sources[self._descriptor]
        if not keeps_listener:
            self._listener.close()
        if self._spare is not None:
            os.close(self._spare)
            self._spare = None

    def check(self) -> None:
        """Accept again after a pause for want of descriptors."""
        if self._is_open and self._is_paused:
            self._is_paused = False
            self._front.loop.change(self._descriptor, select.EPOLLIN)

    def handle_events(self, events: int) -> None:
        """Accept who is waiting."""
        self._accept_some()

    def _accept_some(self) -> None:
        for _ in range(_ACCEPTS_PER_TURN):
            try:
                connection, address = self._listener.accept()
            except BlockingIOError:
                return
            except OSError as fault:
                if fault.errno in _NO_DESCRIPTORS:
                    self._turn_away_unseen()
                    return
                continue  # that client is gone already
            self._welcome(connection, _peer_of(address))

    def _welcome(self, connection: socket.socket, address: str) -> None:
        try:
            if connection.family != socket.AF_UNIX:
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._enter(address)
        except (Unavailable, RateLimited) as problem:
            self._turn_away(connection, address, problem)
            return
        except OSError:
            connection.close()
            return
        self._open_channel(connection, address, is_counted=True)

    def _enter(self, address: str) -> None:
        try:
            self._front.census.enter(address)
        except Unavailable:
            if not self._has_made_room():
                raise
            self._front.census.enter(address)

    def _has_made_room(self) -> bool:
        """Cut those who hold places without asking for anything; return whether there were any.

        Looking through all connections for each refused client would be work that a flood of them
        could order, so it is done now and then.
        """
        now = self._front.clock.monotonic()
        if now < self._next_look:
            return False
        self._next_look = now + _LOOK_PAUSE_SECONDS
        hoarders = [one for one in self._front.active_channels.values() if one.is_hoarding]
        for channel in hoarders:
            self._front.cut("hoarding", channel.address)
            channel.handle_close()
        return bool(hoarders)

    def _open_channel(
        self, connection: socket.socket, address: str, *, is_counted: bool
    ) -> Channel | None:
        descriptor = connection.fileno()
        try:
            return Channel(self._front, connection, address, is_counted=is_counted)
        except OSError:  # gone already, or the kernel has no room to watch it
            self._front.active_channels.pop(descriptor, None)
            self._front.loop.sources.pop(descriptor, None)
            if is_counted:
                self._front.census.leave(address)
            connection.close()
            return None

    def _turn_away(
        self, connection: socket.socket, address: str, problem: Unavailable | RateLimited
    ) -> None:
        self._front.on_event("turned_away", reason=problem.slug, address=address)
        extra = len(self._front.active_channels) - self._front.census.open
        if extra >= _MOST_TURNED_AWAY:
            connection.close()
            return
        channel = self._open_channel(connection, address, is_counted=False)
        if channel is not None:
            channel.refuse(problem)
            channel.refresh()

    def _turn_away_unseen(self) -> None:
        """Take and close one client with the spare descriptor, then wait for some to come free."""
        self._front.on_event("turned_away", reason="descriptors", address="")
        if self._spare is not None:
            os.close(self._spare)
            self._spare = None
        with contextlib.suppress(OSError):
            self._listener.accept()[0].close()
        with contextlib.suppress(OSError):
            self._spare = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
        self._is_paused = True
        self._front.loop.change(self._descriptor, 0)
