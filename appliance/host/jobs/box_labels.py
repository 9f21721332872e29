"""Boxes that people drew: YOLO's text files and COCO's JSON."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import msgspec

from appliance.errors import InvalidInput, PayloadTooLarge

_MOST_BYTES = 256 * 1024 * 1024
_NAME_FILES = ("classes.txt", "labels.txt", "obj.names", "class_names.txt")


class TrueBox(NamedTuple):
    """One object: its label or class number, and x1, y1, x2, y2 of the upright picture.

    Edges are pixels, or parts of width and height where `is_relative`.
    """

    label: str
    edges: tuple[float, float, float, float]
    is_relative: bool


class CocoTruth(NamedTuple):
    """The boxes of each picture by its file's name, and what was noticed."""

    boxes: Mapping[str, tuple[TrueBox, ...]]
    notes: tuple[str, ...]


class _Image(msgspec.Struct):
    id: int | str
    file_name: str


class _Annotation(msgspec.Struct):
    image_id: int | str
    category_id: int
    bbox: tuple[float, float, float, float]
    iscrowd: int = 0


class _Category(msgspec.Struct):
    id: int
    name: str


class _Coco(msgspec.Struct):
    images: list[_Image]
    annotations: list[_Annotation]
    categories: list[_Category] = []


def read_coco(path: Path, name: str) -> CocoTruth | None:
    """Given a JSON file, return the boxes of each picture; None when it is no COCO file.

    Layout: cocodataset.org, "Data format", object detection; boxes are x, y, width, height.
    Raise InvalidInput when it is one with faults.
    """
    if path.stat().st_size > _MOST_BYTES:
        raise PayloadTooLarge(f"{name} has more than {_MOST_BYTES:,} bytes. Send fewer labels.")
    content = path.read_bytes()
    try:
        document: Any = msgspec.json.decode(content)
    except (msgspec.DecodeError, RecursionError) as fault:
        raise InvalidInput(f"{name} is not JSON: {fault}.") from None
    if not isinstance(document, dict) or not {"images", "annotations"} <= document.keys():
        return None
    try:
        coco = msgspec.convert(document, _Coco)
    except msgspec.ValidationError as fault:
        raise InvalidInput(f"{name} is not a COCO file as it should be: {fault}.") from None
    names = {category.id: category.name for category in coco.categories}
    files = {image.id: image.file_name for image in coco.images}
    boxes: dict[str, list[TrueBox]] = {file_name: [] for file_name in files.values()}
    crowds = 0
    for one in coco.annotations:
        if one.iscrowd:
            crowds += 1
        elif one.image_id in files:
            x, y, width, height = one.bbox
            label = names.get(one.category_id, str(one.category_id))
            edges = (x, y, x + width, y + height)
            boxes[files[one.image_id]].append(TrueBox(label, edges, False))
    notes = (f"{crowds} boxes around crowds were left out.",) if crowds else ()
    return CocoTruth({file: tuple(each) for file, each in boxes.items()}, notes)


def yolo_file_of(picture: str, files: Mapping[str, Path]) -> str | None:
    """Given a picture's name, return that of its label file: beside it, or in `labels/` where the
    picture is in `images/`.
    """
    path = PurePosixPath(picture)
    beside = path.with_suffix(".txt").as_posix()
    if beside in files:
        return beside
    parts = list(path.with_suffix(".txt").parts)
    for place in range(len(parts) - 2, -1, -1):
        if parts[place] == "images":
            parts[place] = "labels"
            candidate = PurePosixPath(*parts).as_posix()
            return candidate if candidate in files else None
    return None


def yolo_names(files: Mapping[str, Path]) -> Sequence[str]:
    """Given all files, return the names of classes that a file among them lists, or nothing."""
    for name, path in files.items():
        if PurePosixPath(name).name.lower() in _NAME_FILES and path.stat().st_size < 1 << 20:
            return path.read_text("utf-8-sig", errors="replace").rstrip().splitlines()
    return ()


def read_yolo(path: Path, name: str, names: Sequence[str]) -> tuple[TrueBox, ...]:
    """Given a label file and the names of classes, if known, return its boxes.

    Each line: class, x and y of the centre, width and height, as parts of the picture. Raise
    InvalidInput naming the line that is otherwise.
    """
    if path.stat().st_size > 1 << 20:
        raise PayloadTooLarge(f"{name} is too large for one picture's labels.")
    boxes = []
    for number, line in enumerate(path.read_text("utf-8", errors="replace").splitlines(), 1):
        if not line.strip():
            continue
        try:
            kind, x, y, width, height = (float(part) for part in line.split())
        except ValueError:
            raise _bad_line(name, number) from None
        values = (kind, x, y, width, height)
        if not all(map(math.isfinite, values)) or kind < 0 or kind != int(kind):
            raise _bad_line(name, number)
        label = names[int(kind)].strip() if int(kind) < len(names) else str(int(kind))
        edges = (x - width / 2, y - height / 2, x + width / 2, y + height / 2)
        boxes.append(TrueBox(label, edges, True))
    return tuple(boxes)


def _bad_line(name: str, number: int) -> InvalidInput:
    return InvalidInput(
        f"Line {number} of {name} is not a class and four numbers (centre x, y, width, height as"
        " parts of the picture), as YOLO writes boxes."
    )
