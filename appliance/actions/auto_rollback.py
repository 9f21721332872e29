"""Auto rollback: a version that does worse in its first minutes gives way to the one before."""

import logging
from collections.abc import Callable

from appliance.actions import model_settings
from appliance.actions.callers import Caller, Role
from appliance.actions.model_settings import Probation
from appliance.actions.serve_model import ModelChanges
from appliance.clock import Clock
from appliance.engine.engine import Engine
from appliance.engine.served import FAILED, READY, Served
from appliance.errors import Conflict, Problem
from appliance.store.database import Database

_log = logging.getLogger(__name__)
_WATCH = Caller(key_name="auto-rollback", address="local", role=Role.ADMIN)
#: Ends of its process that are no accident any more.
_MOST_DEATHS = 2


def fault_of(served: Served, probation: Probation) -> str:
    """Given a version on probation, return in words what is worse than allowed; empty if nothing.

    Rates and means count only after `min_requests` calls, and are held against the version before
    where that had as many.
    """
    if served.state == FAILED:
        return f"it failed: {served.reason}"
    if served.restarts >= _MOST_DEATHS:
        return f"its process ended {served.restarts} times"
    if served.state == READY and served.canary.ok is False:
        return f"it failed its canary: {served.canary.reason}"
    return _error_fault(served, probation) or _latency_fault(served, probation)


def _error_fault(served: Served, probation: Probation) -> str:
    conduct, before, rule = served.counters.conduct(), probation.baseline, probation.rule
    allowed = before.error_rate + rule.max_error_rate
    if conduct.calls < rule.min_requests or conduct.error_rate <= allowed:
        return ""
    return (
        f"{conduct.error_rate:.1%} of {conduct.calls} calls failed; {before.error_rate:.1%} did"
        f" before, and {rule.max_error_rate:.1%} more are allowed"
    )


def _latency_fault(served: Served, probation: Probation) -> str:
    conduct, before, rule = served.counters.conduct(), probation.baseline, probation.rule
    if min(conduct.answered, before.answered) < rule.min_requests:
        return ""
    now, then = conduct.mean_seconds, before.mean_seconds
    if now is None or not then or now <= then * rule.max_latency_ratio:
        return ""
    return (
        f"a call takes {now * 1000:.2f} ms, {now / then:.1f} times as long as before"
        f" ({rule.max_latency_ratio:g} times are allowed)"
    )


class AutoRollbacks:
    """Watches the versions on probation. Threads: one at a time calls `run_round`.

    What is on probation is read from the database, so it outlives a restart.
    """

    def __init__(
        self,
        engine: Engine,
        database: Database,
        clock: Clock,
        changes: ModelChanges,
        *,
        on_rollback: Callable[[str], None],
    ) -> None:
        self._engine = engine
        self._database = database
        self._clock = clock
        self._changes = changes
        self._on_rollback = on_rollback

    def run_round(self) -> None:
        """Judge every version on probation once."""
        for model, probation in model_settings.probations(self._database).items():
            served = self._engine.active(model)
            is_over = self._clock.wall_seconds() >= probation.until_seconds
            is_other = served is None or served.place.version != probation.version
            if served is None or is_other or is_over:
                self._end(model)
                continue
            reason = fault_of(served, probation)
            if reason:
                self._roll_back(model, probation, reason)

    def _roll_back(self, model: str, probation: Probation, reason: str) -> None:
        name = f"{model}@{probation.version}"
        try:
            self._changes.give_way(_WATCH, model, probation, reason)
        except Conflict:
            return  # another change runs: look again when that is done
        except Problem as problem:
            _log.error("auto rollback failed", extra={"model": name, "reason": problem.detail})
            self._end(model)
            return
        self._on_rollback(model)
        _log.error("rolled back", extra={"model": name, "reason": reason})

    def _end(self, model: str) -> None:
        model_settings.put_probation(self._database, model, None)
