"""Golden samples: inputs with known answers, run before a version may serve and as its canary."""

import math
from pathlib import Path
from typing import Any

import msgspec

from appliance.errors import ModelInvalid, Problem
from appliance.tasks.contract import Payload


class Check(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One expected value: `pointer` (RFC 6901) into the result, numbers within `tolerance`."""

    pointer: str
    equals: Any
    tolerance: float = 0.0


class Sample(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One input beside samples.json and what must come out."""

    input: str
    content_type: str
    params: dict[str, Any] = {}
    checks: tuple[Check, ...] = ()


class Samples(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`golden/samples.json`, whole."""

    samples: tuple[Sample, ...]


def read_samples(directory: Path) -> tuple[tuple[Sample, Payload], ...]:
    """Given a version's directory, return its golden samples with their inputs; there may be none.

    Raise ModelInvalid when they cannot be read.
    """
    path = directory / "golden" / "samples.json"
    if not path.exists():
        return ()
    try:
        samples = msgspec.json.decode(path.read_bytes(), type=Samples).samples
        return tuple(
            (
                sample,
                Payload(
                    body=_inside(path.parent, sample.input).read_bytes(),
                    content_type=sample.content_type,
                ),
            )
            for sample in samples
        )
    except OSError as fault:
        raise ModelInvalid(f"A golden sample cannot be read: {fault.strerror}.") from None
    except msgspec.DecodeError as fault:
        raise ModelInvalid(f"golden/samples.json is not valid: {fault}.") from None


def failure(sample: Sample, result: Any) -> str | None:
    """Given a sample and the result it got, return the words that say what differs, or None."""
    document = msgspec.to_builtins(result)
    for check in sample.checks:
        got = value_at(document, check.pointer)
        if not _equal(got, check.equals, check.tolerance):
            tolerance = f" ± {check.tolerance}" if check.tolerance else ""
            return (
                f"golden sample {sample.input}: expected {check.equals!r}{tolerance} at"
                f" {check.pointer}, got {got!r}"
            )
    return None


def run_sample(sample: Sample, payload: Payload, run: Any) -> None:
    """Given a sample and `run(params, payload) -> result`, raise ModelInvalid unless it passes."""
    try:
        fault = failure(sample, run(sample.params, payload))
    except Problem as problem:
        fault = f"golden sample {sample.input}: {problem.detail}"
    if fault:
        raise ModelInvalid(f"The model does not answer as it should: {fault.rstrip('.')}.")


def _inside(directory: Path, name: str) -> Path:
    path = directory / name
    if path.parent != directory:
        raise ModelInvalid(f"The golden sample {name!r} must lie beside samples.json.")
    return path


def value_at(document: Any, pointer: str) -> Any:
    """Given plain values and an RFC 6901 pointer, return what is there, or None."""
    for part in pointer.split("/")[1:]:
        key = part.replace("~1", "/").replace("~0", "~")
        try:
            document = document[int(key)] if isinstance(document, (list, tuple)) else document[key]
        except (KeyError, IndexError, ValueError, TypeError):
            return None
    return document


def _equal(got: Any, expected: Any, tolerance: float) -> bool:
    if isinstance(expected, float) or tolerance:
        return isinstance(got, (int, float)) and math.isclose(
            got, expected, rel_tol=0, abs_tol=tolerance or 1e-6
        )
    return bool(got == expected)
