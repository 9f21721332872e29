"""What tests of imports share: specifications, and whole models as somebody would send them."""

import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from appliance.engine.import_process import run_import
from appliance.host.import_specification import ImportEvent, ImportSpecification
from appliance.host.specification import HostSpecification
from appliance.library.import_request import ImportRequest
from tests.tiny_models import write_colour_model

GIBIBYTE = 1 << 30
LABELS = b"red\ngreen\nblue\n"


def a_specification(
    directory: Path,
    files: Mapping[str, bytes],
    *,
    mode: str = "install",
    memory_bytes: int = 8 * GIBIBYTE,
    total_bytes: int = GIBIBYTE,
    **said: Any,
) -> ImportSpecification:
    """Write files as if they had been sent, and return what the child is told of them."""
    (directory / "files").mkdir(parents=True)
    (directory / "work").mkdir()
    for name, content in files.items():
        (directory / "files" / name).write_bytes(content)
    return ImportSpecification(
        mode=mode,  # type: ignore[arg-type]
        files=str(directory / "files"),
        work=str(directory / "work"),
        version=1,
        request=msgspec.convert({"name": "m", **said}, ImportRequest),
        host=HostSpecification(
            directory=str(directory / "m" / "1"),
            cache_directory=str(directory / "cache"),
            threads=1,
            connections=1,
            memory_bytes=memory_bytes,
            image_pixels=1_000_000,
            image_formats=("PNG",),
            tensor_batch=8,
        ),
        total_bytes=total_bytes,
        memory_bytes=memory_bytes,
        cpu_seconds=600,
    )


def run(specification: ImportSpecification, *, stages: list[str] | None = None) -> ImportEvent:
    """Run an import as the front does."""
    return run_import(
        specification,
        on_stage=(stages if stages is not None else []).append,
        wall_seconds=100,
        stopping=threading.Event(),
    )


def ir_files(directory: Path, **more: Any) -> dict[str, bytes]:
    """Return model.xml and model.bin of a tiny model that names the strongest colour."""
    place = write_colour_model(directory, has_golden=False, **more)
    return {name: (place.directory / name).read_bytes() for name in ("model.xml", "model.bin")}
