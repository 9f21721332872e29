"""What a TFLite file says about itself: how numbers are stored, own operations, attached labels.

OpenVINO returns a quantised output as bare bytes; only the file knows what they stand for. Field
numbers: schema.fbs of TensorFlow Lite; layout: FlatBuffers documentation, "Internals".
"""

import struct
import zipfile
from pathlib import Path

import msgspec

from appliance.errors import ModelInvalid
from appliance.library.zip_source import ZIP_FAULTS

_MOST_ITEMS = 100_000
_MOST_LABEL_BYTES = 4 << 20


class Quantised(msgspec.Struct, frozen=True):
    """How one tensor stores its numbers: real = (stored - zero) * scale."""

    name: str
    scale: float
    zero: int


class TfliteFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What was read: own operations by name, quantised outputs, attached files of labels."""

    own_operations: tuple[str, ...]
    outputs: tuple[Quantised, ...]
    labels: tuple[str, ...] = ()


def read_tflite(path: Path) -> TfliteFacts:
    """Given a TFLite file, return what it says; raise ModelInvalid when it is damaged."""
    data = path.read_bytes()
    try:
        model = _Table(data, _unsigned(data, 0))
        return TfliteFacts(
            own_operations=_own_operations(model),
            outputs=_outputs(model),
            labels=_attached_labels(path),
        )
    except (struct.error, IndexError, OverflowError):
        raise ModelInvalid("The TFLite file is cut off or damaged. Send the whole file.") from None


class _Table:
    """One table of a FlatBuffer; reads outside the file raise struct.error."""

    def __init__(self, data: bytes, position: int) -> None:
        self.data = data
        self._position = position
        self._fields = position - struct.unpack_from("<i", data, position)[0]
        if self._fields < 0:
            raise IndexError
        self._fields_bytes = struct.unpack_from("<H", data, self._fields)[0]

    def place(self, number: int) -> int:
        """Return where field `number` lies; 0 when it is left out."""
        entry = 4 + 2 * number
        if entry + 2 > self._fields_bytes:
            return 0
        offset = struct.unpack_from("<H", self.data, self._fields + entry)[0]
        return self._position + offset if offset else 0

    def _target(self, number: int) -> int:
        place = self.place(number)
        return place + _unsigned(self.data, place) if place else 0

    def vector(self, number: int) -> tuple[int, int]:
        """Return where the items of a vector begin and how many there are."""
        target = self._target(number)
        if not target:
            return 0, 0
        count = _unsigned(self.data, target)
        if count > _MOST_ITEMS:
            raise IndexError
        return target + 4, count

    def tables(self, number: int) -> "list[_Table]":
        """Return the tables of a vector."""
        start, count = self.vector(number)
        places = range(start, start + 4 * count, 4)
        return [_Table(self.data, place + _unsigned(self.data, place)) for place in places]

    def table(self, number: int) -> "_Table | None":
        """Return a table, or None."""
        target = self._target(number)
        return _Table(self.data, target) if target else None

    def integers(self, number: int, letter: str) -> tuple[float, ...]:
        """Return the numbers of a vector, by struct's letter."""
        start, count = self.vector(number)
        return struct.unpack_from(f"<{count}{letter}", self.data, start) if count else ()

    def text(self, number: int) -> str:
        """Return a text, empty when it is left out."""
        start, count = self.vector(number)
        return self.data[start : start + count].decode("utf-8", "replace")


def _own_operations(model: _Table) -> tuple[str, ...]:
    names = (code.text(1) for code in model.tables(1))
    return tuple(sorted({name for name in names if name}))


def _outputs(model: _Table) -> tuple[Quantised, ...]:
    graphs = model.tables(2)
    if not graphs:
        raise IndexError
    tensors = graphs[0].tables(0)
    found = []
    for index in graphs[0].integers(2, "i"):
        tensor = tensors[int(index)]
        quantised = tensor.table(4)
        scales = quantised.integers(2, "f") if quantised else ()
        if quantised and len(scales) == 1 and scales[0] > 0:
            zeros = quantised.integers(3, "q") or (0,)
            found.append(Quantised(tensor.text(3), scales[0], int(zeros[0])))
    return tuple(found)


def _attached_labels(path: Path) -> tuple[str, ...]:
    """TFLite Metadata appends its files as a ZIP archive behind the model."""
    try:
        with zipfile.ZipFile(path) as archive:
            for entry in archive.infolist()[:16]:
                is_text = entry.filename.endswith(".txt") and "label" in entry.filename.lower()
                if is_text and entry.file_size <= _MOST_LABEL_BYTES:
                    with archive.open(entry) as file:
                        text = file.read(_MOST_LABEL_BYTES).decode("utf-8", "replace")
                    return tuple(text.rstrip().splitlines())
    except (*ZIP_FAULTS, OSError):
        pass
    return ()


def _unsigned(data: bytes, position: int) -> int:
    return int(struct.unpack_from("<I", data, position)[0])
