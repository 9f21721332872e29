"""Changes of what is served: prove first, write down second, switch last.

So a crash at any point leaves either the old or the new version in service: before the commit the
old one is the one that is written down, after it the new one, which has proved that it starts.
"""

import contextlib
import threading
from collections.abc import Callable, Iterator

from appliance.config import Config
from appliance.engine.fleet import Fleet
from appliance.engine.served import FAILED, READY, Served
from appliance.engine.traffic import Traffic
from appliance.engine.trials import Trials
from appliance.errors import Conflict, InvalidInput, ModelInvalid, NotFound
from appliance.library.versions import VersionDirectory

#: Told what was active before; writes the change down or raises.
Commit = Callable[[int | None], None]
#: A change waits for the supervisor to give a start up, and so long for it to say so.
_GRACE_SECONDS = 5.0
_MOST_LOCKS = 4096


class Changes:
    """Changes of the fleet.

    Threads: any. One change of a model runs at a time, for as long as a version takes to load; the
    others wait for `limits.waiting_seconds` and are refused then. Models do not wait for each
    other.
    """

    def __init__(self, config: Config, fleet: Fleet, trials: Trials) -> None:
        self._config = config
        self._fleet = fleet
        self._trials = trials
        self._table = threading.Lock()
        self._locks: dict[str, threading.Lock] = {}  # guarded by _table

    def place(self, model: str, version: int | None) -> VersionDirectory:
        """Given a model and a version (None: the active or newest), return where it lies.

        Raise NotFound.
        """
        if version is None:
            active = self._fleet.active.get(model)
            version = None if active is None else active.place.version
        return self._fleet.catalogue.place(model, version)

    def load(self, model: str, version: int | None, commit: Commit | None) -> int:
        """See `Engine.load`."""
        place = self.place(model, version)
        with self._changing(model):
            self._change(place, commit)
        return place.version

    def unload(self, model: str, commit: Commit | None) -> None:
        """See `Engine.unload`."""
        self.place(model, None)
        with self._changing(model):
            _written(commit, self._active_version(model))
            self._trials.clear(model)
            self._fleet.withdraw(model)

    def activate(self, model: str, version: int, commit: Commit | None) -> int | None:
        """See `Engine.activate`."""
        place = self.place(model, version)
        with self._changing(model):
            before = self._active_version(model)
            served = self._fleet.by_version.get((model, version))
            if before == version and served is not None and served.state == READY:
                raise Conflict(f"{model}@{version} is already active.")
            self._change(place, commit)
            return before

    def remove(self, model: str, version: int, commit: Commit) -> None:
        """See `Engine.remove`."""
        self.place(model, version)
        with self._changing(model):
            active = self._active_version(model)
            if active == version:
                raise Conflict(
                    f"{model}@{version} is active. Activate another version first, or unload the"
                    " model."
                )
            if version in self._trials.traffic(model).versions():
                raise Conflict(f"{model}@{version} gets traffic. Take it out of that first.")
            commit(active)
            self._fleet.forget(model, version)

    def set_traffic(self, model: str, traffic: Traffic, commit: Commit) -> None:
        """See `Engine.set_traffic`."""
        self.place(model, None)
        with self._changing(model):
            active = self._fleet.active.get(model)
            if active is None or active.is_retired:
                raise Conflict(f"No version of {model} is active. Activate one first.")
            proved = [self._proved_for(active, version) for version in sorted(traffic.versions())]
            try:
                commit(active.place.version)
            except BaseException:
                self._undo(proved)
                raise
            for fresh in proved:
                if fresh is not None:
                    self._fleet.adopt(fresh)
            self._trials.set(model, traffic)

    def resume_traffic(self, model: str, traffic: Traffic) -> None:
        """Given what was set before the last stop, set it again; versions start meanwhile."""
        active = self._fleet.active.get(model)
        if active is None:
            return
        try:
            for version in traffic.versions():
                self._fleet.keep(self._fleet.catalogue.place(model, version))
        except NotFound:
            return  # a version is gone, and with it what was meant
        self._trials.set(model, traffic)

    def _active_version(self, model: str) -> int | None:
        active = self._fleet.active.get(model)
        return None if active is None or active.is_retired else active.place.version

    @contextlib.contextmanager
    def _changing(self, model: str) -> Iterator[None]:
        with self._table:
            if len(self._locks) >= _MOST_LOCKS:
                self._locks = {name: lock for name, lock in self._locks.items() if lock.locked()}
            lock = self._locks.setdefault(model, threading.Lock())
        if not lock.acquire(timeout=self._config.limits.waiting_seconds):
            raise Conflict(
                f"Another change of {model} runs right now. Try again when that is done."
            )
        try:
            yield
        finally:
            lock.release()

    def _change(self, place: VersionDirectory, commit: Commit | None) -> None:
        """Prove a version, write it down and let it answer."""
        fresh = self._proved(place)
        try:
            _written(commit, self._active_version(place.model))
        except BaseException:
            self._undo([fresh])
            raise
        self._trials.clear(place.model)
        self._fleet.switch(fresh)

    def _proved(self, place: VersionDirectory) -> Served:
        """Return a version whose new host has warmed up and answered its golden samples."""
        fresh = self._fleet.new(place)
        fresh.is_trial = True
        if fresh.state != FAILED:
            self._fleet.supervisor.serve(fresh)
        if not fresh.wait_until_settled(self._config.models.start_seconds + _GRACE_SECONDS):
            reason = fresh.reason or "it took too long"
            self._undo([fresh])
            raise ModelInvalid(f"failed to load {fresh.name!r}: {reason}")
        return fresh

    def _proved_for(self, active: Served, version: int) -> Served | None:
        """Return a proved version to share an active one's traffic; None when one runs."""
        model = active.place.model
        known = self._fleet.by_version.get((model, version))
        served = known if known is not None and known.state == READY else None
        manifest = (served or self._fleet.new(self.place(model, version))).manifest
        if manifest.task != active.manifest.task:
            raise InvalidInput(
                f"{model}@{version} does {manifest.task or 'nothing known'}, but the active"
                f" version does {active.manifest.task}; they cannot share traffic."
            )
        return None if served is not None else self._proved(self.place(model, version))

    def _undo(self, proved: "list[Served | None]") -> None:
        for fresh in proved:
            if fresh is not None:
                self._fleet.supervisor.retire(fresh, drain_seconds=0)


def _written(commit: Commit | None, before: int | None) -> None:
    if commit is not None:
        commit(before)
