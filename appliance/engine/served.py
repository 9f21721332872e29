"""One version of a model that is meant to be served: its host, its door and its health."""

import threading
import time
from dataclasses import dataclass, field

from appliance.engine.admission import Admission
from appliance.engine.host import Host
from appliance.engine.status import Counters, ModelStatus
from appliance.errors import ModelUnavailable
from appliance.host.specification import FILES, MACHINE, HostEvent
from appliance.library.manifest import Manifest
from appliance.library.versions import VersionDirectory

STARTING, READY, FAILED, STOPPED = "starting", "ready", "failed", "stopped"
#: In service, but its process has ended for want of calls; the next call starts it again.
IDLE = "idle"
_WORDS = {
    IDLE: ("was idle", "Try again in a second."),
    STARTING: ("is being started", "Try again in a second."),
    FAILED: ("could not be started", "An administrator has to load it again."),
    STOPPED: ("is not loaded", "An administrator has to load it."),
}


@dataclass(slots=True)
class Canary:
    """The last inference the appliance asked of itself."""

    ok: bool | None = None
    seconds: float | None = None
    at_monotonic: float | None = None
    reason: str = ""

    def note(self, *, reason: str = "", seconds: float | None = None) -> None:
        """Note that it answered, or with a reason that it did not."""
        self.ok, self.seconds, self.reason = not reason, seconds, reason
        self.at_monotonic = time.monotonic()


@dataclass(slots=True, eq=False)
class Served:
    """A version that is served, being started, backing off, idle, failed or retired.

    Threads: `state`, `reason`, `host` and `is_retired` change under `changed`, which wakes whoever
    waits for a state; the restart fields are the supervisor's; any thread may read. Retired is for
    good: loading the version again makes another one of these.
    """

    place: VersionDirectory
    manifest: Manifest
    admission: Admission
    #: Nobody relies on it before it was ready once, so its first failure is final.
    is_trial: bool = False
    #: It was ready once, so what keeps it from loading now may pass.
    was_ready: bool = False
    #: A start is under way that is worth waiting for: nothing has gone wrong since.
    is_expected: bool = False
    #: The compiled form was thrown away since it was last ready.
    has_dropped_cache: bool = False
    #: When the last call began (monotonic); any thread sets it.
    last_used: float = field(default_factory=time.monotonic)
    host: Host | None = None
    state: str = STOPPED
    reason: str = ""
    is_retired: bool = False
    description: HostEvent = field(default_factory=lambda: HostEvent(kind="none"))
    counters: Counters = field(default_factory=Counters)
    canary: Canary = field(default_factory=Canary)
    restarts: int = 0
    consecutive_deaths: int = 0
    changed: threading.Condition = field(default_factory=threading.Condition)

    @property
    def name(self) -> str:
        """`model@version`, for logs and sentences."""
        return f"{self.place.model}@{self.place.version}"

    def become(self, state: str, reason: str = "", *, host: Host | None = None) -> bool:
        """Enter a state and wake those who wait for one; return False when it was retired."""
        with self.changed:
            if self.is_retired:
                return False
            self.state, self.reason, self.host = state, reason, host
            self.changed.notify_all()
            return True

    def retire(self) -> Host | None:
        """Take no more calls, for good; return the host that still works on some, if there is."""
        with self.changed:
            host, self.host = self.host, None
            self.state, self.reason, self.is_retired = STOPPED, "", True
            self.changed.notify_all()
            return host

    def fall_idle(self, *, unused_since: float) -> Host | None:
        """Let go of its host, which is returned, if no call is in it or came since that time."""
        with self.changed:
            host = self.host
            is_unused = self.state == READY and self.last_used < unused_since
            if host is None or not is_unused or host.in_flight:
                return None
            self.state, self.reason, self.host = IDLE, "", None
            self.changed.notify_all()
            return host

    def wake(self) -> bool:
        """Leave the idle state; return whether this call is the one that has to start a host."""
        with self.changed:
            if self.state != IDLE:
                return False
            self.state, self.is_expected, self.last_used = STARTING, True, time.monotonic()
            return True

    def may_load_later(self, cause: str) -> bool:
        """Given whose fault it was that it could not be loaded, return whether to try again.

        Files that are not what was imported will not mend themselves; a shortage of the machine
        will pass; and what was ready once will be again.
        """
        if self.is_trial or cause == FILES:
            return False
        return self.was_ready or cause == MACHINE

    def wait_until_settled(self, timeout_seconds: float) -> bool:
        """Wait until it is no longer starting; return whether it is ready."""
        with self.changed:
            self.changed.wait_for(lambda: self.state != STARTING, timeout_seconds)
            return self.state == READY

    def enter(self) -> Host:
        """Return the host that answers now, with this call counted in; the caller must `leave`.

        Raise ModelUnavailable with the reason when there is none.
        """
        with self.changed:
            host = self.host
            if host is not None:
                host.enter()  # under `changed`, so that `retire` sees every call that got in
                return host
            words, advice = _WORDS[self.state]
            because = f": {self.reason.rstrip('.')}" if self.reason else ""
        raise ModelUnavailable(f"{self.name} {words}{because}. {advice}")

    def status(self, *, is_active: bool) -> ModelStatus:
        """Return what there is to know about this version now."""
        with self.changed:
            host, state, reason = self.host, self.state, self.reason
        canary = self.canary
        age = None if canary.at_monotonic is None else time.monotonic() - canary.at_monotonic
        return ModelStatus(
            name=self.place.model,
            version=self.place.version,
            task=self.manifest.task,
            state=state,
            reason=reason,
            is_active=is_active,
            inputs=self.description.inputs,
            outputs=self.description.outputs,
            labels=self.description.labels,
            model_info=self.description.model_info,
            statistics=self.counters.statistics(),
            batches=self.counters.batches(),
            restarts=self.restarts,
            process_id=host.process_id if host else None,
            load_seconds=self.description.load_seconds or None,
            canary_ok=canary.ok,
            canary_seconds=canary.seconds,
            canary_age_seconds=age,
            in_flight=host.in_flight if host else 0,
        )
