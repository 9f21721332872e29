"""What tuning found, kept durably and used whenever that version's host starts."""

import logging
from typing import Any

import msgspec

from appliance.engine.tuning import Tuning, Tunings
from appliance.errors import Problem
from appliance.store import settings
from appliance.store.database import Database
from appliance.store.jobs import StoredJob

_log = logging.getLogger(__name__)
_SETTING = "tuning"


class _Chosen(msgspec.Struct, frozen=True):
    streams: int
    threads: int
    in_flight: int


class _Found(msgspec.Struct, frozen=True):
    """What is needed of the document of a job of the kind `tune`."""

    model: str
    version: int
    fingerprint: str
    cores: int
    chosen: _Chosen


class ModelTuning:
    """Keeps tunings. Threads: `keep` the job dispatcher's, `restore` the one that starts."""

    def __init__(self, database: Database, tunings: Tunings) -> None:
        self._database = database
        self._tunings = tunings

    def restore(self) -> None:
        """Take up what was kept before; what cannot be read is left out."""
        kept: Any = settings.get(self._database, _SETTING)
        try:
            self._tunings.restore(msgspec.convert(kept or {}, dict[str, Tuning]))
        except msgspec.ValidationError as fault:
            _log.warning("tunings not read", extra={"reason": str(fault)})

    def keep(self, job: StoredJob, document: bytes) -> None:
        """Given a job that is done and what it found, keep the setting if it was one of tuning.

        A failure is logged: the job and its report stand, and it can be sent again.
        """
        if job.kind != "tune":
            return
        try:
            found = msgspec.json.decode(document, type=_Found)
            tuning = Tuning(
                fingerprint=found.fingerprint,
                cores=found.cores,
                streams=found.chosen.streams,
                threads=found.chosen.threads,
                in_flight=found.chosen.in_flight,
            )
            kept = self._tunings.put(found.model, found.version, tuning)
            settings.put(self._database, _SETTING, kept)
        except (msgspec.DecodeError, Problem) as fault:
            _log.error("tuning not kept", extra={"job": job.id, "reason": str(fault)})
        else:
            _log.info("tuning kept", extra={"model": found.model, "version": found.version})
