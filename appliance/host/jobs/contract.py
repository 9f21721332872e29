"""What a kind of job is: parameters in, files in, files and a result out, progress in between.

The front stores the job and its inputs; the runner (a child at low priority) runs one kind's `run`
in a process that may die. A kind loads models itself, so it never slows what is being served.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import msgspec

from appliance.host.specification import HostSpecification

#: The most that one attempt may unpack.
MOST_UNPACKED_BYTES = 4 * 1024**3


class JobInput(msgspec.Struct, frozen=True, kw_only=True):
    """One file of a job: its name as the client gave it, its media type, and where it lies."""

    name: str
    content_type: str
    path: str


class InputLimits(msgspec.Struct, frozen=True, kw_only=True):
    """The most that inputs may hold: files inside one zip, and bytes of one file.

    `unpacked_bytes` is what an attempt may lay onto the disk while it works: MOST_UNPACKED_BYTES,
    or less where the disk has less room.
    """

    members: int = 10_000
    file_bytes: int = 50_000_000
    unpacked_bytes: int = MOST_UNPACKED_BYTES


class NewVersion(msgspec.Struct, frozen=True, kw_only=True):
    """A version that a job made: the front installs the folder, which never activates it.

    `directory` is relative to the job's results and holds what a version in the library holds, but
    for SHA256SUMS; the front writes name and version into its manifest.
    """

    model: str
    directory: str


class JobResult(msgspec.Struct, frozen=True, kw_only=True):
    """What a job found: a JSON document, files to keep (relative to `results`) and any version.

    `message` stands in the place of the last progress: what came of it, in a few words.
    """

    document: Any
    files: tuple[str, ...] = ()
    new_version: NewVersion | None = None
    message: str = "done"


@dataclass(frozen=True, slots=True, kw_only=True)
class JobRun:
    """One attempt at a job, as its kind sees it.

    `specifications` holds what to load for each "model@version" that the front resolved from the
    parameters `model` and `version` when the job was sent. `workspace` is emptied after the
    attempt, `results` is kept. `report(progress 0–1, message)` tells the front how far it is and
    raises Cancelled when the job was cancelled: call it at least once a second's worth of work.
    """

    params: Any
    inputs: Sequence[JobInput]
    workspace: Path
    results: Path
    specifications: Mapping[str, HostSpecification]
    report: Callable[[float, str], None]
    limits: InputLimits = field(default_factory=InputLimits)


class Cancelled(Exception):
    """Somebody cancelled the job; let it through."""


class JobKind(Protocol):
    """What runs one kind of job; its name and title are in the registry.

    A Problem raised by `run` ends the job for good where trying again is useless (its class says
    so: InvalidInput, NotFound, ModelInvalid …); any other exception, and the death of the process,
    is tried again.
    """

    @property
    def Params(self) -> type[msgspec.Struct]:
        """The type of `JobRun.params`, the same as in the registry."""

    def run(self, run: JobRun) -> JobResult:
        """Given one attempt, do the work and return what it found."""


class JobOrder(msgspec.Struct, frozen=True, kw_only=True):
    """Front → the process of an attempt, as its first frame: what to do, with what, where.

    `document` is where the result's JSON goes; more than `result_bytes` of it is refused.
    """

    job_id: str
    implementation: str
    params: dict[str, Any]
    inputs: tuple[JobInput, ...]
    workspace: str
    results: str
    document: str
    result_bytes: int
    specifications: dict[str, HostSpecification]
    limits: InputLimits = InputLimits()


class JobWord(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The process of an attempt → front.

    `progress` any number of times, then one of `done` with the files to keep, `failed` with a
    problem and whether to try again, or `cancelled`. In the other direction one byte asks for the
    end.
    """

    kind: str
    progress: float = 0.0
    message: str = ""
    files: tuple[str, ...] = ()
    new_version: NewVersion | None = None
    problem: dict[str, Any] = {}
    is_worth_retrying: bool = True
