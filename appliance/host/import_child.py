"""The process that takes a model apart: unpack, recognise, convert, describe, write and prove it.

It may die of what it reads; the front then says so and goes on. It has no network, starts no
program, and its memory, its time and the size of its files are bounded.
"""

import contextlib
import os
import resource
import shutil
import sys
from pathlib import Path
from typing import IO

import msgspec

from appliance.errors import ModelInvalid, Problem
from appliance.host import confinement, convert, hosted_model
from appliance.host.import_specification import ImportEvent, ImportSpecification
from appliance.host.network import first_words
from appliance.host.specification import MACHINE
from appliance.library.checksums import write_sums
from appliance.library.discovery import Proposal, propose, size_wanted
from appliance.library.import_format import Format, recognise
from appliance.library.label_files import labels_of
from appliance.library.manifest import Manifest, read_manifest
from appliance.library.manifest_text import manifest_text
from appliance.library.model_facts import ModelFacts
from appliance.library.source_files import Source, find_source, read_text
from appliance.library.told import metadata_of_yaml
from appliance.library.zip_source import Caps, unpack
from appliance.plain_text import visible

_OPEN_FILES = 256
_MOST_SPECIFICATION_BYTES = 1 << 20


def main() -> None:
    """Read the specification from standard input, do the import and tell of it, then end."""
    confinement.die_with_parent()
    confinement.set_process_name("ia-import")
    specification = msgspec.json.decode(
        sys.stdin.buffer.read(_MOST_SPECIFICATION_BYTES), type=ImportSpecification
    )
    with os.fdopen(os.dup(1), "wb", buffering=0) as events:
        with open(os.devnull, "w") as nowhere:
            os.dup2(nowhere.fileno(), 1)  # what C libraries print is no event
        _confine(specification)
        status = _run(specification, events)
    os._exit(status)


def _confine(specification: ImportSpecification) -> None:
    with contextlib.suppress(OSError):  # where that is forbidden, it works all the same
        os.nice(10)
    resource.setrlimit(resource.RLIMIT_FSIZE, (specification.total_bytes,) * 2)
    resource.setrlimit(resource.RLIMIT_CPU, (specification.cpu_seconds,) * 2)
    confinement.confine(memory_bytes=specification.memory_bytes, open_files=_OPEN_FILES)
    confinement.leave_network()


def _run(specification: ImportSpecification, events: IO[bytes]) -> int:
    try:
        done = ImportRun(specification, events).run()
    except Problem as problem:
        done = ImportEvent(kind="failed", problem=problem.encoded())
    except MemoryError:
        memory = ModelInvalid(
            "The model needs more memory than an import may use (models.import_memory_bytes)."
        )
        done = ImportEvent(kind="failed", problem=memory.encoded())
    except Exception as fault:  # a bug of ours, or of a library, on somebody's model
        failed = ModelInvalid(
            f"The model could not be read: {type(fault).__name__}: {first_words(fault)}."
        )
        done = ImportEvent(kind="failed", problem=failed.encoded())
        sys.excepthook(type(fault), fault, fault.__traceback__)
    _tell(events, done)
    return 0


def _tell(events: IO[bytes], event: ImportEvent) -> None:
    with contextlib.suppress(OSError):
        events.write(msgspec.json.encode(event) + b"\n")


class ImportRun:
    """One import, in the order of its stages."""

    def __init__(self, specification: ImportSpecification, events: IO[bytes]) -> None:
        self._specification = specification
        self._events = events
        self._work = Path(specification.work)
        self._target = Path(specification.host.directory)

    def run(self) -> ImportEvent:
        """Do what the mode says and return what to tell; raise a Problem with the reason."""
        if self._specification.mode == "prove":
            return ImportEvent(kind="done", load_seconds=self._prove())
        self._stage("converting")
        source = find_source(self._unpacked())
        model = convert.read_source(source)
        metadata = {**_beside(source), **convert.metadata_in(model, source)}
        size = size_wanted(self._specification.request, metadata)
        model = convert.adapt(model, source, size)
        self._target.mkdir(parents=True, exist_ok=True)
        weights_bytes = convert.save(model, self._target)
        facts = convert.facts_of(model, source, weights_bytes=weights_bytes, metadata=metadata)
        del model  # proving loads it again, within the same bound
        proposal = _legible(self._proposal(facts, source))
        told = _found(facts, proposal)
        if self._specification.mode == "inspect":
            return told
        if proposal.missing:
            raise ModelInvalid(" ".join(proposal.missing))
        self._write(source, proposal)
        return msgspec.structs.replace(told, load_seconds=self._prove())

    def _stage(self, stage: str) -> None:
        _tell(self._events, ImportEvent(kind="stage", stage=stage))

    def _unpacked(self) -> Path:
        """Return the directory of the model's own files: unpacked, or as they were sent."""
        files = Path(self._specification.files)
        sent = [path for path in files.iterdir() if path.is_file()]
        for path in sent:
            if recognise_zip(path):
                unpack(path, self._work, Caps(total_bytes=self._specification.total_bytes))
            else:
                _link_or_copy(path, self._work / path.name)
        return self._work

    def _proposal(self, facts: ModelFacts, source: Source) -> Proposal:
        request, version = self._specification.request, self._specification.version
        if source.manifest is not None:
            return self._given(source)
        beside = {}
        for name, path in source.labels.items():
            with contextlib.suppress(Problem):  # most texts beside a model are no labels
                beside[name] = labels_of(read_text(path), name=name)
        has_tokenizer = any(path.name == "tokenizer.json" for path in source.kept)
        return propose(facts, request, version=version, beside=beside, has_tokenizer=has_tokenizer)

    def _given(self, source: Source) -> Proposal:
        """Take the manifest that came along, under the name and version of this import."""
        given = read_manifest(source.model.parent)
        request = self._specification.request
        manifest = msgspec.structs.replace(
            given,
            name=request.name,
            version=self._specification.version,
            task=request.task or given.task,
            title=request.title or given.title,
        )
        labels = {
            output.labels: labels_of(read_text(source.labels[output.labels]), name=output.labels)
            for output in given.outputs
            if output.labels in source.labels
        }
        return Proposal(manifest=manifest, labels=labels, notes=("Its own manifest.toml.",))

    def _write(self, source: Source, proposal: Proposal) -> None:
        """Complete the version's directory beside the converted network."""
        for name, labels in proposal.labels.items():
            _inside(self._target, name).write_text("\n".join(labels) + "\n", "utf-8")
        for path in source.kept:
            shutil.copyfile(path, self._target / path.name)
        if source.golden is not None:
            golden = self._target / "golden"
            golden.mkdir(exist_ok=True)
            for path in source.golden.iterdir():
                if path.is_file():
                    shutil.copyfile(path, golden / path.name)
        if not (self._target / "card.md").exists():
            (self._target / "card.md").write_text(_card(proposal), "utf-8")
        (self._target / "manifest.toml").write_text(manifest_text(proposal.manifest), "utf-8")
        write_sums(self._target)

    def _prove(self) -> float:
        """Load the version as a host will, golden samples and all."""
        self._stage("validating")
        try:
            return hosted_model.load(self._specification.host).load_seconds
        except hosted_model.LoadFailed as problem:
            if problem.cause != MACHINE:
                raise
            raise ModelInvalid(
                f"The machine fell short while the model was tried: {problem.detail} If it was of"
                " memory, raise models.import_memory_bytes."
            ) from None


def recognise_zip(path: Path) -> bool:
    """Given a file that was sent, return whether it is an archive; raise UnsupportedMedia when it
    is of a kind that is never read, and nothing for files that only accompany a model.
    """
    with path.open("rb") as file:
        is_zip = file.read(4) in (b"PK\x03\x04", b"PK\x05\x06")
    return is_zip and recognise(path) is Format.ZIP


def _link_or_copy(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def _beside(source: Source) -> dict[str, str]:
    path = source.labels.get("metadata.yaml")
    return metadata_of_yaml(read_text(path)) if path else {}


def _found(facts: ModelFacts, proposal: Proposal) -> ImportEvent:
    return ImportEvent(
        kind="done",
        facts=facts,
        manifest=manifest_text(proposal.manifest),
        labels={name: len(labels) for name, labels in proposal.labels.items()},
        notes=proposal.notes,
        missing=proposal.missing,
    )


def _legible(proposal: Proposal) -> Proposal:
    """Return a proposal whose labels hold nothing that nobody sees, with a note if any did."""
    labels = {name: tuple(map(visible, given)) for name, given in proposal.labels.items()}
    changed = sum(
        one != other
        for name, given in proposal.labels.items()
        for one, other in zip(given, labels[name], strict=True)
    )
    note = f"Characters that nobody sees were left out of {changed} labels."
    notes = (*proposal.notes, note) if changed else proposal.notes
    return msgspec.structs.replace(proposal, labels=labels, notes=notes)


def _inside(directory: Path, name: str) -> Path:
    path = directory / name
    if path.parent != directory or not name.endswith(".txt"):
        raise ModelInvalid(f"The labels {name[:80]!r} must be a .txt beside the manifest.")
    return path


def _card(proposal: Proposal) -> str:
    manifest: Manifest = proposal.manifest
    lines = [f"# {manifest.title or manifest.name}", "", "How it was set up when it was imported:"]
    return "\n".join([*lines, "", *(f"- {note}" for note in proposal.notes)]) + "\n"


if __name__ == "__main__":
    main()
