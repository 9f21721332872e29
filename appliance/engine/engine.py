"""The engine: which version of which model answers, and the one way in for every call."""

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from appliance.config import Config
from appliance.engine.admission import Admission
from appliance.engine.host import Host
from appliance.engine.served import READY, STOPPED, Served
from appliance.engine.status import ModelStatus
from appliance.engine.supervisor import Supervisor
from appliance.errors import Conflict, DeadlineExceeded, ModelInvalid, NotFound, Problem
from appliance.library.manifest import read_manifest
from appliance.library.versions import VersionDirectory, installed_versions

_log = logging.getLogger(__name__)
OnCall = Callable[[Served, str, tuple[float, float, float, float]], None]


class Engine:
    """Routes calls to hosts.

    Threads: `call` and the read-only methods from any; changes of what is served are serialised by `_changes`.
    """

    def __init__(
        self,
        config: Config,
        *,
        models_directory: Path,
        socket_directory: Path,
        cache_directory: Path,
        threads: int,
        on_call: OnCall,
        on_restart: Callable[[Served, str], None],
        on_load_failed: Callable[[Served], None],
    ) -> None:
        self._config = config
        self._models_directory = models_directory
        self._on_call = on_call
        self._in_flight = config.models.in_flight or threads + 1
        self._active: dict[str, int] = {}
        self._served: dict[tuple[str, int], Served] = {}
        self._changes = threading.Lock()
        self.supervisor = Supervisor(
            config,
            socket_directory=socket_directory,
            cache_directory=cache_directory,
            threads=threads,
            on_restart=on_restart,
            on_load_failed=on_load_failed,
        )

    def start(self, active: dict[str, int]) -> None:
        """Given the active version of each model, start their hosts; models without one get their newest.

        The supervisor must have been started.
        """
        newest = {place.model: place.version for place in installed_versions(self._models_directory)}
        for model, version in {**newest, **active}.items():
            with contextlib.suppress(NotFound):
                self._serve(self._place(model, version))
                self._active[model] = version

    def stop(self) -> None:
        """End every host."""
        self.supervisor.stop()

    def call(
        self,
        model: str,
        version: int | None,
        header: dict[str, Any],
        body: bytes | memoryview,
        *,
        waiting_since: float | None = None,
    ) -> tuple[dict[str, Any], bytearray]:
        """Given a call for a model (None: its active version), return the host's reply header and body.

        The reply header gains `model`, `version` and `queue` seconds, counted from `waiting_since` (monotonic).
        Raise NotFound, Overloaded, ModelUnavailable, HostDied, DeadlineExceeded or the host's own problem.
        """
        arrived = time.monotonic()
        served = self._wanted(model, version)
        started = arrived
        try:
            with served.admission.enter():
                started = time.monotonic()
                reply, answer = self._ask(served, header, body)
        except Problem as problem:
            failed_after = time.monotonic() - arrived
            served.counters.failed(failed_after)
            self._on_call(served, problem.slug, (started - arrived, 0.0, 0.0, 0.0))
            raise
        queue_seconds = started - (waiting_since if waiting_since is not None else arrived)
        decode, infer, encode = reply.get("timing", (0.0, 0.0, 0.0))
        served.counters.succeeded(queue_seconds, decode, infer, encode, batch=reply.get("batch", 1))
        self._on_call(served, "ok", (queue_seconds, decode, infer, encode))
        reply["model"], reply["version"] = served.place.model, served.place.version
        reply["task"], reply["queue"] = served.manifest.task, queue_seconds
        return reply, answer

    def models(self) -> list[ModelStatus]:
        """Return the state of every installed version, served or not, by name and version."""
        return [
            self._status(place) for place in installed_versions(self._models_directory)
        ]

    def status(self, model: str, version: int | None) -> ModelStatus:
        """Given a model and a version (None: the active or newest), return its state; raise NotFound."""
        return self._status(self._place(model, version))

    def task_of(self, model: str, version: int | None) -> str:
        """Given a model and a version (None: the active one), return its task's name; raise NotFound."""
        wanted = self._active.get(model) if version is None else version
        served = self._served.get((model, wanted)) if wanted is not None else None
        if served is None:
            return read_manifest(self._place(model, version).directory).task
        return served.manifest.task

    def load(self, model: str, version: int | None = None) -> None:
        """Start, or start anew, a model; raise ModelInvalid with the reason when it does not become ready."""
        with self._changes:
            place = self._place(model, version)
            previous = self._served.get((place.model, place.version))
            fresh = self._new(place)
            self.supervisor.serve(fresh)
            if not fresh.wait_until_settled(self._config.models.start_seconds):
                self.supervisor.retire(fresh, drain_seconds=0)
                raise ModelInvalid(f"failed to load {fresh.name!r}: {fresh.reason or 'it took too long'}")
            self._served[place.model, place.version] = fresh
            replaced_version = self._active.get(model)
            self._active[model] = place.version
            if previous is not None:
                self._retire(previous)
            elif replaced_version not in (None, place.version):
                self._retire_version(model, replaced_version)

    def unload(self, model: str) -> None:
        """Take a model out of service and give its memory back; it stays installed."""
        with self._changes:
            self._place(model, None)
            for (name, _), served in list(self._served.items()):
                if name == model and served.state != STOPPED:
                    self._retire(served)

    def activate(self, model: str, version: int) -> int | None:
        """Given an installed version, start it, and once it has proved itself let it answer instead of the old one.

        Return the version that was active. Raise ModelInvalid, leaving everything as it was, when it fails.
        """
        before = self._active.get(model)
        if before == version and self._is_ready(model, version):
            raise Conflict(f"{model}@{version} is already active.")
        self.load(model, version)
        return before

    def canary_targets(self) -> Iterator[tuple[Served, Host]]:
        """Yield each version that is ready and its host, for the canary."""
        for served in list(self._served.values()):
            host = served.host
            if served.state == READY and host is not None:
                yield served, host

    def active_versions(self) -> dict[str, int]:
        """Return the active version of each model that has one."""
        return dict(self._active)

    def missed(self, served: Served, host: Host) -> None:
        """Given a version whose host missed a deadline, replace that host when it has missed too many."""
        if host.missed_deadlines >= self._config.models.deadline_misses and served.host is host:
            _log.error("host replaced", extra={"model": served.name, "reason": "deadlines missed"})
            self.supervisor.replace(served, f"it missed {host.missed_deadlines} deadlines")

    def _ask(
        self, served: Served, header: dict[str, Any], body: bytes | memoryview
    ) -> tuple[dict[str, Any], bytearray]:
        host = served.ready_host()
        try:
            return host.call(header, body)
        except DeadlineExceeded:
            self.missed(served, host)
            raise

    def _wanted(self, model: str, version: int | None) -> Served:
        if version is None:
            version = self._active.get(model)
        served = self._served.get((model, version)) if version is not None else None
        if served is not None:
            return served
        place = self._place(model, version)
        with self._changes:
            served = self._serve(place)
        served.wait_until_settled(self._config.limits.waiting_seconds)
        return served

    def _serve(self, place: VersionDirectory) -> Served:
        key = (place.model, place.version)
        served = self._served.get(key)
        if served is None:
            served = self._served[key] = self._new(place)
            self.supervisor.serve(served)
        return served

    def _new(self, place: VersionDirectory) -> Served:
        return Served(
            place=place,
            manifest=read_manifest(place.directory),
            admission=Admission(
                most=self._in_flight,
                most_waiting=self._config.limits.waiting,
                waiting_seconds=self._config.limits.waiting_seconds,
            ),
        )

    def _place(self, model: str, version: int | None) -> VersionDirectory:
        versions = {
            place.version: place
            for place in installed_versions(self._models_directory)
            if place.model == model
        }
        if not versions:
            raise NotFound(f"Request for unknown model: {model!r} is not found.")
        if version is None:
            version = self._active.get(model, max(versions))
        if version not in versions:
            known = ", ".join(str(number) for number in sorted(versions))
            raise NotFound(f"Model {model!r} has no version {version}. It has: {known}.")
        return versions[version]

    def _status(self, place: VersionDirectory) -> ModelStatus:
        served = self._served.get((place.model, place.version)) or self._new(place)
        return served.status(is_active=self._active.get(place.model) == place.version)

    def _is_ready(self, model: str, version: int) -> bool:
        served = self._served.get((model, version))
        return served is not None and served.state == READY

    def _retire_version(self, model: str, version: int | None) -> None:
        served = self._served.pop((model, version), None) if version is not None else None
        if served is not None:
            self._retire(served)

    def _retire(self, served: Served) -> None:
        """Drain an old host beside the new one's service, so that whoever switched need not wait."""
        threading.Thread(
            target=self.supervisor.retire,
            args=(served,),
            kwargs={"drain_seconds": self._config.models.deadline_seconds},
            name=f"retire {served.name}",
            daemon=True,
        ).start()
