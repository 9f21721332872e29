"""One version of a model that is meant to be served: its host, its door and its health."""

import threading
import time
from dataclasses import dataclass, field

from appliance.engine.admission import Admission
from appliance.engine.host import Host
from appliance.engine.status import Counters, ModelStatus
from appliance.errors import ModelUnavailable
from appliance.host.specification import HostEvent
from appliance.library.manifest import Manifest
from appliance.library.versions import VersionDirectory

STARTING, READY, FAILED, STOPPED = "starting", "ready", "failed", "stopped"


@dataclass(slots=True)
class Canary:
    """The last inference the appliance asked of itself."""

    ok: bool | None = None
    seconds: float | None = None
    at_monotonic: float | None = None
    reason: str = ""


@dataclass(slots=True)
class Served:
    """A version that is served, being started, backing off or failed.

    Threads: `state`, `host` and the restart fields are written by the supervisor only and read by any;
    `changed` wakes whoever waits for a state.
    """

    place: VersionDirectory
    manifest: Manifest
    admission: Admission
    host: Host | None = None
    state: str = STOPPED
    reason: str = ""
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

    def become(self, state: str, reason: str = "", *, host: Host | None = None) -> None:
        """Enter a state and wake those who wait for it."""
        with self.changed:
            self.state, self.reason, self.host = state, reason, host
            self.changed.notify_all()

    def wait_until_settled(self, timeout_seconds: float) -> bool:
        """Wait until the version is ready, failed or stopped; return whether it is ready."""
        with self.changed:
            self.changed.wait_for(lambda: self.state != STARTING, timeout_seconds)
            return self.state == READY

    def ready_host(self) -> Host:
        """Return the host that answers now; raise ModelUnavailable with the reason when there is none."""
        host = self.host
        if host is not None:
            return host
        words = {
            STARTING: "is being started",
            FAILED: "could not be started",
            STOPPED: "is not loaded",
        }[self.state if self.state != READY else STARTING]
        because = f": {self.reason}" if self.reason else ""
        raise ModelUnavailable(f"{self.name} {words}{because.rstrip('.')}. Try again in a second.")

    def status(self, *, is_active: bool) -> ModelStatus:
        """Return what there is to know about this version now."""
        host, canary = self.host, self.canary
        age = None if canary.at_monotonic is None else time.monotonic() - canary.at_monotonic
        return ModelStatus(
            name=self.place.model,
            version=self.place.version,
            task=self.manifest.task,
            state=self.state,
            reason=self.reason,
            is_active=is_active,
            inputs=self.description.inputs,
            outputs=self.description.outputs,
            labels=self.description.labels,
            statistics=self.counters.statistics(),
            restarts=self.restarts,
            process_id=host.process_id if host else None,
            load_seconds=self.description.load_seconds or None,
            canary_ok=canary.ok,
            canary_seconds=canary.seconds,
            canary_age_seconds=age,
            in_flight=host.in_flight if host else 0,
        )
