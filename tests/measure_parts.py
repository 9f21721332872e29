"""Labelled data and job runs for what measures models."""

import dataclasses
import json
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from appliance.host.jobs.classification_metrics import ClassificationScore, calibration, score
from appliance.host.jobs.contract import JobInput, JobKind, JobResult, JobRun
from appliance.host.jobs.measure import Latency, Measurement
from appliance.host.specification import HostSpecification
from appliance.library.versions import VersionDirectory
from tests.tiny_models import picture

DATA = Path(__file__).parents[2] / "shared" / "data"
LATENCY = Latency(
    items=3,
    p50_ms=1.0,
    p90_ms=2.0,
    p95_ms=3.0,
    p99_ms=4.0,
    longest_ms=5.0,
    decode_ms=0.5,
    infer_ms=0.4,
    encode_ms=0.1,
)


def zipped(path: Path, members: Mapping[str, bytes | str]) -> JobInput:
    """Write a zip and return it as a job's input."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return JobInput(name=path.name, content_type="application/zip", path=str(path))


def packed(path: Path, folder: Path) -> JobInput:
    """Pack a folder into a zip and return it as a job's input."""
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted(folder.rglob("*")):
            if file.is_file():
                archive.write(file, file.relative_to(folder).as_posix())
    return JobInput(name=path.name, content_type="application/zip", path=str(path))


def colours(**counts: int) -> dict[str, bytes]:
    """Return pictures in folders by colour, each picture of that very colour."""
    shades = {"red": (250, 9, 9), "green": (9, 250, 9), "blue": (9, 9, 250)}
    return {
        f"{colour}/{number}.png": picture(
            tuple(max(0, value - number) for value in shades[colour])  # type: ignore[arg-type]
        )
        for colour, count in counts.items()
        for number in range(count)
    }


def specification(place: VersionDirectory, *, threads: int = 1) -> HostSpecification:
    """Return how a job would load a version."""
    return HostSpecification(
        directory=str(place.directory),
        cache_directory=str(place.directory.parents[2] / "cache"),
        threads=threads,
        connections=1,
        memory_bytes=1 << 33,
        image_pixels=25_000_000,
        image_formats=("PNG", "JPEG", "BMP"),
        tensor_batch=8,
    )


def ran(
    kind: JobKind,
    place: VersionDirectory,
    tmp_path: Path,
    *inputs: JobInput,
    report: Callable[[float, str], None] = lambda share, words: None,
    **params: Any,
) -> tuple[JobResult, Path]:
    """Run a kind of job on a version; return what it found and the folder of its results."""
    results, workspace = tmp_path / "results", tmp_path / "workspace"
    for folder in (results, workspace):
        folder.mkdir()
    run = JobRun(
        params=kind.Params(model=place.model, version=place.version, **params),
        inputs=inputs,
        workspace=workspace,
        results=results,
        specifications={f"{place.model}@{place.version}": specification(place)},
        report=report,
    )
    assert dataclasses.is_dataclass(run)
    result = kind.run(run)
    for name in result.files:
        assert (results / name).is_file()
    json.dumps(result.document)  # plain values only
    return result, results


def a_score() -> ClassificationScore:
    """Return a score with a mistake and a calibration."""
    found = score([0, 0, 1], [0, 1, 1], labels=["cat", "dog", "cow"], confidences=[0.9, 0.6, 0.8])
    assert calibration([0.9], [True]) is not None
    return found


def a_measurement(**changes: Any) -> Measurement:
    """Return what was measured on three items."""
    given: dict[str, Any] = {
        "form": "labels",
        "items": 3,
        "failed": 0,
        "failures": (),
        "latency": LATENCY,
        "classification": a_score(),
    }
    return Measurement(**(given | changes))
