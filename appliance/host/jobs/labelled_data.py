"""Labelled data as people have it: folders by class, a CSV, YOLO's text files or COCO's JSON.

A job gets it as a zip or as single files; what form it has is found by looking.
"""

import contextlib
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from appliance.errors import InsufficientStorage, InvalidInput, PayloadTooLarge, UnsupportedMedia
from appliance.host.jobs import box_labels, label_table
from appliance.host.jobs.batch_items import INPUT_TYPES, is_zip
from appliance.host.jobs.box_labels import TrueBox
from appliance.host.jobs.contract import MOST_UNPACKED_BYTES, InputLimits, JobInput
from appliance.library.zip_source import Caps, unpack
from appliance.tasks.contract import Payload

#: The same data is always cut the same way, so that two reports can be compared.
_SEED = 20_260
_FORMS = (
    "Send a zip with one folder for each label, a CSV with the columns file,label or text,label"
    " (and its files in the same zip), pictures with YOLO's .txt files, or with COCO's .json."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One input, where it lies or what it says, and what is true of it, if that is known."""

    name: str
    content_type: str
    path: Path | None = None
    text: str = ""
    label: str | None = None
    boxes: tuple[TrueBox, ...] | None = None

    def payload(self) -> Payload:
        """Return the input's bytes as a prediction takes them; raise OSError when unreadable."""
        body = self.text.encode() if self.path is None else self.path.read_bytes()
        return Payload(body=body, content_type=self.content_type)


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelledSet:
    """Items of one form: "labels", "boxes" or "none", and what was noticed while reading."""

    form: str
    items: tuple[Item, ...]
    notes: tuple[str, ...] = field(default=())

    def sample(self, most: int) -> "LabelledSet":
        """Return at most so many items, drawn evenly and always the same ones, in order."""
        if len(self.items) <= most:
            return self
        places = sorted(random.Random(_SEED).sample(range(len(self.items)), most))
        note = f"Of {len(self.items):,} items a fixed sample of {most:,} was taken."
        return LabelledSet(
            form=self.form,
            items=tuple(self.items[place] for place in places),
            notes=(*self.notes, note),
        )

    def split(self, first: int) -> "tuple[LabelledSet, LabelledSet]":
        """Return two parts without a common item; the first has at most half and `first`."""
        places = list(range(len(self.items)))
        random.Random(_SEED).shuffle(places)
        count = min(first, len(places) // 2)
        parts = (sorted(places[:count]), sorted(places[count:]))
        calibration, rest = (
            LabelledSet(
                form=self.form, items=tuple(self.items[at] for at in part), notes=self.notes
            )
            for part in parts
        )
        return calibration, rest


def read_set(
    inputs: Sequence[JobInput], workspace: Path, limits: InputLimits | None = None
) -> LabelledSet:
    """Given a job's inputs and an empty folder to unpack into, return the items with their truth.

    Raise InvalidInput when there is nothing to measure or the labels are broken,
    InsufficientStorage when the disk has no room for it, and what unpacking raises.
    """
    files = _files(inputs, workspace, limits or InputLimits())
    pictures = {
        name: path
        for name, path in files.items()
        if PurePosixPath(name).suffix.lower() in INPUT_TYPES
    }
    found = _from_tables(files) or _from_coco(files) or _from_yolo(files, pictures)
    if found is None:
        found = _from_folders(pictures)
    if not found.items:
        raise InvalidInput(f"The data holds nothing to measure. {_FORMS}")
    return found


def _files(inputs: Sequence[JobInput], workspace: Path, limits: InputLimits) -> dict[str, Path]:
    """Return every file by its name in the data, those of zips included."""
    if not inputs:
        raise InvalidInput(f"The job needs data. {_FORMS}")
    files: dict[str, Path] = {}
    unpacked_bytes = unpacked_files = 0
    for number, given in enumerate(inputs):
        path = Path(given.path)
        if not is_zip(given.name, given.content_type):
            files[given.name] = path
            continue
        target = workspace / f"data-{number}"
        target.mkdir(parents=True)
        # The caps are for all zips together: one request may hold very many of them.
        caps = _caps(limits, unpacked_bytes, unpacked_files)
        for unpacked in _unpacked(path, target, caps, limits):
            files[unpacked.relative_to(target).as_posix()] = unpacked
            unpacked_bytes += unpacked.stat().st_size
            unpacked_files += 1
    return {name: path for name, path in sorted(files.items()) if _is_meant(name)}


def _caps(limits: InputLimits, unpacked_bytes: int, unpacked_files: int) -> Caps:
    return Caps(
        total_bytes=limits.unpacked_bytes - unpacked_bytes,
        entries=limits.members - unpacked_files,
        too_large=f"The data unpacks to more than {limits.unpacked_bytes / 1e6:,.0f} MB, the most"
        " that one job may have. Send less of it.",
        too_many=f"The data holds more than {limits.members:,} files, the most that one job reads"
        " (jobs.members). Send less of it.",
    )


def _unpacked(archive: Path, target: Path, caps: Caps, limits: InputLimits) -> list[Path]:
    """Unpack; where that is too much only because the disk is that full, say so."""
    try:
        return unpack(archive, target, caps)
    except PayloadTooLarge as problem:
        if limits.unpacked_bytes < MOST_UNPACKED_BYTES and problem.detail == caps.too_large:
            raise InsufficientStorage(
                f"The disk has room for {limits.unpacked_bytes / 1e6:,.0f} MB of unpacked data,"
                " and this job's needs more. Free some space, or send less of it."
            ) from None
        raise


def _is_meant(name: str) -> bool:
    """Return whether a file is data, and not what an operating system puts beside it."""
    path = PurePosixPath(name)
    return not any(part.startswith(".") or part == "__MACOSX" for part in path.parts) and (
        path.name.lower() not in ("", "thumbs.db", "desktop.ini")
    )


def _media_type(name: str) -> str:
    return INPUT_TYPES.get(PurePosixPath(name).suffix.lower(), "application/octet-stream")


def _from_tables(files: Mapping[str, Path]) -> LabelledSet | None:
    tables = [name for name in files if name.lower().endswith((".csv", ".tsv"))]
    if not tables:
        return None
    if len(tables) > 1:
        names = ", ".join(tables[:4])
        raise InvalidInput(f"The data holds several tables ({names}). Send the one with labels.")
    table = label_table.read(files[tables[0]], tables[0])
    if table.is_text:
        items = [
            Item(name=f"row {number}", content_type="text/plain", text=value, label=label)
            for number, value, label in table.rows
        ]
        return LabelledSet(form="labels", items=tuple(items), notes=table.notes)
    find = _finder(files, tables[0])
    named, missing = [], []
    for _, value, label in table.rows:
        name = find(value)
        if name is None:
            missing.append(value)
        else:
            named.append(
                Item(name=name, content_type=_media_type(name), path=files[name], label=label)
            )
    if not named:
        raise InvalidInput(
            f"{tables[0]} names {len(missing)} files, but none of them was sent with it, such as"
            f" {missing[0][:80]!r}. Put the table and its files into one zip."
        )
    notes = [*table.notes]
    if missing:
        notes.append(
            f"{len(missing)} files that {tables[0]} names are not there, such as"
            f" {missing[0][:80]!r}; they were left out."
        )
    return LabelledSet(form="labels", items=tuple(named), notes=tuple(notes))


def _finder(files: Mapping[str, Path], table: str) -> Callable[[str], str | None]:
    """Return what finds the file that a table means: beside it, from the top, or by its name."""
    by_name: dict[str, list[str]] = {}
    for name in files:
        by_name.setdefault(PurePosixPath(name).name, []).append(name)
    folder = PurePosixPath(table).parent

    def find(value: str) -> str | None:
        wanted = PurePosixPath(value.strip().replace("\\", "/"))
        for candidate in ((folder / wanted).as_posix(), wanted.as_posix()):
            if candidate in files:
                return candidate
        alike = by_name.get(wanted.name, [])
        return alike[0] if len(alike) == 1 else None

    return find


def _from_coco(files: Mapping[str, Path]) -> LabelledSet | None:
    for name, path in files.items():
        if not name.lower().endswith(".json"):
            continue
        truth = box_labels.read_coco(path, name)
        if truth is None:
            continue
        find = _finder(files, name)
        items = []
        for file_name, boxes in truth.boxes.items():
            found = find(file_name)
            if found is not None:
                items.append(
                    Item(
                        name=found,
                        content_type=_media_type(found),
                        path=files[found],
                        boxes=boxes,
                    )
                )
        notes = list(truth.notes)
        if len(items) < len(truth.boxes):
            notes.append(
                f"{len(truth.boxes) - len(items)} of {len(truth.boxes)} pictures that {name} names"
                " are not there; they were left out."
            )
        return LabelledSet(form="boxes", items=tuple(items), notes=tuple(notes))
    return None


def _from_yolo(files: Mapping[str, Path], pictures: Mapping[str, Path]) -> LabelledSet | None:
    shown = {name: path for name, path in pictures.items() if not name.endswith(".txt")}
    names = box_labels.yolo_names(files)
    items, without = [], 0
    for name, path in shown.items():
        label_file = box_labels.yolo_file_of(name, files)
        if label_file is None:
            without += 1
            continue
        boxes = box_labels.read_yolo(files[label_file], label_file, names)
        items.append(Item(name=name, content_type=_media_type(name), path=path, boxes=boxes))
    if not items:
        return None
    # In YOLO's layout a picture without objects has no file.
    notes = () if not without else (f"{without} pictures have no label file: nothing in them.",)
    items += [
        Item(name=name, content_type=_media_type(name), path=path, boxes=())
        for name, path in shown.items()
        if box_labels.yolo_file_of(name, files) is None
    ]
    return LabelledSet(form="boxes", items=tuple(items), notes=notes)


def _from_folders(files: Mapping[str, Path]) -> LabelledSet:
    """Take the folder right above each file as its label, if every file has one."""
    if any("/" in name for name in files):  # notes at the top are no items
        files = {name: path for name, path in files.items() if "/" in name or name[-4:] != ".txt"}
    parents = {PurePosixPath(name).parent.name for name in files}
    if "" in parents or len(parents) < 2:
        items = [
            Item(name=name, content_type=_media_type(name), path=path)
            for name, path in files.items()
        ]
        return LabelledSet(form="none", items=tuple(items))
    items = [
        Item(
            name=name,
            content_type=_media_type(name),
            path=path,
            label=PurePosixPath(name).parent.name,
        )
        for name, path in files.items()
    ]
    return LabelledSet(form="labels", items=tuple(items))


def require_labels(data: LabelledSet) -> None:
    """Given a set, raise InvalidInput when nothing says what is true of its items."""
    if data.form == "none":
        raise InvalidInput(f"The data has no labels, so nothing says what is right. {_FORMS}")


def inputs_by_part(inputs: Sequence[JobInput]) -> dict[str, tuple[JobInput, ...]]:
    """Given a job's inputs, return those for "calibration" and those for "validation".

    A file belongs to validation when its name begins with that word.
    """
    parts: dict[str, list[JobInput]] = {"calibration": [], "validation": []}
    for given in inputs:
        is_validation = PurePosixPath(given.name).name.lower().startswith("validation")
        parts["validation" if is_validation else "calibration"].append(given)
    return {name: tuple(part) for name, part in parts.items()}


def readable_payload(item: Item) -> Payload:
    """Given an item, return its bytes; raise UnsupportedMedia when they cannot be read."""
    with contextlib.suppress(OSError):
        return item.payload()
    raise UnsupportedMedia(f"{item.name} cannot be read.")
