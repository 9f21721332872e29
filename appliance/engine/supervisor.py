"""The supervisor: one thread that starts hosts, hears how they fare and starts them again."""

import contextlib
import logging
import queue
import selectors
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import msgspec

from appliance import frames
from appliance.config import Config
from appliance.engine.host import Host, wait_status_words
from appliance.engine.nursery import Nursery
from appliance.engine.served import FAILED, READY, STARTING, STOPPED, Served
from appliance.errors import decoded
from appliance.host.specification import HostEvent, HostSpecification, NurseryEvent

_log = logging.getLogger(__name__)
_HEALTHY_SECONDS = 10.0
_FIRST_PAUSE_SECONDS = 0.25


@dataclass(slots=True)
class _Child:
    """A host process from the moment it was asked for until it is reaped."""

    served: Served
    control: socket.socket
    socket_path: str
    started: float
    process_id: int | None = None
    is_wanted: bool = True
    control_closed: bool = False


class Supervisor:
    """Owns the nursery and every host process.

    Threads: everything but `start`, `serve`, `retire`, `replace`, `stop` and `heartbeat_age_seconds` runs in its own thread.
    """

    def __init__(
        self,
        config: Config,
        *,
        socket_directory: Path,
        cache_directory: Path,
        threads: int,
        on_restart: Callable[[Served, str], None],
        on_load_failed: Callable[[Served], None],
    ) -> None:
        self._on_load_failed = on_load_failed
        self._config = config
        self._socket_directory = socket_directory
        self._cache_directory = cache_directory
        self._threads = threads
        self._on_restart = on_restart
        self._commands: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._selector = selectors.DefaultSelector()
        self._wakeup, self._waker = socket.socketpair()
        self._children: dict[int, _Child] = {}
        self._timers: list[tuple[float, Callable[[], None]]] = []
        self._next_token = 0
        self._nursery: Nursery | None = None
        self._is_stopping = False
        self._beat = time.monotonic()
        self._thread = threading.Thread(target=self._run, name="supervisor", daemon=True)

    def start(self) -> None:
        """Start the thread and with it the nursery."""
        self._thread.start()

    def serve(self, served: Served) -> None:
        """Start a host for a version; its state says how that went."""
        served.become(STARTING)
        self._post(lambda: self._spawn(served))

    def retire(self, served: Served, *, drain_seconds: float) -> None:
        """Take a version out of service: let its calls finish, then end its host."""
        host = served.host
        served.become(STOPPED)
        if host is not None:
            host.wait_until_quiet(drain_seconds)
        self._post(lambda: self._dismiss(served))

    def replace(self, served: Served, reason: str) -> None:
        """Kill a host that hangs; its death brings the next one."""
        self._on_restart(served, reason)
        host = served.host
        if host is not None:
            host.ended_because = reason
            host.kill()

    def stop(self) -> None:
        """End every host and the nursery, and wait for it."""
        self._is_stopping = True
        self._post(lambda: None)
        self._thread.join(10.0)

    def heartbeat_age_seconds(self) -> float:
        """Return the seconds since the thread last went round its loop, which it does each second."""
        return time.monotonic() - self._beat

    def _post(self, command: Callable[[], None]) -> None:
        self._commands.put(command)
        with contextlib.suppress(OSError):
            self._waker.send(b"x")

    def _run(self) -> None:
        self._selector.register(self._wakeup, selectors.EVENT_READ, self._run_commands)
        self._start_nursery()
        while not self._is_stopping:
            for key, _ in self._selector.select(self._pause()):
                try:
                    key.data()
                except Exception:  # the supervisor must outlive any fault of its own
                    _log.exception("supervisor step failed")
            self._run_timers()
            self._beat = time.monotonic()
        self._end_everything()

    def _pause(self) -> float:
        now = time.monotonic()
        return max(0.0, min([1.0, *(at - now for at, _ in self._timers)]))

    def _run_commands(self) -> None:
        self._wakeup.recv(4096)
        while not self._commands.empty():
            self._commands.get()()

    def _run_timers(self) -> None:
        now = time.monotonic()
        due = [work for at, work in self._timers if at <= now]
        self._timers = [timer for timer in self._timers if timer[0] > now]
        for work in due:
            work()

    def _after(self, seconds: float, work: Callable[[], None]) -> None:
        self._timers.append((time.monotonic() + seconds, work))

    def _start_nursery(self) -> None:
        self._nursery = Nursery()
        self._selector.register(self._nursery.socket, selectors.EVENT_READ, self._hear_nursery)

    def _spawn(self, served: Served) -> None:
        if self._is_stopping or served.state == STOPPED or self._nursery is None:
            return
        self._next_token += 1
        token = self._next_token
        path = str(self._socket_directory / f"{served.place.model[:32]}-{token}.sock")
        try:
            control = self._nursery.spawn(token, self._specification(served, path))
        except OSError:
            self._after(_FIRST_PAUSE_SECONDS, lambda: self._spawn(served))
            return
        child = _Child(served=served, control=control, socket_path=path, started=time.monotonic())
        self._children[token] = child
        control.settimeout(5.0)
        self._selector.register(control, selectors.EVENT_READ, lambda: self._hear_host(token))
        self._after(self._config.models.start_seconds, lambda: self._give_up_start(token))

    def _specification(self, served: Served, path: str) -> HostSpecification:
        config = self._config
        return HostSpecification(
            directory=str(served.place.directory),
            socket_path=path,
            cache_directory=str(self._cache_directory),
            threads=self._threads,
            connections=config.http.threads + 4,
            memory_bytes=config.models.memory_bytes,
            image_pixels=config.limits.image_pixels,
            image_formats=config.limits.image_formats,
            tensor_batch=config.limits.tensor_batch,
        )

    def _hear_nursery(self) -> None:
        event = self._nursery.event() if self._nursery else None
        if event is None:
            self._lose_nursery()
        elif event.kind == "born":
            child = self._children.get(event.token)
            if child is not None:
                child.process_id = event.process_id
        else:
            self._bury(event)

    def _hear_host(self, token: int) -> None:
        child = self._children.get(token)
        if child is None:
            return
        try:
            message, _ = frames.receive(child.control)
            event = msgspec.convert(message, HostEvent)
        except (OSError, ValueError):
            self._unlisten(child)  # the nursery will say how it ended
            return
        if event.kind == "ready":
            self._ready(child, event)
        else:
            self._load_failed(child, event)

    def _ready(self, child: _Child, event: HostEvent) -> None:
        served = child.served
        if not child.is_wanted or served.state == STOPPED:
            self._unlisten(child)
            return
        host = Host(
            child.socket_path,
            child.process_id or 0,
            deadline_seconds=self._config.models.deadline_seconds,
        )
        served.description = event
        served.canary.ok, served.canary.at_monotonic = True, time.monotonic()
        served.become(READY, host=host)
        _log.info(
            "host ready",
            extra={"model": served.name, "load_seconds": round(event.load_seconds, 3)},
        )

    def _load_failed(self, child: _Child, event: HostEvent) -> None:
        problem = decoded(event.problem)
        child.is_wanted = False
        child.served.become(FAILED, problem.detail)
        self._on_load_failed(child.served)
        _log.error("model load failed", extra={"model": child.served.name, "reason": problem.detail})

    def _give_up_start(self, token: int) -> None:
        child = self._children.get(token)
        if child is not None and child.served.state == STARTING and child.is_wanted:
            child.is_wanted = False
            seconds = self._config.models.start_seconds
            child.served.become(
                FAILED, f"it did not load within {seconds:g} s (models.start_seconds)."
            )
            self._kill(child)

    def _bury(self, event: NurseryEvent) -> None:
        for token, child in list(self._children.items()):
            if child.process_id == event.process_id:
                del self._children[token]
                self._unlisten(child)
                Path(child.socket_path).unlink(missing_ok=True)
                self._after_death(child, wait_status_words(event.wait_status))

    def _after_death(self, child: _Child, words: str) -> None:
        served = child.served
        if not child.is_wanted or served.state in (STOPPED, FAILED) or self._is_stopping:
            return
        host = served.host
        if host is not None:
            words = host.ended_because or words
            host.ended_because = words
            host.close()
        lived = time.monotonic() - child.started
        served.consecutive_deaths = 1 if lived > _HEALTHY_SECONDS else served.consecutive_deaths + 1
        pause = self._backoff_seconds(served.consecutive_deaths)
        served.restarts += 1
        served.canary.ok = False
        reason = f"its process ended ({words}); it is started again"
        served.become(STARTING, reason)
        self._on_restart(served, words)
        _log.error(
            "host died",
            extra={"model": served.name, "reason": words, "restart_in_seconds": pause},
        )
        self._after(pause, lambda: self._spawn(served))

    def _backoff_seconds(self, deaths: int) -> float:
        """Return the pause before the next start: none at first, then doubling up to the configured bound."""
        if deaths <= 1:
            return 0.0
        longest = self._config.models.restart_backoff_seconds
        return float(min(longest, _FIRST_PAUSE_SECONDS * 2 ** min(deaths - 2, 20)))

    def _dismiss(self, served: Served) -> None:
        for child in self._children.values():
            if child.served is served and served.state == STOPPED:
                child.is_wanted = False
                self._unlisten(child)
                self._after(2.0, lambda child=child: self._kill(child))  # type: ignore[misc]

    def _unlisten(self, child: _Child) -> None:
        """Stop listening to a host; closing its control socket tells it to end."""
        if not child.control_closed:
            child.control_closed = True
            self._selector.unregister(child.control)
            child.control.close()

    def _kill(self, child: _Child) -> None:
        if child in self._children.values() and child.process_id:
            Host("", child.process_id, deadline_seconds=1.0).kill()

    def _lose_nursery(self) -> None:
        """The nursery died and the kernel has ended all hosts with it: begin anew."""
        _log.error("nursery died")
        if self._nursery is not None:
            self._selector.unregister(self._nursery.socket)
            self._nursery.end()
        children, self._children = list(self._children.values()), {}
        self._start_nursery()
        for child in children:
            self._unlisten(child)
            self._after_death(child, "the process that starts models was killed")

    def _end_everything(self) -> None:
        for child in self._children.values():
            self._unlisten(child)
        if self._nursery is not None:
            self._nursery.end()
        for child in self._children.values():
            Path(child.socket_path).unlink(missing_ok=True)
