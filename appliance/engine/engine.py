"""The engine: which version of which model answers, and the one way in for every call."""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from appliance.config import Config
from appliance.engine.admission import Admission
from appliance.engine.served import FAILED, READY, STARTING, Served
from appliance.engine.status import ModelStatus
from appliance.engine.supervisor import Supervisor
from appliance.errors import (
    Conflict,
    DeadlineExceeded,
    ModelInvalid,
    ModelUnavailable,
    NotFound,
    Problem,
)
from appliance.library.manifest import Manifest, read_manifest
from appliance.library.versions import VersionDirectory, installed_versions, versions_of

Reply = tuple[dict[str, Any], bytearray]
OnCall = Callable[[Served, str, tuple[float, float, float, float]], None]
#: A change waits for the supervisor to give a start up, and so long for it to say so.
_GRACE_SECONDS = 5.0


class Engine:
    """Routes calls to hosts.

    Threads: `call` and the read-only methods from any. `_table` guards changes of what is served,
    for moments; `_changes` lets one load, unload or activation run at a time, for as long as a
    model takes to load. Reading needs neither: each look-up is one step.
    """

    def __init__(
        self,
        config: Config,
        *,
        models_directory: Path,
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
        self._table = threading.Lock()
        self._changes = threading.Lock()
        self.supervisor = Supervisor(
            config,
            cache_directory=cache_directory,
            threads=threads,
            on_restart=on_restart,
            on_load_failed=on_load_failed,
        )

    def start(self, active: dict[str, int]) -> None:
        """Given the active version of each model, start their hosts and return at once.

        A model without an active version, or whose active one is not installed, gets its newest.
        The supervisor must have been started.
        """
        installed: dict[str, dict[int, VersionDirectory]] = {}
        for place in installed_versions(self._models_directory):
            installed.setdefault(place.model, {})[place.version] = place
        for model, versions in installed.items():
            place = versions.get(active.get(model, 0)) or versions[max(versions)]
            self._serve(place)
            self._active[model] = place.version

    def stop(self) -> None:
        """End every host."""
        for served in list(self._served.values()):
            served.retire()
        self.supervisor.stop()

    def call(
        self,
        model: str,
        version: int | None,
        header: dict[str, Any],
        body: bytes | memoryview,
        *,
        waiting_since: float | None = None,
    ) -> Reply:
        """Given a call for a model (None: its active version), return the host's reply.

        The reply's header gains `model`, `version`, `task` and `queue` seconds, counted from
        `waiting_since` (monotonic). Raise NotFound, Overloaded, ModelUnavailable, HostDied,
        DeadlineExceeded or the host's own problem.
        """
        arrived = time.monotonic()
        served = self._wanted(model, version)
        while True:
            started = arrived
            try:
                with served.admission.enter(waited_seconds=arrived - (waiting_since or arrived)):
                    started = time.monotonic()
                    reply, answer = self.ask(served, header, body)
                break
            except Problem as problem:
                successor = self._successor(served, model, version)
                if successor is None or not isinstance(problem, ModelUnavailable):
                    self._count_failure(served, problem, arrived, started)
                    raise
                served = successor  # a switch happened while this call stood in line
        queue_seconds = started - (waiting_since if waiting_since is not None else arrived)
        self._count_success(served, reply, queue_seconds)
        return reply, answer

    def ask(self, served: Served, header: dict[str, Any], body: bytes | memoryview) -> Reply:
        """Given a version and a call, return its host's reply, past the waiting line.

        Raise what `call` raises, but for NotFound and Overloaded. A host that has missed too many
        deadlines is replaced.
        """
        host = served.enter()
        try:
            return host.call(header, body)
        except DeadlineExceeded:
            missed = host.missed_deadlines
            if missed >= self._config.models.deadline_misses:
                self.supervisor.replace(host, f"it missed {missed} deadlines")
            raise
        finally:
            host.leave()

    def models(self) -> list[ModelStatus]:
        """Return the state of every installed or served version, by name and version."""
        places = set(installed_versions(self._models_directory))
        places.update(served.place for served in list(self._served.values()))
        return [self._status(place) for place in sorted(places)]

    def status(self, model: str, version: int | None) -> ModelStatus:
        """Given a model and a version (None: the active or newest), return its state.

        Raise NotFound when there is none.
        """
        return self._status(self._place(model, version))

    def task_of(self, model: str, version: int | None) -> str:
        """Given a model and a version (None: the active one), return its task's name.

        Raise NotFound when there is no such version, ModelUnavailable when it cannot be served.
        """
        wanted = self._active.get(model) if version is None else version
        served = self._served.get((model, wanted)) if wanted is not None else None
        if served is None:
            served = self._new(self._place(model, version))
        if served.state == FAILED:
            served.enter()  # says why
        return served.manifest.task

    def load(self, model: str, version: int | None = None) -> None:
        """Given a model, start it, or start it anew, and let that version answer.

        `version` None is the active or newest one. Raise NotFound, Conflict while another change
        runs, or ModelInvalid with the reason when it does not become ready; then what was served
        still is.
        """
        with self._changing():
            self._load(self._place(model, version))

    def unload(self, model: str) -> None:
        """Given a model, take it out of service and give its memory back; it stays installed.

        Raise NotFound, or Conflict while another change runs.
        """
        with self._changing():
            self._place(model, None)
            for (name, _), served in list(self._served.items()):
                if name == model and not served.is_retired:
                    self._retire(served)

    def activate(self, model: str, version: int) -> int | None:
        """Given an installed version, let it answer once it has proved itself.

        Return the version that was active. Raise NotFound, Conflict when it is active already or
        another change runs, or ModelInvalid when it fails; then everything stays as it was.
        """
        with self._changing():
            before = self._active.get(model)
            place = self._place(model, version)
            served = self._served.get((model, version))
            if before == version and served is not None and served.state == READY:
                raise Conflict(f"{model}@{version} is already active.")
            self._load(place)
            return before

    def ready_versions(self) -> Iterator[Served]:
        """Yield each version that is ready, for the canary."""
        for served in list(self._served.values()):
            if served.state == READY:
                yield served

    def active_versions(self) -> dict[str, int]:
        """Return the active version of each model that is not unloaded."""
        return {
            model: version
            for model, version in list(self._active.items())
            if self._is_active(model, version)
        }

    @contextlib.contextmanager
    def _changing(self) -> Iterator[None]:
        if not self._changes.acquire(timeout=self._config.limits.waiting_seconds):
            raise Conflict("Another model is being loaded right now. Try again when that is done.")
        try:
            yield
        finally:
            self._changes.release()

    def _load(self, place: VersionDirectory) -> None:
        fresh = self._new(place)
        fresh.is_trial = True
        if fresh.state != FAILED:
            self.supervisor.serve(fresh)
        if not fresh.wait_until_settled(self._config.models.start_seconds + _GRACE_SECONDS):
            reason = fresh.reason or "it took too long"
            self.supervisor.retire(fresh, drain_seconds=0)
            raise ModelInvalid(f"failed to load {fresh.name!r}: {reason}")
        for replaced in self._switch(fresh):
            self._retire(replaced)

    def _switch(self, fresh: Served) -> list[Served]:
        """Let a version answer from now on; return what it replaces, which is still running."""
        model, version = fresh.place.model, fresh.place.version
        with self._table:
            before = self._active.get(model)
            replaced = [self._served.get((model, version))]
            if before is not None and before != version:
                replaced.append(self._served.pop((model, before), None))
            self._served[model, version] = fresh
            self._active[model] = version
        return [served for served in replaced if served is not None]

    def _retire(self, served: Served) -> None:
        self.supervisor.retire(served, drain_seconds=self._config.models.deadline_seconds)

    def _wanted(self, model: str, version: int | None) -> Served:
        number = self._active.get(model) if version is None else version
        served = self._served.get((model, number)) if number is not None else None
        if served is not None:
            # Clients that systemd kept waiting over a restart of the appliance would else all be
            # refused at once. A host that died is another matter: who knows when it will answer.
            if served.state == STARTING and not served.restarts:
                served.wait_until_settled(self._config.limits.waiting_seconds)
            return served
        place = self._place(model, number)
        if number is None:
            raise ModelUnavailable(
                f"No version of {model} is active. An administrator has to activate one."
            )
        served = self._serve(place)
        served.wait_until_settled(self._config.limits.waiting_seconds)
        return served

    def _successor(self, served: Served, model: str, version: int | None) -> Served | None:
        """Return what answers in the place of a retired version; None when it is not retired."""
        if not served.is_retired:
            return None
        current = self._wanted(model, version)
        return None if current is served else current

    def _serve(self, place: VersionDirectory) -> Served:
        key = (place.model, place.version)
        with self._table:
            served = self._served.get(key)
            if served is not None:
                return served
            served = self._served[key] = self._new(place)
        if served.state != FAILED:
            self.supervisor.serve(served)
        return served

    def _new(self, place: VersionDirectory) -> Served:
        """Return a version that is not served yet; one whose manifest is broken has failed."""
        reason = ""
        try:
            manifest = read_manifest(place.directory)
        except ModelInvalid as problem:
            reason = problem.detail
            manifest = Manifest(
                manifest_version=1, name=place.model, version=place.version, task=""
            )
        served = Served(
            place=place,
            manifest=manifest,
            admission=Admission(
                most=self._in_flight,
                most_waiting=self._config.limits.waiting,
                waiting_seconds=self._config.limits.waiting_seconds,
            ),
        )
        if reason:
            served.become(FAILED, reason)
        return served

    def _place(self, model: str, version: int | None) -> VersionDirectory:
        versions = {place.version: place for place in versions_of(self._models_directory, model)}
        if not versions:
            raise NotFound(f"Request for unknown model: {model[:100]!r} is not found.")
        if version is None:
            version = self._active.get(model, max(versions))
        if version not in versions:
            known = ", ".join(str(number) for number in sorted(versions))
            raise NotFound(f"Model {model!r} has no version {version}. It has: {known}.")
        return versions[version]

    def _status(self, place: VersionDirectory) -> ModelStatus:
        served = self._served.get((place.model, place.version)) or self._new(place)
        return served.status(is_active=self._is_active(place.model, place.version))

    def _is_active(self, model: str, version: int) -> bool:
        served = self._served.get((model, version))
        is_unloaded = served is not None and served.is_retired
        return self._active.get(model) == version and not is_unloaded

    def _count_failure(
        self, served: Served, problem: Problem, arrived: float, started: float
    ) -> None:
        served.counters.failed(time.monotonic() - arrived)
        self._on_call(served, problem.slug, (started - arrived, 0.0, 0.0, 0.0))

    def _count_success(self, served: Served, reply: dict[str, Any], queue_seconds: float) -> None:
        decode, infer, encode = reply.get("timing", (0.0, 0.0, 0.0))
        served.counters.succeeded(
            queue_seconds, decode, infer, encode, batch=reply.get("batch", 1)
        )
        self._on_call(served, "ok", (queue_seconds, decode, infer, encode))
        reply["model"], reply["version"] = served.place.model, served.place.version
        reply["task"], reply["queue"] = served.manifest.task, queue_seconds
