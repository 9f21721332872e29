"""The folder of a version made from another one: same manifest and labels, other weights."""

import shutil
from pathlib import Path
from typing import Any

import msgspec

from appliance.host import golden, turns
from appliance.host.golden import Check, Sample, Samples
from appliance.host.hosted_model import HostedModel
from appliance.host.jobs.batch import loaded
from appliance.host.openvino_import import ov
from appliance.host.specification import HostSpecification
from appliance.library.checksums import SUMS_NAME, write_sums
from appliance.library.manifest import Manifest

_LEFT_OUT = (SUMS_NAME, "golden", "model.xml", "model.bin")


def write_version(model: "ov.Model", source: Path, workspace: Path) -> Path:
    """Given new weights and the version they come from, return a folder that can be loaded.

    It has the source's name and version for now; its golden samples come later.
    """
    directory = workspace / source.parent.name / source.name
    shutil.rmtree(directory, ignore_errors=True)
    shutil.copytree(source, directory, ignore=shutil.ignore_patterns(*_LEFT_OUT))
    for path in (directory, *directory.rglob("*")):
        path.chmod(0o700 if path.is_dir() else 0o600)  # a library's files are read-only
    ov.save_model(model, directory / "model.xml", compress_to_fp16=False)
    write_sums(directory)
    return directory


def load_version(directory: Path, specification: HostSpecification) -> HostedModel:
    """Given a folder and how its source is loaded, return it loaded likewise."""
    return loaded(msgspec.structs.replace(specification, directory=str(directory)))


def copy_golden(source: Path, directory: Path, model: HostedModel) -> str:
    """Given both folders and the new version loaded, copy the golden samples.

    Numbers become those of the new weights, which differ a little; anything else has to be as it
    was. Return the words of the first thing that is not, and then copy nothing.
    """
    samples = []
    for sample, payload in golden.read_samples(source):
        session = turns.open_session(model.task, model.model, model.network, sample.params)
        result = turns.run_once(session, payload)
        fresh = Sample(
            input=sample.input,
            content_type=sample.content_type,
            params=sample.params,
            checks=tuple(_measured(check, result) for check in sample.checks),
        )
        fault = golden.failure(fresh, result)
        if fault:
            return fault
        samples.append(fresh)
    if samples:
        shutil.copytree(source / "golden", directory / "golden")
        for path in (directory / "golden", *(directory / "golden").rglob("*")):
            path.chmod(0o700 if path.is_dir() else 0o600)
        content = msgspec.json.format(msgspec.json.encode(Samples(tuple(samples))), indent=2)
        (directory / "golden" / "samples.json").write_bytes(content + b"\n")
    return ""


def _measured(check: Check, result: Any) -> Check:
    is_number = isinstance(check.equals, float) or check.tolerance > 0
    got = golden.value_at(msgspec.to_builtins(result), check.pointer)
    if not is_number or not isinstance(got, int | float):
        return check
    return msgspec.structs.replace(check, equals=float(got), tolerance=check.tolerance or 0.01)


def finish_version(directory: Path, target: Path, *, manifest: Manifest, card: str) -> None:
    """Given a folder that was loaded and where results go, move it there with its card."""
    path = directory / "card.md"
    before = path.read_text("utf-8", errors="replace").rstrip() if path.exists() else ""
    heading = "" if before else f"# {manifest.title or manifest.name}\n"
    path.write_text(f"{before}{heading}\n\n{card}\n", "utf-8")
    (directory / SUMS_NAME).unlink(missing_ok=True)  # the front writes name, version and sums
    shutil.move(directory, target)


def size_bytes(directory: Path) -> int:
    """Given a version's folder, return the size of its weights and graph."""
    return sum((directory / name).stat().st_size for name in ("model.xml", "model.bin"))
