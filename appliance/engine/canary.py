"""The canary: the appliance asks each of its own models a question it knows the answer to."""

import logging
import threading

from appliance.engine.engine import Engine
from appliance.engine.served import Served
from appliance.errors import DeadlineExceeded, HostDied, ModelUnavailable, Problem

_log = logging.getLogger(__name__)


class CanaryRounds:
    """Runs every served model's canary at an interval.

    It goes past the waiting line, so that an overload is no outage. Threads: its own; `run_round`
    may be called from any.
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
        """End after the model that is being asked."""
        self._end.set()

    def run_round(self) -> None:
        """Ask every ready version once and note what it said."""
        for served in self._engine.ready_versions():
            if self._end.is_set():
                return
            self._ask(served)

    def _run(self) -> None:
        while not self._end.wait(self._interval_seconds):
            try:
                self.run_round()
            except Exception:  # one odd answer must not be the last question
                _log.exception("canary round failed")

    def _ask(self, served: Served) -> None:
        try:
            reply, _ = self._engine.ask(served, {"method": "canary"}, b"")
            self._note(served, seconds=float(reply["seconds"]))
        except (HostDied, ModelUnavailable):
            return  # the supervisor knows and says so
        except (DeadlineExceeded, Problem) as problem:
            self._note(served, reason=problem.detail)

    def _note(self, served: Served, *, reason: str = "", seconds: float | None = None) -> None:
        if reason and not served.canary.reason:
            _log.error("canary failed", extra={"model": served.name, "reason": reason})
        served.canary.note(reason=reason, seconds=seconds)
