"""The canary: the appliance asks each of its own models a question it knows the answer to."""

import logging
import threading
import time

from appliance.engine.engine import Engine
from appliance.engine.host import Host
from appliance.engine.served import Served
from appliance.errors import DeadlineExceeded, HostDied, ModelUnavailable, Problem

_log = logging.getLogger(__name__)


class CanaryRounds:
    """Runs every active model's canary at an interval, past the waiting line, so that an overload is no outage.

    Threads: its own; `run_round` may be called from tests.
    """

    def __init__(self, engine: Engine, *, interval_seconds: float) -> None:
        self._engine = engine
        self._interval_seconds = interval_seconds
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, name="canary", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End after the round that runs."""
        self._end.set()

    def run_round(self) -> None:
        """Ask every ready version once and note what it said."""
        for served, host in self._engine.canary_targets():
            self._ask(served, host)

    def _run(self) -> None:
        while not self._end.wait(self._interval_seconds):
            self.run_round()

    def _ask(self, served: Served, host: Host) -> None:
        try:
            reply, _ = host.call({"method": "canary"}, b"")
        except (HostDied, ModelUnavailable):
            return  # the supervisor knows and says so
        except DeadlineExceeded as problem:
            self._note(served, None, problem.detail)
            self._engine.missed(served, host)
        except Problem as problem:
            self._note(served, None, problem.detail)
        else:
            self._note(served, float(reply["seconds"]), "")

    def _note(self, served: Served, seconds: float | None, reason: str) -> None:
        canary = served.canary
        if reason and not canary.reason:
            _log.error("canary failed", extra={"model": served.name, "reason": reason})
        canary.ok, canary.seconds, canary.reason = not reason, seconds, reason
        canary.at_monotonic = time.monotonic()
