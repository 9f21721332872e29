"""The engine: which version of which model answers, and the one way in for every call."""

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from appliance.config import Config
from appliance.engine.changes import Changes, Commit
from appliance.engine.comparison import ComparisonReport
from appliance.engine.fleet import Fleet
from appliance.engine.served import FAILED, IDLE, READY, STARTING, Served
from appliance.engine.status import ModelStatus
from appliance.engine.traffic import Traffic
from appliance.engine.trials import Trials
from appliance.errors import DeadlineExceeded, ModelUnavailable, Problem
from appliance.library.versions import VersionDirectory

Reply = tuple[dict[str, Any], bytearray]
#: How often a call that was not let in looks again: each time something has changed meanwhile.
_TRIES = 8
OnCall = Callable[[Served, str, tuple[float, float, float, float]], None]


class Engine:
    """Routes calls to hosts.

    Threads: any. Who answers is looked up in one step, so a switch is seen whole or not at all;
    changes are serialised for each model (`changes.py`).
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
        self._on_call = on_call
        self._fleet = Fleet(
            config,
            models_directory=models_directory,
            cache_directory=cache_directory,
            threads=threads,
            on_restart=on_restart,
            on_load_failed=on_load_failed,
        )
        self._active = self._fleet.active
        self._by_version = self._fleet.by_version
        self._trials = Trials(self._fleet, self.ask)
        self._changes = Changes(config, self._fleet, self._trials)
        # Threads that wait for one model to start are lost to all others meanwhile.
        self._start_waits = threading.Semaphore(max(1, config.http.threads // 2))
        self.supervisor = self._fleet.supervisor
        #: What is used when a host starts.
        self.tunings = self._fleet.tunings

    def start(
        self, active: Mapping[str, int | None], traffic: Mapping[str, Traffic] | None = None
    ) -> None:
        """Given the active version of each model, start their hosts and return at once.

        A model that is not named, or whose active version is not installed, gets its newest; one
        with None stays unloaded. `traffic` is how requests are spread. The supervisor must have
        been started.
        """
        self._fleet.start(active)
        for model, spread in (traffic or {}).items():
            self._changes.resume_traffic(model, spread)

    def stop(self) -> None:
        """End every host."""
        self._trials.stop()
        for served in [*self._by_version.values()]:
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
        sender: str = "",
    ) -> Reply:
        """Given a call for a model (None: its active version), return the host's reply.

        The reply's header gains `model`, `version`, `task` and `queue` seconds, counted from
        `waiting_since` (monotonic). `sender` stands for who calls, when traffic is split. Raise
        NotFound, Overloaded, ModelUnavailable, HostDied, DeadlineExceeded or the host's own
        problem.
        """
        arrived = time.monotonic()
        served = self._wanted(model, version, sender)
        header = self._trials.prepared(model, header) if self._trials.observed else header
        for tries_left in range(_TRIES, -1, -1):
            started = arrived
            try:
                with served.admission.enter(waited_seconds=arrived - (waiting_since or arrived)):
                    started = time.monotonic()
                    reply, answer = self.ask(served, header, body)
                break
            except Problem as problem:
                is_worth_it = isinstance(problem, ModelUnavailable) and tries_left
                successor = self._successor(served, model, version) if is_worth_it else None
                if successor is None:
                    self._count_failure(served, problem, arrived, started)
                    raise
                served = successor  # a switch happened while this call stood in line
        served.last_used = started
        if self._trials.observed:
            self._trials.answered(served, started, header, body, reply, answer)
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
        places = set(self._fleet.catalogue.versions())
        places.update(served.place for served in list(self._by_version.values()))
        return [self._status(place) for place in sorted(places)]

    def status(self, model: str, version: int | None) -> ModelStatus:
        """Given a model and a version (None: the active or newest), return its state.

        Raise NotFound when there is none.
        """
        return self._status(self._changes.place(model, version))

    def place(self, model: str, version: int | None) -> VersionDirectory:
        """Given a model and a version (None: the active or newest), return where it lies.

        Raise NotFound.
        """
        return self._changes.place(model, version)

    def task_of(self, model: str, version: int | None) -> str:
        """Given a model and a version (None: the active one), return its task's name.

        Raise NotFound when there is no such version, ModelUnavailable when it cannot be served.
        """
        if version is None:
            served = self._active.get(model)
        else:
            served = self._by_version.get((model, version))
        if served is None:
            served = self._fleet.new(self._changes.place(model, version))
        if served.state == FAILED:
            served.enter()  # says why
        return served.manifest.task

    def load(self, model: str, version: int | None = None, *, commit: Commit | None = None) -> int:
        """Given a model, start it, or start it anew, and let that version answer; return which.

        `version` None is the active or newest one. `commit` is called once the version has proved
        itself, with what was active before; what it raises undoes the change. Raise NotFound,
        Conflict while another change runs, or ModelInvalid with the reason when it does not
        become ready; then what was served still is.
        """
        return self._changes.load(model, version, commit)

    def unload(self, model: str, *, commit: Commit | None = None) -> None:
        """Given a model, take it out of service and give its memory back; it stays installed.

        `commit` is called first; what it raises leaves the model in service. Raise NotFound, or
        Conflict while another change runs.
        """
        self._changes.unload(model, commit)

    def activate(self, model: str, version: int, *, commit: Commit | None = None) -> int | None:
        """Given an installed version, let it answer once it has proved itself.

        Return the version that was active. `commit` is called in between, with that version; what
        it raises undoes the change. Raise NotFound, Conflict when it is active already or another
        change runs, or ModelInvalid when it fails; then everything stays as it was.
        """
        return self._changes.activate(model, version, commit)

    def remove(self, model: str, version: int, *, commit: Commit) -> None:
        """Given a version that is not active, end its host; `commit` deletes it meanwhile.

        Raise Conflict when it is active, traffic goes to it or another change runs, or what
        `commit` raises.
        """
        self._changes.remove(model, version, commit)

    def set_traffic(self, model: str, traffic: Traffic, *, commit: Commit) -> None:
        """Given how a model's requests are to be spread, do so once all versions are ready.

        `commit` is called before the first request goes elsewhere. Raise NotFound, Conflict,
        InvalidInput for versions that do something else, or ModelInvalid.
        """
        self._changes.set_traffic(model, traffic, commit)

    def traffic(self, model: str) -> Traffic:
        """Given a model, return how its requests are spread now."""
        return self._trials.traffic(model)

    def comparison(self, model: str) -> ComparisonReport:
        """Given a model, return how the versions that share its traffic compare."""
        return self._trials.report(model)

    def end_idle(self) -> None:
        """End the hosts that were not called for too long."""
        self._fleet.end_idle()

    def ready_versions(self) -> Iterator[Served]:
        """Yield each version that is ready, for the canary."""
        for served in list(self._by_version.values()):
            if served.state == READY:
                yield served

    def active_versions(self) -> dict[str, int]:
        """Return the active version of each model that is not unloaded."""
        return {
            model: served.place.version
            for model, served in list(self._active.items())
            if not served.is_retired
        }

    def active(self, model: str) -> Served | None:
        """Given a model, return the engine's record of what answers, or None when unloaded."""
        served = self._active.get(model)
        return None if served is None or served.is_retired else served

    def _wanted(self, model: str, version: int | None, sender: str = "") -> Served:
        if version is not None:
            served = self._by_version.get((model, version))
        else:
            served = self._active.get(model)
            if self._trials.splits:
                served = self._trials.chosen(model, sender) or served
        if served is None:
            served = self._absent(model, version)
        if served.state != READY:
            self._await_start(served)
        return served

    def _absent(self, model: str, version: int | None) -> Served:
        place = self._fleet.catalogue.place(model, version)
        if version is not None and self.active(model) is not None:
            return self._fleet.serve_by_number(place)
        raise ModelUnavailable(
            f"No version of {model} is active. An administrator has to activate one."
        )

    def _await_start(self, served: Served) -> None:
        """Wait for a start under way, or for that of an idle version, which begins here.

        Clients that systemd kept waiting over a restart of the appliance would else all be refused
        at once. A host that died is another matter: who knows when it will answer.
        """
        if served.state == IDLE:
            self._fleet.wake(served)
        if served.state != STARTING or not served.is_expected:
            return
        has_turn = self._start_waits.acquire(blocking=False)
        try:
            if has_turn or not any(one.state == READY for one in list(self._active.values())):
                served.wait_until_settled(self._config.limits.waiting_seconds)
        finally:
            if has_turn:
                self._start_waits.release()

    def _successor(self, served: Served, model: str, version: int | None) -> Served | None:
        """Return what to ask instead of a version that took no call; None when nothing changed."""
        if not served.is_retired:
            before = served.state
            if before == IDLE or (before == STARTING and served.is_expected):
                self._await_start(served)  # it fell asleep just now, or is being woken
            return served if served.state in (READY, IDLE) else None
        current = self._wanted(model, version)
        return None if current is served else current

    def _status(self, place: VersionDirectory) -> ModelStatus:
        served = self._by_version.get((place.model, place.version)) or self._fleet.new(place)
        return served.status(is_active=self._is_active(place))

    def _is_active(self, place: VersionDirectory) -> bool:
        served = self._active.get(place.model)
        is_served = served is not None and not served.is_retired
        return is_served and served is not None and served.place.version == place.version

    def _count_failure(
        self, served: Served, problem: Problem, arrived: float, started: float
    ) -> None:
        seconds = time.monotonic() - arrived
        served.counters.failed(seconds, is_fault=_is_fault(problem))
        if self._trials.observed:
            self._trials.failed(served, seconds)
        self._on_call(served, problem.slug, (started - arrived, 0.0, 0.0, 0.0))

    def _count_success(self, served: Served, reply: dict[str, Any], queue_seconds: float) -> None:
        decode, infer, encode = reply.get("timing", (0.0, 0.0, 0.0))
        served.counters.succeeded(
            queue_seconds, decode, infer, encode, batch=reply.get("batch", 1)
        )
        self._on_call(served, "ok", (queue_seconds, decode, infer, encode))
        reply["model"], reply["version"] = served.place.model, served.place.version
        reply["task"], reply["queue"] = served.manifest.task, queue_seconds


def _is_fault(problem: Problem) -> bool:
    """Return whether a failed call says something of the version: a full line does not."""
    return problem.slug != "overloaded"
