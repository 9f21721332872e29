"""Calibration data from kept inputs, packed into zips as if somebody had sent them."""

import random
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import msgspec

from appliance.actions.input_types import HEAD_BYTES, suffix_of, type_of_input
from appliance.actions.job_files import SentFile
from appliance.actions.keep_inputs import InputKeeper
from appliance.errors import Conflict
from appliance.store import predictions
from appliance.store.database import Database

#: Fewer say nothing about the range of a layer's values, and half of them measure.
LEAST_ITEMS = 16
_ZIP_TYPE = "application/zip"
#: Of a file's room; the rest is for names.
_PACKED_SHARE = 0.9
_MEASURABLE = frozenset({"text/plain", "application/json"})


class _Sample(NamedTuple):
    """One input that can calibrate: where it lies, and its name in a zip."""

    path: Path
    bytes: int
    name: str


class _Text(msgspec.Struct):
    """The plainest way to ask a text model in JSON."""

    text: str


class RecordedData:
    """Gathers kept inputs for jobs. Threads: any; it holds no state."""

    def __init__(
        self,
        keeper: InputKeeper,
        database: Database,
        *,
        scratch: Path,
        most_file_bytes: int,
        most_bytes: int,
    ) -> None:
        self._keeper = keeper
        self._database = database
        self._scratch = scratch
        self._most_zip_bytes = int(most_file_bytes * _PACKED_SHARE)
        self._most_bytes = most_bytes

    def gather(self, model: str, most_items: int) -> Iterator[SentFile]:
        """Given a model, return zips with so many of its kept inputs at most, drawn evenly.

        Each is to be read before the next is asked for. Raise Conflict at once when its inputs
        are not kept, or too few of them.
        """
        if not self._keeper.is_kept(model):
            raise Conflict(
                f"The inputs of {model} are not kept, so there is nothing recorded to calibrate"
                f' with. Add "{model}" to history.keep_inputs and let it work for a while, or send'
                " data."
            )
        samples = self._samples(model, most_items)
        if len(samples) < LEAST_ITEMS:
            raise Conflict(
                f"Only {len(samples)} inputs of {model} are kept that can calibrate; {LEAST_ITEMS}"
                " are the least, 300 or more are better. Let it work for a while, or send data."
            )
        return self._packed(samples)

    def _samples(self, model: str, most_items: int) -> list[_Sample]:
        """Return inputs whose prediction is in the history and that a job can read."""
        kept = self._keeper.files.listed(model)
        random.shuffle(kept)  # an even draw, however many turn out to be of no use
        found: list[_Sample] = []
        room = self._most_bytes
        for one in kept:
            if len(found) >= most_items:
                break
            sample = self._sample(model, one.id)
            if sample is not None and sample.bytes <= min(room, self._most_zip_bytes):
                room -= sample.bytes
                found.append(sample)
        return found

    def _sample(self, model: str, prediction_id: str) -> _Sample | None:
        row = predictions.get(self._database, prediction_id)
        if row is None:
            return None
        path = self._keeper.files.path(model, prediction_id)
        try:
            size = path.stat().st_size
            with path.open("rb") as file:
                media = type_of_input(row.content_type, file.read(HEAD_BYTES))
        except OSError:  # removed meanwhile
            return None
        if size != row.input_bytes or not (media.startswith("image/") or media in _MEASURABLE):
            return None
        return _Sample(path, size, prediction_id + suffix_of(media))

    def _packed(self, samples: list[_Sample]) -> Iterator[SentFile]:
        number = 0
        while samples:
            number += 1
            with tempfile.TemporaryFile(dir=self._scratch) as file:
                with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
                    written = 0
                    while samples and written + samples[-1].bytes <= self._most_zip_bytes:
                        sample = samples.pop()
                        written += _add(archive, sample)
                file.seek(0)
                yield SentFile(f"recorded-{number}.zip", _ZIP_TYPE, file)


def _add(archive: zipfile.ZipFile, sample: _Sample) -> int:
    """Put one input into the zip, a text in JSON as that text alone; return its bytes."""
    try:
        body = sample.path.read_bytes()
    except OSError:  # removed meanwhile: one sample fewer
        return 0
    name = sample.name
    if name.endswith(".json"):
        text = _plain_text(body)
        if text is None:
            return 0
        name, body = name.removesuffix(".json") + ".txt", text.encode()
    archive.writestr(zipfile.ZipInfo(name), body)
    return len(body)


def _plain_text(body: bytes) -> str | None:
    try:
        return msgspec.json.decode(body, type=_Text).text
    except msgspec.MsgspecError:
        return None
