"""What the appliance says to systemd and gets from it, without a library.

Source: sd_notify(3), sd_listen_fds(3), sd_watchdog_enabled(3) of systemd 252. Started by hand or
by supervisor none of the variables is set; then every function does nothing and says so.
"""

import array
import contextlib
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from appliance.clock import Clock

#: A heartbeat older than this is a part that hangs (reliability.md section 4).
STALE_SECONDS = 10.0
_FIRST_LISTEN_FD = 3
_PATIENCE_SECONDS = 10.0
_MOST_LISTEN_FDS = 64


class Notifier:
    """Sends states to the socket that systemd named.

    Threads: any; each state is one datagram. A state that cannot be sent is dropped: systemd's
    own timeouts then decide, and the appliance goes on serving.
    """

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        self._address = _address(environment.get("NOTIFY_SOCKET", ""))

    @property
    def is_listening(self) -> bool:
        """Whether there is a systemd to talk to."""
        return self._address is not None

    def ready(self, status: str = "") -> bool:
        """Say that the listener is open and models answer; return whether it was sent."""
        return self._send("READY=1", *_status_lines(status))

    def status(self, text: str) -> bool:
        """Given one line for `systemctl status`, send it; return whether it was sent."""
        return self._send(*_status_lines(text))

    def stopping(self, status: str = "") -> bool:
        """Say that the end has begun; return whether it was sent."""
        return self._send("STOPPING=1", *_status_lines(status))

    def reloading(self, clock: Clock) -> bool:
        """Say that settings are read again, to be followed by `ready`; return whether sent.

        MONOTONIC_USEC is what Type=notify-reload of systemd 253 and later asks for.
        """
        return self._send("RELOADING=1", f"MONOTONIC_USEC={int(clock.monotonic() * 1e6)}")

    def watchdog(self) -> bool:
        """Say that all parts are alive; only a Watchdog should. Return whether it was sent."""
        return self._send("WATCHDOG=1")

    def extend_timeout(self, seconds: float) -> bool:
        """Given how long the present step may still take, ask for that; return whether sent.

        Repeat it while a model compiles or a migration runs: otherwise TimeoutStartSec kills the
        step, and the next start meets the same end.
        """
        return self._send(f"EXTEND_TIMEOUT_USEC={int(seconds * 1e6)}")

    @contextlib.contextmanager
    def patience(self, status: str, *, most_seconds: float = 3600.0) -> Iterator[None]:
        """Given what is being done, keep systemd waiting while the block runs, at most so long.

        For steps that cannot say how far they are, such as a migration: a start that is killed in
        the middle of one would be killed again at the next try, for ever.
        """
        if not self.is_listening:
            yield
            return
        ended = threading.Event()

        def extend() -> None:
            until = time.monotonic() + most_seconds
            while time.monotonic() < until:
                self.extend_timeout(_PATIENCE_SECONDS * 3)
                if ended.wait(_PATIENCE_SECONDS):
                    return

        self.status(status)
        extender = threading.Thread(target=extend, name="patience", daemon=True)
        extender.start()
        try:
            yield
        finally:
            ended.set()
            extender.join()

    def store_socket(self, name: str, listener: socket.socket) -> bool:
        """Given a listening socket, leave a copy with systemd so that the next start gets it.

        Clients then wait in its backlog during a restart and none is refused. Return whether sent.
        """
        message = f"FDSTORE=1\nFDNAME={_fd_name(name)}"
        return self._send_bytes(message.encode("ascii"), descriptors=[listener.fileno()])

    def remove_stored(self, name: str) -> bool:
        """Given the name of a stored socket that is not wanted any more, have it closed."""
        return self._send("FDSTOREREMOVE=1", f"FDNAME={_fd_name(name)}")

    def _send(self, *lines: str) -> bool:
        return self._send_bytes("\n".join(lines).encode("utf-8", "replace"), descriptors=[])

    def _send_bytes(self, message: bytes, *, descriptors: list[int]) -> bool:
        if self._address is None:
            return False
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))]
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
                sender.settimeout(1.0)  # a stuck systemd must not stop the serving loop
                sender.sendmsg([message], rights if descriptors else [], 0, self._address)
        except OSError:
            return False
        return True


def watchdog_interval_seconds(
    environment: Mapping[str, str] = os.environ, *, pid: int | None = None
) -> float | None:
    """Given the environment, return how often to ping: a third of WATCHDOG_USEC; None when systemd
    does not watch this very process (WATCHDOG_PID names another, or nothing usable is set).
    """
    watched_pid = environment.get("WATCHDOG_PID", "")
    if watched_pid and watched_pid != str(os.getpid() if pid is None else pid):
        return None
    microseconds = environment.get("WATCHDOG_USEC", "")
    if not (microseconds.isascii() and microseconds.isdigit()) or len(microseconds) > 18:
        return None
    return int(microseconds) / 3e6 or None


class Watchdog:
    """Pings systemd only while every part that registered a heartbeat is alive.

    Threads: `add` any; `tick` only the caller's serving loop, so that a hanging loop ends the
    pings too. There is no thread of its own: one would go on pinging for a process that hangs.
    """

    def __init__(
        self,
        notifier: Notifier,
        interval_seconds: float | None,
        *,
        stale_seconds: float = STALE_SECONDS,
    ) -> None:
        self._notifier = notifier
        self._interval_seconds = interval_seconds
        self._stale_seconds = stale_seconds
        self._heartbeats: dict[str, Callable[[], float]] = {}
        self._lock = threading.Lock()  # guards _heartbeats
        self._next_ping = float("-inf")

    def add(self, name: str, seconds_since_last_beat: Callable[[], float]) -> None:
        """Given a part's name and how to ask for the age of its last sign of life, watch it."""
        with self._lock:
            self._heartbeats[name] = seconds_since_last_beat

    def remove(self, name: str) -> None:
        """Given the name of a part that ended on purpose, watch it no more."""
        with self._lock:
            self._heartbeats.pop(name, None)

    def stale(self) -> dict[str, float]:
        """Return the parts without a recent sign of life and its age in seconds."""
        with self._lock:
            heartbeats = list(self._heartbeats.items())
        ages = {name: _age(age) for name, age in heartbeats}
        return {name: age for name, age in ages.items() if not age < self._stale_seconds}

    def tick(self, now: float) -> dict[str, float]:
        """Given monotonic seconds, ping if it is time and all parts are alive; return the stale.

        Call it once a second or so from the serving loop.
        """
        stale = self.stale()
        if self._interval_seconds is not None and now >= self._next_ping and not stale:
            self._notifier.watchdog()
            self._next_ping = now + self._interval_seconds
        return stale


@dataclass(frozen=True, slots=True)
class PassedSocket:
    """A socket that systemd passed at the start, and the name it was stored under."""

    name: str
    socket: socket.socket


def passed_sockets(
    environment: Mapping[str, str] = os.environ,
    *,
    pid: int | None = None,
    first_fd: int = _FIRST_LISTEN_FD,
) -> list[PassedSocket]:
    """Given the environment, return the sockets passed to this process: by FD store or .socket.

    Empty when LISTEN_PID names another process. They do not outlive an exec, so children do not
    hold the port. Descriptors that are no sockets are closed and left out.
    """
    if environment.get("LISTEN_PID", "") != str(os.getpid() if pid is None else pid):
        return []
    count = environment.get("LISTEN_FDS", "")
    if not (count.isascii() and count.isdigit()) or len(count) > 4:
        return []
    names = environment.get("LISTEN_FDNAMES", "").split(":")
    found = []
    for index in range(min(int(count), _MOST_LISTEN_FDS)):
        name = names[index] if index < len(names) else ""
        passed = _adopted(first_fd + index)
        if passed is not None:
            found.append(PassedSocket(name or "unknown", passed))
    return found


def is_listening_on(listener: socket.socket, host: str, port: int) -> bool:
    """Given a passed socket, return whether it listens at what the settings say now.

    If not, close it, `remove_stored` and bind anew: the admin changed the address.
    """
    try:
        if not listener.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
            return False
        name = listener.getsockname()
    except OSError:
        return False
    return isinstance(name, tuple) and name[0] == host and (port in (0, name[1]))


def _adopted(descriptor: int) -> socket.socket | None:
    try:
        passed = socket.socket(fileno=descriptor)
    except OSError:
        _close_quietly(descriptor)
        return None
    passed.set_inheritable(False)
    return passed


def _close_quietly(descriptor: int) -> None:
    try:
        os.close(descriptor)
    except OSError:
        return  # systemd counted more descriptors than it passed


def _address(notify_socket: str) -> str | None:
    if notify_socket.startswith("@"):  # the abstract namespace
        return "\0" + notify_socket[1:]
    return notify_socket if notify_socket.startswith("/") else None


def _status_lines(text: str) -> list[str]:
    # A line break would start another assignment: `STATUS=x\nREADY=1`.
    return [f"STATUS={' '.join(text.split())[:1024]}"] if text else []


def _fd_name(name: str) -> str:
    if not name or len(name) > 255 or not name.isascii() or not name.isprintable() or ":" in name:
        raise ValueError(f"not a name for a stored descriptor: {name!r}")
    return name


def _age(seconds_since_last_beat: Callable[[], float]) -> float:
    try:
        return seconds_since_last_beat()
    except Exception:  # a part that cannot even be asked is not alive
        return float("inf")
