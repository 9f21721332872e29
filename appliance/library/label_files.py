"""Labels as people have them: one a line, numbered, JSON, a label map or YAML `names:`."""

import ast
import re
from typing import Any

import msgspec

from appliance.errors import InvalidInput

_MOST_LABELS = 100_000
_MOST_LABEL_CHARACTERS = 500
_NUMBERED = re.compile(r"\s*(\d{1,6})(?:\s*[:,\t]\s*|\s{2,}|\s)(.+)")
_MAP_ITEM = re.compile(r"\bitem\s*\{(.*?)\}", re.DOTALL)
_MAP_ID = re.compile(r"\bid\s*:\s*(\d{1,6})")
_MAP_NAME = re.compile(r"\b(display_name|name)\s*:\s*[\"']([^\"']*)[\"']")
_YAML_ITEM = re.compile(r"\s+(?:-|(\d{1,6})\s*:)\s*(.+)")


def labels_of(text: str, *, name: str = "labels") -> tuple[str, ...]:
    """Given a text of labels in any of the known shapes, return them in index order.

    An index that is left out gets the label `class N`. Raise InvalidInput when there are none, too
    many, or one is too long.
    """
    clean = text.lstrip("\ufeff")
    labels = _from_json(clean) or _from_map(clean) or _from_names(clean) or _from_lines(clean)
    labels = tuple(" ".join(label.split()) for label in labels)
    if not labels:
        raise InvalidInput(f"The file {name!r} holds no labels: write one on each line.")
    if len(labels) > _MOST_LABELS or max(map(len, labels)) > _MOST_LABEL_CHARACTERS:
        raise InvalidInput(
            f"The file {name!r} is no list of labels: it has {len(labels):,} entries, the longest"
            f" of {max(map(len, labels)):,} characters."
        )
    return labels


def labels_of_names(text: str) -> tuple[str, ...]:
    """Given `names` as YOLO exports write it ({0: 'person', …} or a list), return the labels.

    It is a Python literal, read as data only; there are none when it is anything else.
    """
    try:
        value = ast.literal_eval(text.strip()) if len(text) <= 1 << 20 else None
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return ()
    return _from_value(value)


def _from_json(text: str) -> tuple[str, ...]:
    if text.lstrip()[:1] not in ("[", "{"):
        return ()
    try:
        value = msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError):
        return ()
    if isinstance(value, dict):
        value = value.get("labels", value.get("names", value))
    return _from_value(value)


def _from_value(value: Any) -> tuple[str, ...]:
    if isinstance(value, dict):
        numbered = {int(key): str(one) for key, one in value.items() if str(key).isdecimal()}
        if not numbered and all(isinstance(one, int) for one in value.values()):
            numbered = {one: str(key) for key, one in value.items() if one >= 0}
        return _in_order(numbered)
    if isinstance(value, list | tuple):
        return tuple(str(one.get("name", one) if isinstance(one, dict) else one) for one in value)
    return ()


def _from_map(text: str) -> tuple[str, ...]:
    """TensorFlow's label map: `item { id: 1 name: "…" display_name: "…" }`."""
    numbered = {}
    for item in _MAP_ITEM.findall(text):
        number, names = _MAP_ID.search(item), dict(_MAP_NAME.findall(item))
        if number and names:
            numbered[int(number[1])] = names.get("display_name") or names.get("name", "")
    return _in_order(numbered)


def _from_names(text: str) -> tuple[str, ...]:
    """YAML's `names:`, as in a YOLO data set or metadata.yaml; it needs no whole YAML parser."""
    lines = text.splitlines()
    for position, line in enumerate(lines):
        if line.startswith("names:"):
            rest = line.removeprefix("names:").strip()
            return labels_of_names(rest) or _bare(rest) or _indented(lines[position + 1 :])
    return ()


def _bare(text: str) -> tuple[str, ...]:
    if not (text.startswith("[") and text.endswith("]")):
        return ()
    return tuple(one.strip().strip("'\"") for one in text[1:-1].split(",") if one.strip())


def _indented(lines: list[str]) -> tuple[str, ...]:
    numbered: dict[int, str] = {}
    for line in lines:
        item = _YAML_ITEM.fullmatch(line) or _YAML_ITEM.fullmatch(" " + line)
        if item is None or not line.startswith((" ", "-")):
            break
        numbered[int(item[1]) if item[1] else len(numbered)] = item[2].strip().strip("'\"")
    return _in_order(numbered)


def _from_lines(text: str) -> tuple[str, ...]:
    lines = text.rstrip().splitlines()
    numbered = [_NUMBERED.fullmatch(line) for line in lines]
    if lines and all(numbered):
        found = {int(match[1]): match[2].strip() for match in numbered if match}
        if len(found) == len(lines) and max(found) < 2 * len(lines) + 1:
            return _in_order(found)
    return tuple(lines)


def _in_order(numbered: dict[int, str]) -> tuple[str, ...]:
    if not numbered or max(numbered) >= _MOST_LABELS:
        return ()
    return tuple(numbered.get(index, f"class {index}") for index in range(max(numbered) + 1))
