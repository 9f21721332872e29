"""Submit: store work to be done later; whoever gets an answer can rely on it being done.

The files are on the disk before the row is committed, and the answer comes after that.
"""

import hashlib
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import msgspec

from appliance.actions.callers import Caller, Role, require_model
from appliance.actions.job_files import JobFiles, SentFile
from appliance.actions.job_news import JobNews
from appliance.actions.job_views import JobView, view_of
from appliance.clock import Clock
from appliance.config import Jobs
from appliance.errors import DatabaseUnavailable, FieldError, InvalidInput
from appliance.host.jobs.batch_items import is_zip
from appliance.host.jobs.registry import KINDS, RegisteredKind, kind_named
from appliance.identifiers import new_id
from appliance.library.zip_directory import check_zip
from appliance.store import jobs
from appliance.store.database import Database
from appliance.store.disk import DiskWatch, Level
from appliance.store.job_room import Room, require_room
from appliance.store.jobs import StoredJob

#: Visible ASCII, as a header can carry it (draft-ietf-httpapi-idempotency-key-header-07).
_IDEMPOTENCY_KEY = re.compile(r"[\x21-\x7e](?:[\x20-\x7e]{0,253}[\x21-\x7e])?")
MOST_PRIORITY = 100

#: Given a model and a version (None: the active one), return that version's number or raise
#: NotFound.
ResolveVersion = Callable[[str, int | None], int]


@dataclass(frozen=True, slots=True, kw_only=True)
class WantedJob:
    """What is to be done: `params` as the kind's `Params` or as plain values that fit it.

    A higher `priority` (-100 to 100) runs first. The same `idempotency_key` of the same caller
    with the same content is the same job; `files` are read once and may come one by one.
    """

    caller: Caller
    kind: str
    params: msgspec.Struct | Mapping[str, Any]
    files: Iterable[SentFile] = ()
    priority: int = 0
    idempotency_key: str | None = None
    request_id: str = ""
    #: The files were gathered here, so they do not tell whether two requests are the same.
    is_gathered: bool = False


class Submitted(NamedTuple):
    """The job, and whether it was there before under the same idempotency key."""

    job: JobView
    is_repeated: bool


class _Versions(NamedTuple):
    model: str
    params: dict[str, Any]
    pins: tuple[str, ...]


class JobSubmission:
    """Takes jobs in. Threads: any; it holds no state of its own."""

    def __init__(
        self,
        settings: Jobs,
        clock: Clock,
        *,
        database: Database,
        disk: DiskWatch,
        files: JobFiles,
        news: JobNews,
        resolve_version: ResolveVersion,
        kinds: Sequence[RegisteredKind] = KINDS,
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._database = database
        self._disk = disk
        self._files = files
        self._news = news
        self._resolve_version = resolve_version
        self._kinds = kinds

    def submit(self, wanted: WantedJob) -> Submitted:
        """Given what is wanted, store it durably and return the job, which waits.

        Raise NotFound for no such kind, model or version, Forbidden outside the caller's models,
        InvalidInput for parameters that do not fit and for a zip that cannot be read, Conflict for
        an idempotency key that was sent with other content, PayloadTooLarge, RateLimited when the
        key has too much already, Overloaded when too many wait, InsufficientStorage.
        """
        kind = kind_named(wanted.kind, self._kinds)
        given = fitting(kind, wanted.params)
        _check(wanted)
        self._disk.require(Level.WARN, "another job")
        room = self._room(wanted)
        versions = self._versions(kind, given, wanted.caller)
        job_id = new_id()
        inputs = self._stored_inputs(job_id, wanted.files)
        now = self._clock.wall_seconds()
        job = StoredJob(
            id=job_id,
            kind=kind.name,
            priority=wanted.priority,
            model=versions.model,
            pins=versions.pins,
            params=versions.params,
            inputs=inputs,
            key_id=wanted.caller.key_id or "",
            key_name=wanted.caller.key_name,
            request_id=wanted.request_id,
            idempotency_key=wanted.idempotency_key,
            digest=_digest(kind.name, given, () if wanted.is_gathered else inputs),
            created_seconds=now,
            due_seconds=now,
            allowed_attempts=self._settings.attempts,
            stored_bytes=sum(each.bytes for each in inputs),
        )
        kept = self._keep(job, room)
        return Submitted(view_of(kept, self._news.progress(kept.id)), kept.id != job_id)

    def _room(self, wanted: WantedJob) -> Room:
        """Return what the job has to fit into; raise when that is full before a byte is read.

        Admins are bounded by all jobs together only: they can remove others' jobs anyway, and must
        be able to work when a key has gone wild.
        """
        caller = wanted.caller
        room = Room(
            most_per_key=self._settings.most_per_key,
            bytes_per_key=self._settings.bytes_per_key,
            most_bytes=self._settings.most_bytes,
            per_key=caller.role is not Role.ADMIN,
        )
        if wanted.idempotency_key is None:  # else it may be a repetition, which is always answered
            key_id, key_name = caller.key_id or "", caller.key_name
            require_room(self._database, room, key_id=key_id, key_name=key_name)
        return room

    def _stored_inputs(
        self, job_id: str, files: Iterable[SentFile]
    ) -> tuple[jobs.StoredInput, ...]:
        """Bring files to the disk; a zip that no job could read is refused at once."""
        inputs = self._files.store_inputs(job_id, files)
        try:
            for stored in inputs:
                if is_zip(stored.name, stored.content_type):
                    path = self._files.input_path(job_id, stored)
                    check_zip(path, name=stored.name, most_files=self._settings.members)
        except BaseException:
            self._files.remove(job_id)
            raise
        return inputs

    def _keep(self, job: StoredJob, room: Room) -> StoredJob:
        most_waiting = self._settings.most_waiting
        try:
            kept = jobs.add(self._database, job, most_waiting=most_waiting, room=room)
        except DatabaseUnavailable:
            # The row may be kept all the same, only too late to say so: then it needs its files.
            # Otherwise they go at the next start.
            raise
        except BaseException:
            self._files.remove(job.id)
            raise
        if kept.id != job.id:
            self._files.remove(job.id)
        self._news.wake()
        return kept

    def _versions(self, kind: RegisteredKind, given: Any, caller: Caller) -> _Versions:
        params: dict[str, Any] = msgspec.to_builtins(given)
        model = params.get("model") or ""
        if not model:
            return _Versions("", params, ())
        require_model(caller, model)
        pins = []
        for name in kind.Params.__struct_fields__:
            if name == "version" or (name.endswith("_version") and params[name] is not None):
                params[name] = self._resolve_version(model, params[name])
            else:
                continue
            if params[name] is not None:
                pins.append(f"{model}@{params[name]}")
        return _Versions(model, params, tuple(dict.fromkeys(pins)))


def fitting(kind: RegisteredKind, params: msgspec.Struct | Mapping[str, Any]) -> msgspec.Struct:
    """Given a kind and plain values, return them as its `Params`; raise InvalidInput naming what
    does not fit.
    """
    plain = msgspec.to_builtins(params)
    try:
        found: msgspec.Struct = msgspec.convert(plain, kind.Params, strict=False)
    except msgspec.ValidationError as fault:
        text, _, place = str(fault).partition(" - at `$")
        pointer = place.rstrip("`").replace("[", "/").replace("]", "").replace(".", "/")
        raise InvalidInput(
            f"The parameters of the job are not valid: {fault}.",
            errors=(FieldError(detail=text, pointer=pointer),),
        ) from None
    return found


def _check(wanted: WantedJob) -> None:
    key = wanted.idempotency_key
    if key is not None and not _IDEMPOTENCY_KEY.fullmatch(key):
        raise InvalidInput("An Idempotency-Key is 1 to 255 visible ASCII characters.")
    if not -MOST_PRIORITY <= wanted.priority <= MOST_PRIORITY:
        raise InvalidInput(
            f"A priority is a whole number from -{MOST_PRIORITY} to {MOST_PRIORITY}.",
            pointer="/query/priority",
        )


def _digest(kind: str, given: msgspec.Struct, inputs: tuple[jobs.StoredInput, ...]) -> bytes:
    """Return what two requests share if and only if they ask for the same."""
    content = [(each.name, each.content_type, each.sha256) for each in inputs]
    packed = msgspec.msgpack.encode([kind, msgspec.to_builtins(given), content], order="sorted")
    return hashlib.blake2b(packed, digest_size=32).digest()
