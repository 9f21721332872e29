"""Install a model: taken in durably, converted and proved in a child, then whole or not at all.

One import runs at a time, in a thread of its own. Nothing that is served is touched by any of it.
"""

import logging
import shutil
import threading
import time
from collections import deque
from pathlib import Path

import msgspec

from appliance.actions.callers import Caller, Role, require_model
from appliance.actions.import_work import (
    READY,
    UNDER_WAY,
    Activate,
    ImportPlaces,
    ImportWork,
    check_files,
)
from appliance.actions.job_endings import MadeVersion
from appliance.clock import Clock
from appliance.config import Config
from appliance.errors import InvalidInput, ModelInvalid, NotFound, Overloaded, ShuttingDown
from appliance.host.import_specification import ImportEvent
from appliance.library.checksums import SUMS_NAME, write_sums
from appliance.library.import_request import ImportRequest
from appliance.library.incoming import Incoming, Order, waiting
from appliance.library.manifest import read_manifest
from appliance.library.manifest_text import manifest_text
from appliance.library.versions import versions_of
from appliance.store import models, settings
from appliance.store.database import Database
from appliance.store.disk import DiskWatch, Level
from appliance.store.jobs import StoredJob
from appliance.store.models import Version

_log = logging.getLogger(__name__)
_MOST_WAITING = 16
_STOP_SECONDS = 10.0
_TOKEN = "models.made_by."


class InspectedTensor(msgspec.Struct, frozen=True, kw_only=True):
    """One input or output; a size that varies is -1."""

    name: str
    type: str
    shape: tuple[int, ...]


class Inspection(msgspec.Struct, frozen=True, kw_only=True):
    """What a model is, and the manifest an import would write.

    `labels` counts those found by file; `missing` says what an import would still have to be told.
    """

    format: str
    task: str
    inputs: tuple[InspectedTensor, ...]
    outputs: tuple[InspectedTensor, ...]
    operations: int
    weights_bytes: int
    labels: dict[str, int]
    notes: tuple[str, ...]
    missing: tuple[str, ...]
    manifest: str


class ModelLibrary:
    """Imports of models.

    Threads: any; `_changed` guards the line of imports and wakes its thread and those who wait for
    a state.
    """

    def __init__(
        self,
        config: Config,
        clock: Clock,
        *,
        database: Database,
        disk: DiskWatch,
        places: ImportPlaces,
        activate: Activate,
    ) -> None:
        self._config = config
        self._database = database
        self._disk = disk
        self._places = places
        self._changed = threading.Condition()
        self._line: deque[Incoming] = deque()
        self._inspections = threading.Semaphore(1)
        self._worker = threading.Thread(target=self._attend, name="model-import", daemon=True)
        self._work = ImportWork(
            config,
            clock,
            database=database,
            places=places,
            activate=activate,
            on_change=self._tell,
        )

    @property
    def most_bytes(self) -> int:
        """The largest model that is taken, in bytes as it is sent."""
        return self._config.limits.body_bytes

    def start(self) -> None:
        """Go on with the imports that the last stop interrupted, and take new ones."""
        self._line.extend(waiting(self._places.models))
        orders = [incoming.order() for incoming in self._line]
        resumed = {(order.request.name, order.version) for order in orders if order is not None}
        for row in models.versions(self._database):
            if row.state in UNDER_WAY and (row.name, row.version) not in resumed:
                self._work.close_interrupted(row)
        self._worker.start()

    def stop(self) -> None:
        """End the running import; it is begun anew at the next start."""
        self._work.stopping.set()
        self._tell()
        if self._worker.is_alive():
            self._worker.join(_STOP_SECONDS)

    def receive(self) -> Incoming:
        """Return room for the files of a model; whoever gets it accepts or discards it.

        Raise InsufficientStorage on a full disk, Overloaded when too many imports wait.
        """
        self._disk.require(Level.WARN, "another model")
        if len(self._line) >= _MOST_WAITING:
            raise Overloaded(
                f"{_MOST_WAITING} imports wait already. Try again when some are done.",
                retry_after_seconds=30.0,
            )
        return Incoming.create(self._places.models)

    def accept(
        self, caller: Caller, incoming: Incoming, request: ImportRequest, *, url: str = ""
    ) -> Version:
        """Given a caller, the files of a model (or where to fetch them) and what was said of it,
        take the import in durably and return the new version, which is `importing`.

        Raise UnsupportedMedia or InvalidInput for what can be seen to be none, Conflict for a
        version that exists. The files are discarded then.
        """
        try:
            require_model(caller, request.name)
            if url:
                self._work.fetcher.check(url, sha256=request.sha256)
            else:
                check_files(incoming)
            begun = self._work.begin(caller, request.name, request.version)
        except BaseException:
            incoming.discard()
            raise
        order = Order(
            request=request,
            version=begun.version,
            key_name=caller.key_name,
            key_id=caller.key_id,
            address=caller.address,
            url=url,
        )
        self._queue(incoming, order)
        return begun

    def inspect(self, incoming: Incoming, request: ImportRequest) -> Inspection:
        """Given the files of a model and what was said of it, return what it is; nothing is kept.

        Raise the problem that an import would end with.
        """
        try:
            check_files(incoming)
            if not self._inspections.acquire(timeout=self._config.limits.waiting_seconds):
                raise Overloaded("Another model is being inspected. Try again in a moment.")
            try:
                version = request.version or self.next_version(request.name)
                order = Order(request=request, version=version, key_name="", address="")
                incoming.start_over(order)
                return _inspection(self._work.work_on(incoming, order, mode="inspect"))
            finally:
                self._inspections.release()
        finally:
            incoming.discard()

    def install_made(self, job: StoredJob, model: str, directory: Path) -> MadeVersion:
        """Given a job and the folder of a version it made, install that; see `InstallVersion`."""
        done = self.install_folder(directory, model=model, actor=f"job {job.id}", token=job.id)
        return MadeVersion(model=done.name, version=done.version)

    def install_folder(self, folder: Path, *, model: str, actor: str, token: str = "") -> Version:
        """Given a folder that holds what a version holds, but for SHA256SUMS, install it as the
        next version of a model under that name, once it has proved itself, and return it.

        It is not activated. The same `token` gives the same version again. Raise ModelInvalid with
        the reason when it fails.
        """
        before = settings.get(self._database, _TOKEN + token) if token else None
        if before is not None:
            return self._installed(str(before[0]), int(before[1]))
        incoming = self.receive()
        try:
            request = msgspec.convert({"name": model}, ImportRequest)
            caller = Caller(key_name=actor, address="", role=Role.ADMIN)
            begun = self._work.begin(caller, model, None)
        except BaseException:
            incoming.discard()
            raise
        order = Order(
            request=request, version=begun.version, key_name=actor, address="", kind="prove"
        )
        self._queue(incoming, order, folder=folder)
        if token:
            settings.put(self._database, _TOKEN + token, [model, begun.version])
        return self._installed(model, begun.version)

    def _installed(self, model: str, version: int) -> Version:
        done = self.wait(model, version, seconds=None)
        if done.state != READY:
            raise ModelInvalid(done.reason)
        return done

    def wait(self, name: str, version: int, *, seconds: float | None) -> Version:
        """Given a version, return it once its import has ended or the time (None: none) is over.

        Raise NotFound when there is no such version, ShuttingDown when the appliance stops.
        """
        deadline = None if seconds is None else time.monotonic() + seconds
        with self._changed:
            while True:
                found = models.get_version(self._database, name, version)
                if found is None:
                    raise NotFound(f"There is no version {version} of {name[:64]!r}.")
                rest = None if deadline is None else deadline - time.monotonic()
                is_done = found.state not in UNDER_WAY and not self._work.is_at_work(name, version)
                if is_done or (rest is not None and rest <= 0):
                    return found
                if self._work.stopping.is_set():
                    raise ShuttingDown("The appliance is stopping; the import goes on later.")
                self._changed.wait(rest)

    def is_activating(self, name: str, version: int) -> bool:
        """Return whether a version that may be ready already is still to be activated."""
        return self._work.is_activating(name, version)

    def next_version(self, model: str) -> int:
        """Given a model, return the number its next version gets."""
        known = [one.version for one in models.versions(self._database, model)]
        on_disk = [place.version for place in versions_of(self._places.models, model)]
        return max([0, *known, *on_disk]) + 1

    def _queue(self, incoming: Incoming, order: Order, *, folder: Path | None = None) -> None:
        """Accept an import whose version is reserved; on any fault the version has failed."""
        try:
            if folder is not None:
                _copy_version(folder, incoming.target(order), order)
            incoming.accept(order)
        except BaseException as fault:
            incoming.discard()
            words = fault.detail if isinstance(fault, ModelInvalid) else str(fault)
            self._work.failed(order.request.name, order.version, f"Not taken in: {words}")
            raise
        with self._changed:
            self._line.append(incoming)
            self._changed.notify_all()

    def _tell(self) -> None:
        with self._changed:
            self._changed.notify_all()

    def _attend(self) -> None:
        """Import one after the other until the appliance stops."""
        stopping = self._work.stopping
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._line or stopping.is_set())
                if stopping.is_set():
                    return
                incoming = self._line[0]
            try:
                self._work.run(incoming)
            except ShuttingDown:
                return  # it lies there for the next start
            except Exception:
                _log.exception("import failed by a fault of the appliance")
                self._give_up(incoming)
            with self._changed:
                self._line.popleft()
                self._changed.notify_all()

    def _give_up(self, incoming: Incoming) -> None:
        order = incoming.order()
        incoming.discard()
        if order is None:
            return
        try:
            self._work.failed(
                order.request.name,
                order.version,
                "The appliance failed on this import; its log has the cause.",
            )
        except Exception:
            _log.exception("the state of a failed import was not kept")


def _copy_version(folder: Path, target: Path, order: Order) -> None:
    """Copy a whole version and give it its new name, number and sums."""
    shutil.copytree(folder, target, symlinks=True)
    for path in (target, *target.rglob("*")):
        if not path.is_symlink():
            path.chmod(0o700 if path.is_dir() else 0o600)
    manifest = msgspec.structs.replace(
        read_manifest(target), name=order.request.name, version=order.version
    )
    (target / "manifest.toml").write_text(manifest_text(manifest), "utf-8")
    (target / SUMS_NAME).unlink(missing_ok=True)
    write_sums(target)


def _inspection(event: ImportEvent) -> Inspection:
    facts = event.facts
    if facts is None:
        raise InvalidInput("The model could not be inspected.")
    task = next(
        (line.split('"')[1] for line in event.manifest.splitlines() if line.startswith("task =")),
        "",
    )
    return Inspection(
        format=facts.format,
        task=task,
        inputs=tuple(_tensor(one.name, one.type, one.shape) for one in facts.inputs),
        outputs=tuple(_tensor(one.name, one.type, one.shape) for one in facts.outputs),
        operations=facts.operations,
        weights_bytes=facts.weights_bytes,
        labels=event.labels,
        notes=event.notes,
        missing=event.missing,
        manifest=event.manifest,
    )


def _tensor(name: str, kind: str, shape: tuple[int, ...]) -> InspectedTensor:
    return InspectedTensor(name=name, type=kind, shape=shape)
