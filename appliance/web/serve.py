"""Serve: the HTTP server around the assembled appliance, from first listener to last answer."""

import logging
import re
import signal
import socket
import threading
import time
from collections.abc import Mapping
from typing import Any

from appliance import systemd
from appliance.actions.callers import Caller, Role
from appliance.config import Limits
from appliance.core import Appliance
from appliance.engine.served import FAILED, STARTING
from appliance.errors import Fault, StateUnusable
from appliance.log import Journal
from appliance.store.disk import Level
from appliance.web.app import SHAPES, create_app
from appliance.web.body import Spool
from appliance.web.dialects import deepstack
from appliance.web.lanes import Lane
from appliance.web.server import Server, bind
from appliance.web.unix_door import UnixDoor, as_admin, for_gateway, plain_client

_log = logging.getLogger(__name__)
_INFERENCE_PATH = re.compile(
    r".*[/:](?:predict|infer|classify|regress|detect_step|reset_count)|/api/v1/streams/[^/]+"
    r"|/v1/vision/.*|/api/classify/(?:image|image/detect|text)"
)
#: Where whole models, archives, tables and files arrive.
_UPLOAD_PATH = re.compile(
    r"/api/v1/(?:models|models/inspect|jobs|tables|files)"
    r"|/api/v1/models/[^/]+(?:/versions/[^/]+)?/(?:batch|evaluate|quantise|tune)"
    r"|/api/classify/(?:text/)?batch"
)
#: Threads of the Unix doors; the gateway has no more connections than its door has threads.
_ADMIN_THREADS = 2
_EXTEND_SECONDS = 30
#: systemd closes a socket it was told to drop in a thread of its own; usually within milliseconds.
_DROP_SECONDS = 10.0


class Serving:
    """The running HTTP service of one appliance. Threads: `run` is the main thread's."""

    def __init__(self, parts: Appliance, journal: Journal, notifier: systemd.Notifier) -> None:
        self._parts = parts
        self._notifier = notifier
        self._is_announced = False
        self._began = time.monotonic()
        self._application = create_app(parts, line=journal.request)
        self._listener = _listener(parts, notifier)
        rules = self._rules()
        self.server = Server(
            self._application,
            parts.config.http,
            parts.config.limits,
            listener=self._listener,
            authorised=self._authorised,
            keeps_listener=notifier.is_listening,
            **rules,
        )
        parts.metrics.watch_connections(self.server.connections)
        parts.metrics.watch(journal.readings)
        self._journal = journal
        parts.reload.tell("log", journal.use_settings)
        self._doors = self._opened(rules)
        self._watchdog = systemd.Watchdog(notifier, systemd.watchdog_interval_seconds())
        self._watchdog.add("supervisor", parts.engine.supervisor.heartbeat_age_seconds)
        self._watchdog.add(
            "database writer", lambda: parts.database.status().heartbeat_seconds_ago
        )

    @property
    def address(self) -> tuple[str, int]:
        """The address and port that are listened on."""
        name = self._listener.getsockname()
        return str(name[0]), int(name[1])

    def run(self) -> None:
        """Serve until SIGTERM or SIGINT, then drain; the appliance is left to the caller."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop)
        signal.signal(signal.SIGHUP, self._reload)
        for door in self._doors:
            door.start()
        _log.info("listening", extra={"host": self.address[0], "port": self.address[1]})
        try:
            self.server.run(self._tick)
        finally:
            _log.info("no longer listening")
            for door in self._doors:
                door.stop()
            self._notifier.stopping()

    def _stop(self, *_: object) -> None:
        self._parts.health.begin_stop()
        self._notifier.stopping()
        self.server.stop(self._parts.config.http.drain_seconds)
        for door in self._doors:
            door.begin_stop()

    def _reload(self, *_: object) -> None:
        """On SIGHUP, which supervisors send; in a thread, as the serving loop must go on."""
        threading.Thread(target=self._reload_now, name="reload", daemon=True).start()

    def _reload_now(self) -> None:
        try:
            self._parts.reload.reload(Caller(key_name="SIGHUP", address="", role=Role.ADMIN))
        except Fault as fault:
            _log.error("not reloaded", extra={"reason": fault.detail})

    def _tick(self) -> None:
        """About once a second, from the very loop that serves: so a loop that hangs is noticed."""
        self._watchdog.tick(time.monotonic())
        self._journal.report_suppressed()
        if not self._is_announced:
            self._announce()

    def _announce(self) -> None:
        readiness = self._parts.health.readiness()
        if not readiness.ready and self._is_worth_waiting():
            self._notifier.extend_timeout(_EXTEND_SECONDS)
            self._notifier.status(f"Starting: {'; '.join(readiness.reasons)[:200]}")
            return
        self._is_announced = True
        models = ", ".join(
            f"{name}@{version}" for name, version in self._parts.engine.active_versions().items()
        )
        text = f"Serving {models or 'no model yet'} on port {self.address[1]}"
        if not readiness.ready:
            text = f"Not ready: {'; '.join(readiness.reasons)[:200]}. {text}"
        self._notifier.ready(text)
        _log.info("ready" if readiness.ready else "started, not ready", extra={"models": models})

    def _is_worth_waiting(self) -> bool:
        """Return whether what is not ready may still become it by itself.

        A broken model must not keep `systemctl start`, and with it the installation of a package
        or the start of the machine, waiting for ever.
        """
        if time.monotonic() - self._began > self._parts.config.models.start_seconds:
            return False
        states = {one.state for one in self._parts.health.models() if one.is_active}
        return FAILED not in states or STARTING in states

    def _rules(self) -> dict[str, Any]:
        """Return what holds on every listener; they share the room for bodies on disk."""
        parts = self._parts
        return {
            "spool": Spool(parts.places.spool, parts.config.limits.spool_bytes),
            "lane_of": lane_of,
            "problem_bytes": SHAPES.body,
            "on_event": parts.metrics.server_event,
            "body_limit": self._body_limit,
            "unknown_body": self._unknown_body,
            "require_room": lambda: parts.disk.require(Level.WARN, "an upload"),
        }

    def _opened(self, rules: dict[str, Any]) -> tuple[UnixDoor, UnixDoor]:
        """Return the doors for the command line and for the WebSocket gateway."""
        parts = self._parts
        http, limits = parts.config.http, parts.config.limits
        admin = UnixDoor(
            as_admin(self._application),
            parts.places.admin_socket,
            name="admin-door",
            mode=0o600,
            threads=_ADMIN_THREADS,
            rules={**rules, "authorised": lambda headers, address: True},
            http=http,
            limits=limits,
        )
        gateway = UnixDoor(
            for_gateway(self._application),
            parts.places.gateway_socket,
            name="gateway-door",
            mode=0o660,
            threads=parts.config.streams.gateway_calls,
            rules={**rules, "authorised": self._authorised_behind_gateway},
            http=http,
            limits=limits,
        )
        return admin, gateway

    def _authorised_behind_gateway(self, headers: Mapping[str, str], address: str) -> bool:
        return self._authorised(headers, plain_client(headers.get("x-gateway-address", "")))

    def _authorised(self, headers: Mapping[str, str], address: str) -> bool:
        shaped = {name.upper().replace("-", "_"): value for name, value in headers.items()}
        return self._parts.gate.authorised(shaped, address)

    def _unknown_body(self, path: str) -> int:
        is_vision = path.startswith(deepstack.PREFIX + "/")
        return self._parts.config.dialects.form_key_bytes if is_vision else 0

    def _body_limit(self, method: str, path: str) -> int:
        return body_limit_of(method, path, self._parts.config.limits)


def lane_of(method: str, path: str) -> Lane:
    """Given a request line, return the lane: predictions wait for models, the rest does not."""
    # The end of a stream waits for its model as its chunks do.
    if method in ("POST", "DELETE") and _INFERENCE_PATH.fullmatch(path.rstrip("/")):
        return Lane.INFERENCE
    return Lane.CONTROL


def body_limit_of(method: str, path: str, limits: Limits) -> int:
    """Given a request line and the limits, return the most bytes its body may have."""
    if lane_of(method, path) is Lane.INFERENCE:
        return limits.input_bytes + limits.json_bytes
    if method in ("POST", "PUT") and _UPLOAD_PATH.fullmatch(path.rstrip("/")):
        return limits.body_bytes
    return limits.json_bytes + 1


def _listener(parts: Appliance, notifier: systemd.Notifier) -> socket.socket:
    """Take the socket systemd kept over a restart, else bind, and leave the new one with it."""
    http = parts.config.http
    listener: socket.socket | None = None
    patience_seconds = 0.0
    for passed in systemd.passed_sockets():
        if listener is None and systemd.is_listening_on(passed.socket, http.host, http.port):
            listener = passed.socket
        else:
            passed.socket.close()
            notifier.remove_stored(passed.name)
            patience_seconds = _DROP_SECONDS
    if listener is None:
        listener = bind_patiently(http.host, http.port, patience_seconds=patience_seconds)
        notifier.store_socket("http", listener)
    return listener


def bind_patiently(host: str, port: int, *, patience_seconds: float) -> socket.socket:
    """Given an address that may still be taken for a moment, return a listening socket.

    Another address with the same port (0.0.0.0, then 127.0.0.1) is taken until systemd has closed
    the stored one. Raise StateUnusable when it still is after so many seconds, ConfigInvalid at
    once for an address that cannot be.
    """
    until = time.monotonic() + patience_seconds
    while True:
        try:
            return bind(host, port)
        except StateUnusable:
            if time.monotonic() >= until:
                raise
        time.sleep(0.05)
