"""The fleet: which versions are in service, which one of each model answers, at what cost."""

import threading
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path

from appliance.config import Config
from appliance.engine.admission import Admission
from appliance.engine.budget import parsed_weights, shares
from appliance.engine.catalogue import Catalogue
from appliance.engine.served import FAILED, IDLE, READY, STARTING, Served
from appliance.engine.supervisor import Supervisor
from appliance.engine.tuning import Tunings
from appliance.errors import Overloaded
from appliance.library.versions import VersionDirectory
from appliance.machine import fingerprint


class Fleet:
    """The versions in service.

    Threads: any. `_table` guards changes, for moments; looking up is one step and needs no lock.
    Bounds: one host for each active version and each that its traffic names, and
    `models.extra_hosts` for versions that are called by their number.
    """

    def __init__(
        self,
        config: Config,
        *,
        models_directory: Path,
        cache_directory: Path,
        threads: int,
        on_restart: Callable[[Served, str], None],
        on_load_failed: Callable[[Served], None],
    ) -> None:
        self._settings = config.models
        self._limits = config.limits
        self._cores = threads
        self._weights = parsed_weights(config.models.weights)
        self._table = threading.Lock()
        #: What answers a call without a version; a retired one says that its model is unloaded.
        self.active: dict[str, Served] = {}
        self.by_version: dict[tuple[str, int], Served] = {}
        self._wanted: dict[str, frozenset[int]] = {}  # by traffic, beside the active one
        self.catalogue = Catalogue(models_directory)
        self.tunings = Tunings(fingerprint(threads))
        self.supervisor = Supervisor(
            config,
            cache_directory=cache_directory,
            threads=self.threads_of,
            tunings=self.tunings,
            on_restart=on_restart,
            on_load_failed=on_load_failed,
        )

    def threads_of(self, model: str) -> int:
        """Given a model, return how many cores its hosts may use."""
        served = {name for name, served in list(self.active.items()) if not served.is_retired}
        return shares(self._cores, served | {model}, self._weights)[model]

    def start(self, active: Mapping[str, int | None]) -> None:
        """Given each model's active version (None: none), take those into service."""
        installed: dict[str, dict[int, VersionDirectory]] = {}
        for place in self.catalogue.versions():
            installed.setdefault(place.model, {})[place.version] = place
        for model, versions in installed.items():
            wanted = active.get(model, 0)
            if wanted is None:
                continue
            place = versions.get(wanted) or versions[max(versions)]
            served = self.new(place)
            with self._table:  # all of them first, so that the cores are dealt out among all
                self.active[model] = self.by_version[model, place.version] = served
        for served in list(self.active.values()):
            self._begin(served, is_awaited=self._settings.preload)

    def new(self, place: VersionDirectory) -> Served:
        """Return a version that is not in service yet; one with a broken manifest has failed."""
        manifest, reason = self.catalogue.described(place)
        cores = self.threads_of(place.model)
        tuned = self.tunings.of(place.model, place.version, cores=cores)
        in_flight = self._settings.in_flight or (tuned.in_flight if tuned else cores + 1)
        served = Served(
            place=place,
            manifest=manifest,
            admission=Admission(
                most=in_flight,
                most_waiting=self._limits.waiting,
                waiting_seconds=self._limits.waiting_seconds,
            ),
        )
        if reason:
            served.become(FAILED, reason)
        return served

    def serve_by_number(self, place: VersionDirectory) -> Served:
        """Given a version that is called by its number, start a host for it, or return its own.

        The one unused for longest ends for it when there are too many; raise Overloaded when all
        of those are busy.
        """
        key = (place.model, place.version)
        fresh = self.new(place)
        with self._table:
            served = self.by_version.get(key)
            if served is not None:
                return served
            ended = self._make_room()
            self.by_version[key] = fresh
        if ended is not None:
            self.supervisor.retire(ended, drain_seconds=self._settings.deadline_seconds)
        fresh.is_trial = True
        self._begin(fresh, is_awaited=True)
        return fresh

    def keep(self, place: VersionDirectory) -> None:
        """Given a version that a model's traffic names, take it into service for good."""
        key = (place.model, place.version)
        served = self.new(place)
        with self._table:
            if key in self.by_version:
                return
            self.by_version[key] = served
        self._begin(served, is_awaited=True)

    def adopt(self, fresh: Served) -> None:
        """Given a proved version, let it answer by its number; what did so ends."""
        key = (fresh.place.model, fresh.place.version)
        with self._table:
            replaced, self.by_version[key] = self.by_version.get(key), fresh
        if replaced is not None and replaced is not fresh:
            self.retire(replaced)

    def switch(self, fresh: Served) -> None:
        """Given a proved version, let it answer from now on; what it replaces drains and ends."""
        model, version = fresh.place.model, fresh.place.version
        with self._table:
            before = self.active.get(model)
            replaced = {before, self.by_version.get((model, version))}
            self._wanted.pop(model, None)
            self.by_version[model, version] = fresh
            self.active[model] = fresh  # the one step that callers see
            if before is not None and before.place.version != version:
                self.by_version.pop((model, before.place.version), None)
            for key in [key for key, one in self.by_version.items() if one.is_retired]:
                if key[0] == model:  # of an unload; called by their number they start anew
                    del self.by_version[key]
        for served in replaced:
            if served is not None and served is not fresh:
                self.retire(served)

    def withdraw(self, model: str) -> None:
        """Given a model, take all its versions out of service."""
        with self._table:
            self._wanted.pop(model, None)
            ended = [served for (name, _), served in self.by_version.items() if name == model]
        for served in ended:
            if not served.is_retired:
                self.retire(served)

    def forget(self, model: str, version: int) -> None:
        """Given a version that is not active, end its host, if it has one."""
        with self._table:
            served = self.by_version.get((model, version))
            if served is None or self.active.get(model) is served:
                return
            del self.by_version[model, version]
        self.retire(served)

    def want(self, model: str, versions: Collection[int]) -> None:
        """Given the versions that a model's traffic names, keep those and no others running."""
        with self._table:
            self._wanted[model] = frozenset(versions)

    def retire(self, served: Served) -> None:
        """Given a version, end its host once its calls have finished."""
        self.supervisor.retire(served, drain_seconds=self._settings.deadline_seconds)

    def wake(self, served: Served) -> None:
        """Given a version that is idle, start its host; do nothing for any other."""
        if served.wake():
            self.supervisor.serve(served)

    def end_idle(self) -> None:
        """End the hosts that were not called for too long."""
        now = time.monotonic()
        active_seconds = self._settings.idle_seconds
        if active_seconds:
            for served in list(self.active.values()):
                host = served.fall_idle(unused_since=now - active_seconds)
                if host is not None:
                    self.supervisor.rest(host)
        for served in self._extras():
            if served.last_used < now - self._settings.extra_idle_seconds and not _is_busy(served):
                self._retire_extra(served)

    def _begin(self, served: Served, *, is_awaited: bool) -> None:
        if served.state == FAILED:
            return
        if not is_awaited:
            served.become(IDLE)
            return
        served.is_expected = True
        self.supervisor.serve(served)

    def _extras(self) -> list[Served]:
        return [served for served in list(self.by_version.values()) if self._is_extra(served)]

    def _is_extra(self, served: Served) -> bool:
        model, version = served.place.model, served.place.version
        is_wanted = version in self._wanted.get(model, ())
        return self.active.get(model) is not served and not is_wanted and not served.is_retired

    def _make_room(self) -> Served | None:
        """Return the extra version that has to end for another, taken off the table."""
        extras = self._extras()
        if len(extras) < self._settings.extra_hosts:
            return None
        quiet = [served for served in extras if not _is_busy(served)]
        if not quiet:
            raise Overloaded(
                f"{len(extras)} versions that are not active run already (models.extra_hosts), and"
                " all of them are busy. Try again later, or call the active version.",
                retry_after_seconds=5.0,
            )
        ended = min(quiet, key=lambda served: served.last_used)
        del self.by_version[ended.place.model, ended.place.version]
        return ended

    def _retire_extra(self, served: Served) -> None:
        key = (served.place.model, served.place.version)
        with self._table:
            if self.by_version.get(key) is not served or not self._is_extra(served):
                return
            del self.by_version[key]
        self.retire(served)


def _is_busy(served: Served) -> bool:
    host = served.host
    return served.state == STARTING if host is None else host.in_flight > 0


def ready(versions: Iterable[Served]) -> list[Served]:
    """Given versions, return those that answer now."""
    return [served for served in versions if served.state == READY]
