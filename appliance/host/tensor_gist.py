"""What a tensor answer says, in a few words: so that two versions' answers can be compared.

Two networks hardly ever give the same floats. What their answers mean is the best class of each
row of scores; of anything else, its first three digits.
"""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from appliance.host.tensor_codec import Array

_MOST_ROWS = 8
_MOST_CHARACTERS = 200
_DIGITS = 3


def gist(
    arrays: Mapping[str, Array], labels: Mapping[str, Sequence[str]]
) -> tuple[str, float | None]:
    """Given an answer's arrays by output and the class labels that are known, return what it says.

    The words are the best class of each row of each output of scores (`[rows, classes]`), and a
    digest of every other output; the confidence is that of the only row, else None.
    """
    words: list[str] = []
    scores: list[float] = []
    for name, array in sorted(arrays.items()):
        if not _is_scores(array) or len(array) > _MOST_ROWS:
            words.append(f"{name}#{_digest(array)}")
            continue
        known = labels.get(name, ())
        for row, index in zip(array, array.argmax(axis=1).tolist(), strict=True):
            words.append(known[index] if index < len(known) else f"{name}:{index}")
            scores.append(float(row[index]))
    text = ", ".join(words)
    if len(text) > _MOST_CHARACTERS:
        text = f"#{hashlib.blake2b(text.encode(), digest_size=8).hexdigest()}"
    return text, scores[0] if len(scores) == len(words) == 1 else None


def _is_scores(array: Array) -> bool:
    return array.ndim == 2 and array.shape[1] > 1 and array.dtype.kind in "fiu"


def _digest(array: Any) -> str:
    if _is_scores(array):
        array = array.argmax(axis=1)
    if array.dtype.kind == "f":
        content = _shortened(array).tobytes()
    elif array.dtype == object:
        content = repr(array.tolist()).encode()
    else:
        content = array.tobytes()
    shape = repr(array.shape).encode()
    return hashlib.blake2b(shape + content, digest_size=4).hexdigest()


def _shortened(array: Any) -> Any:
    """Return numbers to their first three digits, as one might write them down."""
    values = array.astype(np.float64)
    with np.errstate(all="ignore"):
        scale = 10.0 ** (_DIGITS - 1 - np.floor(np.log10(np.abs(values))))
        rounded = np.round(values * scale) / scale
    plain = np.where(np.isfinite(scale) & np.isfinite(rounded), rounded, values)
    return plain + 0.0  # of two zeros, one
