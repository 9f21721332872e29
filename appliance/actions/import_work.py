"""The work of an import: run the child, move a proved version into the library, keep its state."""

import logging
import shutil
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from msgspec import structs

from appliance.actions import audit
from appliance.actions.callers import Caller, Role
from appliance.actions.fetch_model import Fetcher
from appliance.actions.register_models import version_of
from appliance.clock import Clock
from appliance.config import Config
from appliance.engine.import_process import run_import
from appliance.errors import DatabaseUnavailable, ModelInvalid, Problem, ShuttingDown
from appliance.host.import_specification import ImportEvent, ImportSpecification
from appliance.host.specification import HostSpecification
from appliance.library.import_format import recognise
from appliance.library.incoming import Incoming, Order, publish
from appliance.library.versions import VersionDirectory, versions_of
from appliance.store import models
from appliance.store.connection import Connection
from appliance.store.database import Database
from appliance.store.models import Version

_log = logging.getLogger(__name__)
IMPORTING, VALIDATING, READY, FAILED = "importing", "validating", "ready", "failed"
UNDER_WAY = frozenset({IMPORTING, VALIDATING})
#: An import during which the appliance itself ended is begun so often before it is given up.
_MOST_BEGUN = 3
_KEPT_FAILURES = 5
_MOST_REASON = 2000

Activate = Callable[[Caller, str, int], object]
Mode = Literal["install", "inspect", "prove"]


@dataclass(frozen=True, slots=True)
class ImportPlaces:
    """Where the library and compiled models lie, and how many cores an import may use."""

    models: Path
    cache: Path
    threads: int


class ImportWork:
    """Imports one model after the other.

    Threads: `run` is the import thread's; the rest any. `_current` is changed by `run` alone.
    """

    def __init__(
        self,
        config: Config,
        clock: Clock,
        *,
        database: Database,
        places: ImportPlaces,
        activate: Activate,
        on_change: Callable[[], None],
    ) -> None:
        self._config = config
        self._clock = clock
        self._database = database
        self._places = places
        self._activate = activate
        self._on_change = on_change
        self.stopping = threading.Event()
        self._current: Order | None = None
        self.fetcher = Fetcher(config.models, most_bytes=config.limits.body_bytes)

    def begin(self, caller: Caller, name: str, wanted: int | None) -> Version:
        """Given who asks, a model and a version (None: the next), reserve that version durably.

        Raise Conflict when it exists.
        """
        on_disk = [place.version for place in versions_of(self._places.models, name)]

        def work(connection: Connection) -> Version:
            begun = models.begin_version(
                connection,
                name,
                wanted,
                state=IMPORTING,
                at_seconds=self._clock.wall_seconds(),
                least=max([0, *on_disk]) + 1,
            )
            self._record(connection, caller, "model.import", begun)
            return begun

        return self._database.write(work)

    def run(self, incoming: Incoming) -> None:
        """Given an accepted import, bring it to an end: the version is ready or failed then.

        Raise ShuttingDown when the appliance stops meanwhile; it lies there for the next start.
        """
        order = incoming.order()
        if order is None:
            incoming.discard()
            return
        caller = Caller(
            key_name=order.key_name, key_id=order.key_id, address=order.address, role=Role.ADMIN
        )
        self._current = order
        try:
            place = self._imported(incoming, order)
        except ShuttingDown:
            incoming.accept(order)  # this attempt does not count
            raise
        except Problem as problem:
            self._refuse(incoming, order, problem.detail)
        except OSError as fault:
            words = f"It could not be stored: {fault.strerror or fault}."
            self._refuse(incoming, order, words)
        else:
            self._complete(caller, incoming, order, place)
        finally:
            self._current = None
            self._on_change()

    def _complete(
        self, caller: Caller, incoming: Incoming, order: Order, place: VersionDirectory
    ) -> None:
        """Keep that a version in the library is ready, and let it answer if that was asked for.

        When the database cannot take it now, the next start does all of this again.
        """
        try:
            self._finish(caller, place)
            if order.request.activate:
                self._let_answer(caller, order.request.name, order.version)
        except DatabaseUnavailable as problem:
            _log.error("import not finished", extra={"reason": problem.detail})
            return
        incoming.discard()

    def is_at_work(self, name: str, version: int) -> bool:
        """Return whether this version is the one that is worked on, ready already or not."""
        order = self._current
        return order is not None and (order.request.name, order.version) == (name, version)

    def is_activating(self, name: str, version: int) -> bool:
        """Return whether a version that may be ready already is still to be activated."""
        order = self._current
        return order is not None and order.request.activate and self.is_at_work(name, version)

    def work_on(self, incoming: Incoming, order: Order, *, mode: Mode) -> ImportEvent:
        """Given a model's files and order, run the child on them and return what it found."""
        settings = self._config.models
        specification = ImportSpecification(
            mode=mode,
            files=str(incoming.files),
            work=str(incoming.work),
            version=order.version,
            request=order.request,
            host=self._host(incoming.target(order)),
            total_bytes=settings.import_bytes,
            memory_bytes=settings.import_memory_bytes,
            cpu_seconds=int(settings.import_seconds * max(2, self._places.threads)) + 1,
        )

        def on_stage(stage: str) -> None:
            if stage == VALIDATING and mode != "inspect":
                models.set_state(
                    self._database, order.request.name, order.version, state=VALIDATING
                )
                self._on_change()

        return run_import(
            specification,
            on_stage=on_stage,
            wall_seconds=settings.import_seconds,
            stopping=self.stopping,
        )

    def _refuse(self, incoming: Incoming, order: Order, reason: str) -> None:
        incoming.discard()
        self.failed(order.request.name, order.version, reason)

    def failed(self, name: str, version: int, reason: str) -> None:
        """Given a version and why it failed, keep both; older failures are forgotten."""
        reason = reason[:_MOST_REASON]
        _log.warning("model not imported", extra={"model": f"{name}@{version}", "reason": reason})
        models.set_state(self._database, name, version, state=FAILED, reason=reason)
        failures = [one for one in models.versions(self._database, name) if one.state == FAILED]
        for old in failures[:-_KEPT_FAILURES]:
            models.remove_version(self._database, name, old.version)
        self._on_change()

    def close_interrupted(self, row: Version) -> None:
        """Given a version that was under way at the last stop and was never accepted, end it."""
        on_disk = {place.version: place for place in versions_of(self._places.models, row.name)}
        if row.version in on_disk:
            self._finish(Caller(key_name="restart", address=""), on_disk[row.version])
            return
        self.failed(
            row.name,
            row.version,
            "The appliance stopped before the whole model had arrived. Send it again.",
        )

    def _imported(self, incoming: Incoming, order: Order) -> VersionDirectory:
        """Return where the version lies in the library once it has proved itself."""
        name = order.request.name
        on_disk = {place.version: place for place in versions_of(self._places.models, name)}
        if order.version in on_disk:
            return on_disk[order.version]  # a crash came between its move and its row
        if order.begun >= _MOST_BEGUN:
            raise ModelInvalid(
                f"The appliance ended {order.begun} times while it imported this. See its log."
            )
        incoming.start_over(order)
        incoming.accept(structs.replace(order, begun=order.begun + 1))
        if order.url:
            shutil.rmtree(incoming.files, ignore_errors=True)
            incoming.files.mkdir(mode=0o700)
            self.fetcher.fetch(
                order.url, incoming, sha256=order.request.sha256, stopping=self.stopping
            )
            check_files(incoming)
        self.work_on(incoming, order, mode="install" if order.kind == "convert" else "prove")
        return publish(incoming.target(order), self._places.models)

    def _host(self, directory: Path) -> HostSpecification:
        limits = self._config.limits
        return HostSpecification(
            directory=str(directory),
            cache_directory=str(self._places.cache),
            threads=self._places.threads,
            connections=1,
            memory_bytes=self._config.models.import_memory_bytes,
            image_pixels=limits.image_pixels,
            image_formats=limits.image_formats,
            tensor_batch=limits.tensor_batch,
            texts=limits.texts,
            text_bytes=limits.text_bytes,
        )

    def _finish(self, caller: Caller, place: VersionDirectory) -> None:
        facts = version_of(place, self._clock)
        row = models.get_version(self._database, place.model, place.version)
        if row is None or row.state == READY:
            return  # removed meanwhile, or ready before a restart

        def work(connection: Connection) -> None:
            done = models.finish_version(
                connection,
                place.model,
                place.version,
                sha256=facts.sha256,
                size_bytes=facts.size_bytes,
            )
            self._record(connection, caller, "model.ready", done)

        self._database.write(work)
        _log.info("model imported", extra={"model": f"{place.model}@{place.version}"})
        self._on_change()

    def _let_answer(self, caller: Caller, name: str, version: int) -> None:
        """Activate as the import asked for; if that fails, the version is ready and says so."""
        if models.active_version(self._database, name) == version:
            return
        try:
            self._activate(caller, name, version)
        except Problem as problem:
            reason = f"Ready, but not activated: {problem.detail}"[:_MOST_REASON]
            models.set_state(self._database, name, version, state=READY, reason=reason)

    def _record(self, store: Connection, caller: Caller, action: str, version: Version) -> None:
        audit.record(
            store,
            caller,
            action=action,
            subject=f"{version.name}@{version.version}",
            detail={"sha256": version.sha256, "bytes": version.size_bytes},
            clock=self._clock,
        )


def check_files(incoming: Incoming) -> None:
    """Given the files that were sent, raise UnsupportedMedia or InvalidInput when they are seen at
    once to be no model. Several files are looked at by the child only.
    """
    files = list(incoming.files.iterdir())
    if len(files) == 1:
        recognise(files[0])
