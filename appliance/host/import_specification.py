"""What the front tells the child that imports a model, and what that tells the front.

Imports nothing heavy: the front uses it too.
"""

from typing import Literal

import msgspec

from appliance.host.specification import HostSpecification
from appliance.library.import_request import ImportRequest
from appliance.library.model_facts import ModelFacts


class ImportSpecification(msgspec.Struct, frozen=True, kw_only=True):
    """One import. All paths are absolute; `host` says where the version is written and proved.

    `install` converts what lies in `files`, writes the version and proves it; `inspect` stops
    before it writes; `prove` takes the version as it already lies there. `work` is an empty
    directory on the same disk.
    """

    mode: Literal["install", "inspect", "prove"]
    files: str
    work: str
    version: int
    request: ImportRequest
    host: HostSpecification
    total_bytes: int
    memory_bytes: int
    cpu_seconds: int


class ImportEvent(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Child → front, one line of JSON each.

    `stage` with what it does now (`converting`, `validating`), then `done` with what it found or
    `failed` with a problem.
    """

    kind: Literal["stage", "done", "failed"]
    stage: str = ""
    facts: ModelFacts | None = None
    manifest: str = ""
    labels: dict[str, int] = {}
    notes: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    load_seconds: float = 0.0
    problem: dict[str, object] = {}
