"""Answers in the shapes of TensorFlow Serving's REST API."""

import base64
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec
import numpy as np

from appliance.errors import InvalidInput
from appliance.host.tensor_codec import Array
from appliance.host.tensorflow_request import CLASSIFY, PREDICT

_encode = msgspec.json.Encoder().encode


def write(
    verb: str,
    outputs: Mapping[str, Array],
    *,
    rows: int | None,
    labels: Mapping[str, Sequence[str]],
) -> bytes:
    """Given the model's arrays by name and how many rows were asked (None: columns), return the
    answer to `predict`, `classify` or `regress`.

    NaN and infinities become null, which JSON has in their place. Raise InvalidInput when the
    model's outputs cannot be told that way.
    """
    if verb == CLASSIFY:
        return _encode({"result": _classes(outputs, labels)})
    if verb != PREDICT:
        return _encode({"result": _values(outputs)})
    if rows is None:
        columns = {name: plain(name, array) for name, array in outputs.items()}
        return _encode({"outputs": _alone(columns)})
    return _encode({"predictions": _rows(outputs, rows)})


def plain(name: str, array: Array) -> Any:
    """Given an output, return it as nested lists for JSON.

    Bytes are text, or `{"b64": …}` where they are none or the output's name ends in `_bytes`.
    """
    if array.dtype != object:
        return array.tolist()
    shown = _base64 if name.endswith("_bytes") else _text
    return np.frompyfunc(shown, 1, 1)(array).tolist() if array.size else array.tolist()


def _alone(named: dict[str, Any]) -> Any:
    """The value of a lone output goes without its name."""
    return next(iter(named.values())) if len(named) == 1 else named


def _rows(outputs: Mapping[str, Array], rows: int) -> list[Any]:
    for name, array in outputs.items():
        if not array.ndim or array.shape[0] != rows:
            raise InvalidInput(
                f"The output {name!r} has no row for each of the {rows} instances; ask with"
                " 'inputs' (columns)."
            )
    columns = {name: plain(name, array) for name, array in outputs.items()}
    return [_alone({name: column[row] for name, column in columns.items()}) for row in range(rows)]


def _classes(
    outputs: Mapping[str, Array], labels: Mapping[str, Sequence[str]]
) -> list[list[tuple[str, float]]]:
    name, scores = _only(outputs, lambda array: array.ndim == 2, labels)
    known = labels.get(name, ())
    named = [
        known[index] if index < len(known) else str(index) for index in range(scores.shape[1])
    ]
    return [list(zip(named, row, strict=True)) for row in scores.tolist()]


def _values(outputs: Mapping[str, Array]) -> list[float]:
    _, values = _only(outputs, lambda array: array.ndim > 0 and array.size == array.shape[0], {})
    found: list[float] = values.reshape(-1).tolist()
    return found


def _only(
    outputs: Mapping[str, Array],
    fits: Callable[[Array], bool],
    labels: Mapping[str, Sequence[str]],
) -> tuple[str, Array]:
    """Return the one output of numbers that fits, with labels if any of several has some."""
    found = [name for name, array in outputs.items() if array.dtype.kind in "fiub" and fits(array)]
    if len(found) > 1:
        found = [name for name in found if labels.get(name)] or found
    if len(found) != 1:
        raise InvalidInput(
            f"{len(found)} of the model's outputs ({', '.join(outputs)}) could be this answer, so"
            " it is not clear which one is; ask with ':predict'."
        )
    return found[0], outputs[found[0]]


def _text(value: Any) -> Any:
    if not isinstance(value, bytes):
        return str(value)
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        return _base64(value)


def _base64(value: Any) -> dict[str, str]:
    octets = value if isinstance(value, bytes) else str(value).encode("utf-8")
    return {"b64": base64.b64encode(octets).decode("ascii")}
